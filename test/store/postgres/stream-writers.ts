/** Run as `node --import tsx stream-writers.ts <url> <schema> <writers> <appends>`: several writers, each with connections of its own, append to one stream. */
import { HeadwaterError } from "../../../contract/error.ts";
import { SystemClock } from "../../../services/platform.ts";
import { openPostgresEventStore } from "../../../store/postgres/postgres-event-store.ts";

const [url = "", schema = "", writers, appends] = process.argv.slice(2);
// Nobody is left to kill this process when the test that started it is gone.
setTimeout(() => process.exit(1), 60_000).unref();

/** Appends pairs of events, each where it believes the stream to end; answers how often it was wrong. */
async function write(writer: string): Promise<number> {
  const store = await openPostgresEventStore({ url, schema, clock: new SystemClock(), onCounted: () => undefined });
  let length = 0;
  let conflicts = 0;
  for (let n = 0; n < Number(appends); ) {
    try {
      length = await store.append("one", [`${writer}/${n}/a`, `${writer}/${n}/b`], { expectedSequence: length });
      n += 1;
    } catch (error) {
      if (!(error instanceof HeadwaterError) || error.code !== "CONFLICT") throw error;
      conflicts += 1;
      length += (await store.read("one", { afterSequence: length })).length;
    }
  }
  await store.close();
  return conflicts;
}

const conflicts = await Promise.all(Array.from({ length: Number(writers) }, (_, n) => write(`${process.pid}-${n}`)));
process.stdout.write(JSON.stringify(conflicts));
