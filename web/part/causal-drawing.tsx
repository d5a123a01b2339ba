/** The causal part of the graph as a drawing: cause → … → who is hurt. Across on wide screens, down on narrow ones. */
import { useEffect, useState } from "preact/hooks";
import type { CausalGraph, CausalNode } from "../causal-graph.ts";
import { serviceAddress } from "../router.ts";
import { roleWord } from "../wording.ts";
import { RoleShape } from "./mark.tsx";

const boxWidth = 172;
const boxHeight = 52;
const gap = { along: 56, beside: 20 };
const nameLengthMax = 18;

type Direction = "across" | "down";

/** Down where the screen is too narrow for the layers side by side. */
function useDirection(layerCount: number): Direction {
  const needed = layerCount * (boxWidth + gap.along) + 60;
  const [direction, setDirection] = useState<Direction>(innerWidth >= needed ? "across" : "down");
  useEffect(() => {
    const update = (): void => setDirection(innerWidth >= needed ? "across" : "down");
    update();
    addEventListener("resize", update);
    return () => removeEventListener("resize", update);
  }, [needed]);
  return direction;
}

export function CausalDrawing(props: { graph: CausalGraph }) {
  const { graph } = props;
  const direction = useDirection(graph.layerCount);
  const along = direction === "across" ? boxWidth : boxHeight;
  const beside = direction === "across" ? boxHeight : boxWidth;
  const length = graph.layerCount * along + Math.max(0, graph.layerCount - 1) * gap.along;
  const breadth = graph.placeCount * beside + Math.max(0, graph.placeCount - 1) * gap.beside;
  const corner = (node: CausalNode): { x: number; y: number } => {
    const forward = node.layer * (along + gap.along);
    const count = graph.nodes.filter((other) => other.layer === node.layer).length;
    const side = node.place * (beside + gap.beside) + (breadth - count * beside - (count - 1) * gap.beside) / 2;
    return direction === "across" ? { x: forward, y: side } : { x: side, y: forward };
  };
  const width = direction === "across" ? length : breadth;
  const height = direction === "across" ? breadth : length;
  const corners = new Map(graph.nodes.map((node) => [node.id, corner(node)]));
  return (
    <div class="drawing">
      <svg width={width + 4} height={height + 4} viewBox={`-2 -2 ${width + 4} ${height + 4}`}>
        <title>How the failure travels, from its cause to those who are hurt</title>
        <defs>
          <marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto-start-reverse">
            <path d="M0 0L8 4L0 8z" class="tip" />
          </marker>
        </defs>
        {graph.edges.map((edge) => {
          const from = corners.get(edge.from);
          const to = corners.get(edge.to);
          if (from === undefined || to === undefined) return null;
          return (
            <path
              key={`${edge.from}>${edge.to}`}
              class={edge.cause === "yes" ? "edge edge-cause" : "edge"}
              d={curve(from, to, direction)}
              marker-end="url(#tip)"
            />
          );
        })}
        {graph.nodes.map((node) => (
          <NodeBox key={node.id} node={node} {...(corners.get(node.id) ?? { x: 0, y: 0 })} />
        ))}
      </svg>
    </div>
  );
}

/** From the far side of the callee's box to the near side of the caller's; back edges go around the other way. */
function curve(from: { x: number; y: number }, to: { x: number; y: number }, direction: Direction): string {
  if (direction === "across") {
    const forward = to.x > from.x;
    const start = { x: forward ? from.x + boxWidth : from.x, y: from.y + boxHeight / 2 };
    const end = { x: forward ? to.x : to.x + boxWidth, y: to.y + boxHeight / 2 };
    const bend = forward ? gap.along / 2 : -gap.along / 2;
    return `M${start.x} ${start.y}C${start.x + bend} ${start.y} ${end.x - bend} ${end.y} ${end.x} ${end.y}`;
  }
  const forward = to.y > from.y;
  const start = { x: from.x + boxWidth / 2, y: forward ? from.y + boxHeight : from.y };
  const end = { x: to.x + boxWidth / 2, y: forward ? to.y : to.y + boxHeight };
  const bend = forward ? gap.along / 2 : -gap.along / 2;
  return `M${start.x} ${start.y}C${start.x} ${start.y + bend} ${end.x} ${end.y - bend} ${end.x} ${end.y}`;
}

function NodeBox(props: { node: CausalNode; x: number; y: number }) {
  const { node, x, y } = props;
  const letters = [...node.id];
  const name = letters.length > nameLengthMax ? `${letters.slice(0, nameLengthMax - 1).join("")}…` : node.id;
  const word = `${roleWord[node.role]}${node.entry ? " · entry" : ""}`;
  return (
    <a href={serviceAddress(node.id)} aria-label={`${node.id}: ${word}`}>
      <title>{node.id}</title>
      <rect class={`node node-${node.role}`} x={x} y={y} width={boxWidth} height={boxHeight} rx="6" />
      <RoleShape role={node.role} x={x + 17} y={y + boxHeight / 2} />
      {/* A drawing of its own, so that a name of wide letters ends at the edge of the box. */}
      <svg x={x + 33} y={y} width={boxWidth - 38} height={boxHeight} aria-hidden="true">
        <text class="node-name" x="0" y="22">
          {name}
        </text>
        <text class="node-word" x="0" y="39">
          {word}
        </text>
      </svg>
    </a>
  );
}
