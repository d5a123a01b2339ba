/** The whole graph, drawn by cytoscape, which is not part of the first load. */
import type { Core } from "cytoscape";
import { useEffect, useRef, useState } from "preact/hooks";
import type { RouteResponse } from "../../contract/route.ts";
import { navigate, serviceAddress } from "../router.ts";
import { type ChartTheme, useChartTheme } from "./chart-theme.ts";
import { Failure, Waiting } from "./notice.tsx";

const nodesMax = 1_000;
const nameLengthMax = 28;

export function WholeMap(props: { graph: RouteResponse<"graph"> }) {
  const holder = useRef<HTMLDivElement>(null);
  const theme = useChartTheme();
  const [state, setState] = useState<"loading" | "drawn" | Error>("loading");
  // Drawn anew only when something came or went, so that nothing moves while one looks.
  const key = JSON.stringify([props.graph.entities.map((one) => one.id), props.graph.dependencies.map((one) => one.id)]);
  useEffect(() => {
    let map: Core | null = null;
    let gone = false;
    void import("cytoscape").then(
      ({ default: cytoscape }) => {
        if (gone || holder.current === null) return;
        map = cytoscape({
          container: holder.current,
          elements: elementsOf(props.graph),
          style: styleOf(theme),
          layout: { name: "breadthfirst", directed: true, spacingFactor: 1.1, animate: false },
          minZoom: 0.1,
          maxZoom: 3,
          boxSelectionEnabled: false,
        });
        map.on("tap", "node", (event) => navigate(serviceAddress(event.target.id())));
        setState("drawn");
      },
      (error: unknown) => setState(error instanceof Error ? error : new Error(String(error))),
    );
    return () => {
      gone = true;
      map?.destroy();
    };
  }, [key, theme]);
  const dropped = props.graph.entities.length - nodesMax;
  return (
    <>
      {state === "loading" ? <Waiting what="the drawing" /> : null}
      <Failure error={state instanceof Error ? state : null} what="The drawing" />
      {/* Cytoscape would add an inline style, which the page's policy refuses; an element with this id tells it that the style is there. */}
      <div id="__________cytoscape_stylesheet" hidden />
      <div class="map" ref={holder} role="img" aria-label="The graph of services; the same is below as a list" />
      {dropped > 0 ? <p class="aside">{dropped} entities are not drawn.</p> : null}
    </>
  );
}

function elementsOf(graph: RouteResponse<"graph">) {
  const entities = graph.entities.slice(0, nodesMax);
  const drawn = new Set(entities.map((entity) => entity.id));
  return [
    ...entities.map((entity) => ({
      data: { id: entity.id, name: shortName(entity.id), type: entity.type, entry: entity.entry ? "yes" : "no" },
    })),
    ...graph.dependencies
      .filter((one) => drawn.has(one.source) && drawn.has(one.target))
      .map((one) => ({ data: { id: `dependency ${one.id} ${one.protocol}`, source: one.source, target: one.target } })),
  ];
}

function shortName(id: string): string {
  const letters = [...id];
  return letters.length > nameLengthMax ? `${letters.slice(0, nameLengthMax - 1).join("")}…` : id;
}

/** Shapes tell types apart; nothing is coloured, because nothing here is a verdict. */
function styleOf(theme: ChartTheme) {
  const font = getComputedStyle(document.body).fontFamily;
  return [
    {
      selector: "node",
      style: {
        label: "data(name)",
        shape: "round-rectangle" as const,
        width: 150,
        height: 34,
        "background-color": theme.ground,
        "border-width": 1.5,
        "border-color": theme.soft,
        color: theme.text,
        "font-family": font,
        "font-size": 11,
        "text-valign": "center" as const,
        "text-halign": "center" as const,
        "text-wrap": "ellipsis" as const,
        "text-max-width": "140px",
      },
    },
    { selector: 'node[type = "datastore"]', style: { shape: "barrel" as const } },
    { selector: 'node[type = "broker"]', style: { shape: "cut-rectangle" as const } },
    { selector: 'node[type = "external"]', style: { "border-style": "dashed" as const } },
    { selector: 'node[entry = "yes"]', style: { "border-width": 3, "border-color": theme.text } },
    {
      selector: "edge",
      style: {
        width: 1.2,
        "line-color": theme.soft,
        "target-arrow-color": theme.soft,
        "target-arrow-shape": "triangle" as const,
        "curve-style": "bezier" as const,
        "arrow-scale": 0.8,
      },
    },
  ];
}
