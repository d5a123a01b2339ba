/** Acknowledge and resolve, under a name. */
import { useState } from "preact/hooks";
import type { Incident } from "../../contract/incident.ts";
import { api, rememberedName, rememberName } from "../session.ts";

type Step = "idle" | "confirm" | "busy";

export function IncidentActions(props: { incident: Incident; onChanged: (incident: Incident) => void }) {
  const { incident } = props;
  const [name, setName] = useState(rememberedName());
  const [step, setStep] = useState<Step>("idle");
  const [error, setError] = useState<Error | null>(null);
  const over = incident.status === "resolved" || incident.status === "reviewed";

  const act = (route: "acknowledge" | "resolve"): void => {
    const actor = name.trim() === "" ? "on-call" : name.trim();
    rememberName(actor);
    setStep("busy");
    setError(null);
    const request = { params: { incident: incident.id }, body: { actor }, idempotencyKey: newKey() };
    api
      .call(route, request)
      .then(props.onChanged, (failure: Error) => setError(failure))
      .finally(() => setStep("idle"));
  };

  if (over) return <p class="actions aside">Nothing to do: it is {incident.status}.</p>;
  return (
    <div class="actions">
      {incident.acknowledgedMs === null ? (
        <button type="button" class="primary" data-key="a" disabled={step === "busy"} onClick={() => act("acknowledge")}>
          Acknowledge
        </button>
      ) : (
        <span class="taken">{incident.acknowledgedBy ?? "Somebody"} is on it</span>
      )}
      {step === "confirm" ? (
        <span class="confirm">
          Is it over?
          <button type="button" class="primary" onClick={() => act("resolve")}>
            Yes, resolve
          </button>
          <button type="button" onClick={() => setStep("idle")}>
            No
          </button>
        </span>
      ) : (
        <button type="button" data-key="r" disabled={step === "busy"} onClick={() => setStep("confirm")}>
          Resolve
        </button>
      )}
      <label>
        as{" "}
        <input
          type="text"
          class="short"
          maxLength={200}
          value={name}
          onInput={(event) => setName(event.currentTarget.value)}
          autocomplete="nickname"
        />
      </label>
      {error === null ? null : (
        <p class="failure" role="alert">
          {error.message}
        </p>
      )}
    </div>
  );
}

/** `crypto.randomUUID` is there on secure pages only; over plain HTTP from another machine random bytes do as well. */
function newKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
