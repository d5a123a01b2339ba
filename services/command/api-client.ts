/** The API of a running platform, as commands call it: a platform that is not there is an error with the address in it. */
import { createClient } from "../../client/client.ts";
import { HeadwaterError } from "../../contract/error.ts";

export interface ApiAddress {
  readonly baseUrl: string;
  readonly token: string | null;
}

export function apiClient(address: ApiAddress): ReturnType<typeof createClient> {
  const { baseUrl, token } = address;
  return createClient({ baseUrl, ...(token === null ? {} : { token }), fetch: (input, init) => reach(baseUrl, input, init) });
}

async function reach(baseUrl: string, input: Parameters<typeof fetch>[0], init: Parameters<typeof fetch>[1]): Promise<Response> {
  try {
    return await fetch(input, init);
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    throw new HeadwaterError(
      "API_UNREACHABLE",
      `no platform answers at ${baseUrl} (${cause}); start one with npm start, or name it with --api`,
      {
        cause: error,
      },
    );
  }
}
