/** The colours of charts and map, from the page's style, so that light and dark have one home. */
import { useEffect, useState } from "preact/hooks";

export interface ChartTheme {
  readonly text: string;
  readonly soft: string;
  readonly line: string;
  readonly band: string;
  readonly ground: string;
  readonly cause: string;
  readonly critical: string;
  readonly impact: string;
}

function readTheme(): ChartTheme {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  return {
    text: of("text"),
    soft: of("soft"),
    line: of("rule"),
    band: of("band"),
    ground: of("ground"),
    cause: of("cause"),
    critical: of("critical"),
    impact: of("impact"),
  };
}

/** The colours now; drawn again when the system changes between light and dark. */
export function useChartTheme(): ChartTheme {
  const [theme, setTheme] = useState(readTheme);
  useEffect(() => {
    const query = matchMedia("(prefers-color-scheme: dark)");
    const update = (): void => setTheme(readTheme());
    query.addEventListener("change", update);
    return () => query.removeEventListener("change", update);
  }, []);
  return theme;
}
