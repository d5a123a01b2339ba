/** The rest of an incident: candidates, changes, timeline, blind spots, versions of the verdict. */
import type { Change } from "../../contract/change.ts";
import type { BlindSpot, EvidenceSnapshot } from "../../contract/evidence.ts";
import type { Incident } from "../../contract/incident.ts";
import type { RankedCandidate, Verdict } from "../../contract/verdict.ts";
import { nameOf, ownerOf } from "../evidence.ts";
import { formatTime } from "../format.ts";
import { incidentAddress, serviceAddress } from "../router.ts";
import { Command } from "./command.tsx";
import { RoleMark } from "./mark.tsx";
import { Time } from "./time.tsx";

const candidatesMax = 5;

/** The first five of the ranking, with the heaviest claim of each. */
export function Candidates(props: { ranking: readonly RankedCandidate[]; snapshot: EvidenceSnapshot | null }) {
  return (
    <div class="scroll">
      <table class="cards">
        <thead>
          <tr>
            <th scope="col" class="figure">
              place
            </th>
            <th scope="col">candidate</th>
            <th scope="col">role</th>
            <th scope="col">kind</th>
            <th scope="col" class="figure">
              score
            </th>
            <th scope="col">heaviest evidence</th>
          </tr>
        </thead>
        <tbody>
          {props.ranking.slice(0, candidatesMax).map((candidate, index) => (
            <tr key={`${candidate.type} ${candidate.id}`}>
              <td class="figure" data-label="place">
                {index + 1}
              </td>
              <th scope="row">
                <CandidateName candidate={candidate} snapshot={props.snapshot} />
              </th>
              <td>
                <RoleMark role={candidate.role} />
              </td>
              <td data-label="kind">{candidate.kind ?? "–"}</td>
              <td class="figure" data-label="score">
                {candidate.score.toFixed(2)}
              </td>
              <td class="wide">{heaviest(candidate)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function CandidateName(props: { candidate: RankedCandidate; snapshot: EvidenceSnapshot | null }) {
  const { candidate, snapshot } = props;
  if (candidate.type === "change") {
    const change = snapshot?.changes.find((one) => one.id === candidate.id);
    return (
      <span class="name">{change === undefined ? `change ${candidate.id}` : `${change.kind} of ${change.entity}: ${change.summary}`}</span>
    );
  }
  return (
    <a class="name" href={serviceAddress(ownerOf(candidate.id, snapshot))} title={candidate.id}>
      {nameOf(candidate.id, snapshot)}
    </a>
  );
}

function heaviest(candidate: RankedCandidate): string {
  const [first] = candidate.claims.filter((claim) => claim.stance === "for").sort((left, right) => right.weight - left.weight);
  return first?.text ?? "nothing unusual of its own";
}

/** What somebody or something did, and what would undo it. */
export function Changes(props: { changes: readonly Change[]; now: number }) {
  return (
    <ul class="plain">
      {props.changes.map((change) => (
        <li key={change.id} class="change">
          <p>
            <Time at={change.atMs} now={props.now} /> <strong>{change.kind}</strong> of{" "}
            <a href={serviceAddress(change.entity)}>{change.entity}</a>
            {change.actor === null ? "" : ` by ${change.actor}`}
          </p>
          <p>{change.summary}</p>
          {change.undo === null ? null : (
            <>
              <p class="aside">What would undo it:</p>
              <Command text={change.undo} />
            </>
          )}
        </li>
      ))}
    </ul>
  );
}

export function Timeline(props: { timeline: Incident["timeline"]; now: number }) {
  return (
    <ol class="timeline">
      {props.timeline.map((entry, index) => (
        // Entries are only ever added at the end, so their place is their name.
        <li key={index}>
          <Time at={entry.atMs} now={props.now} />
          <span>{entry.text}</span>
        </li>
      ))}
    </ol>
  );
}

/** What could not be seen, what that costs, and the one command that would bring it. */
export function BlindSpots(props: { blindSpots: readonly BlindSpot[] }) {
  return (
    <ul class="plain">
      {props.blindSpots.map((spot) => (
        <li key={`${spot.what} ${spot.command}`} class="blind-spot">
          <p>
            <strong>{spot.what}.</strong> {spot.cost}.
          </p>
          <Command text={spot.command} />
        </li>
      ))}
    </ul>
  );
}

export function Versions(props: { incident: Incident; shown: Verdict | null; now: number }) {
  const { incident, shown } = props;
  return (
    <ol class="plain versions" reversed>
      {[...incident.verdicts].reverse().map((verdict) => (
        <li key={verdict.version}>
          <a
            href={incidentAddress(incident.id, verdict === incident.verdicts.at(-1) ? {} : { verdict: verdict.version })}
            aria-current={verdict === shown ? "true" : undefined}
          >
            Verdict {verdict.version}
          </a>{" "}
          <span class="aside">
            {verdict.reason === "close" ? "at close" : verdict.reason.replace("onset+", "onset + ")},{" "}
            {formatTime(verdict.askedForMs, props.now)}
          </span>{" "}
          {verdict.result.sentence}
        </li>
      ))}
    </ol>
  );
}
