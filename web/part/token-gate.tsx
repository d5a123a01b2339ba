/** Asks for a token when the API wants one; it is kept for this tab only. */
import { useState } from "preact/hooks";
import { enterToken, hasToken } from "../session.ts";

export function TokenGate() {
  const [token, setToken] = useState("");
  return (
    <form
      class="gate"
      onSubmit={(event) => {
        event.preventDefault();
        if (token.trim() !== "") enterToken(token.trim());
      }}
    >
      <h1 tabIndex={-1}>{hasToken() ? "This token is not accepted" : "A token is needed"}</h1>
      <p>Use one from “tokens” in Headwater’s configuration, with the role viewer, responder or admin.</p>
      <label>
        Token <input type="password" autocomplete="off" value={token} onInput={(event) => setToken(event.currentTarget.value)} />
      </label>{" "}
      <button type="submit" class="primary">
        Use it
      </button>
    </form>
  );
}
