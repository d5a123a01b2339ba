/** Roles and severities: shape and word, never colour alone. */
import { type CandidateRole, roleWord } from "../wording.ts";

/** The shape of a role, 12 × 12, around the middle given. */
export function RoleShape(props: { role: CandidateRole; x: number; y: number }) {
  const { role, x, y } = props;
  if (role === "cause") return <path class="role-cause" d={`M${x} ${y - 7}l7 7l-7 7l-7-7z`} />;
  if (role === "critical-failure") return <rect class="role-critical-failure" x={x - 5} y={y - 5} width="10" height="10" />;
  if (role === "impact") return <circle class="role-impact" cx={x} cy={y} r="5.5" />;
  return <circle class="role-none" cx={x} cy={y} r="5" />;
}

/** Shape and word of a role, in text. */
export function RoleMark(props: { role: CandidateRole }) {
  return (
    <span class={`mark text-${props.role}`}>
      <svg width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true">
        <RoleShape role={props.role} x={0} y={0} />
      </svg>
      {roleWord[props.role]}
    </span>
  );
}
