// Estimates with their intervals (Observable Plot); a point that is flagged is hollow. Click, or Enter, chooses a point.
import * as Plot from "@observablehq/plot";
import { useEffect, useRef } from "preact/hooks";
import { dark } from "../../state/theme";
import { levelOf, type Metric, said, seriesOf } from "./metric";

/** Okabe and Ito, as the reports have them; the last of light and dark differ, so that each is seen. */
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"];
const DARK = ["#56B4E9", "#F0884A", "#2FC79A", "#E19BC4", "#9AD3F5", "#F5C04A"];
const SYMBOLS = ["circle", "square", "diamond", "triangle", "cross", "star"] as const;
/** Pixels of a row, and of the margins above and below the rows. */
const ROW = 24;

export function Figure({
  metrics,
  chosen,
  choose,
}: {
  metrics: Metric[];
  chosen: Metric | undefined;
  choose: (m: Metric) => void;
}) {
  const place = useRef<HTMLDivElement>(null);
  const colours = dark.value ? DARK : COLOURS;
  useEffect(() => {
    const holder = place.current!;
    const draw = () => {
      const plot = plotOf(metrics, chosen, holder.clientWidth, colours);
      const byWords = new Map(metrics.map((m) => [said(m), m]));
      for (const point of plot.querySelectorAll<SVGElement>("g[aria-label='dot'] [aria-label]")) {
        const metric = byWords.get(point.getAttribute("aria-label")!);
        if (metric) makeButton(point, metric, choose);
      }
      holder.replaceChildren(plot);
    };
    draw();
    let width = holder.clientWidth;
    const watcher = new ResizeObserver(() => {
      if (holder.clientWidth !== width) {
        width = holder.clientWidth;
        draw();
      }
    });
    watcher.observe(holder);
    return () => watcher.disconnect();
  }, [metrics.map(said).join("|"), chosen && said(chosen), colours]);
  const series = [...new Set(metrics.map(seriesOf))];
  return (
    <figure class="plot">
      <figcaption class="small">
        {metrics[0]!.metric}: estimate and interval. Hollow: the number is flagged and should not be tested. Choose a
        point (click, or Tab and Enter) to see the cases behind it.
      </figcaption>
      <ul class="legend" aria-label="Readers and sources">
        {series.map((name, i) => (
          <li key={name}>
            <svg width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true">
              <path d={shape(i)} fill={colours[i % colours.length]} />
            </svg>
            {name}
          </li>
        ))}
      </ul>
      <div ref={place} class="holder" />
    </figure>
  );
}

const SHAPES: Record<(typeof SYMBOLS)[number], string> = {
  circle: "M-5,0A5,5 0 1,0 5,0A5,5 0 1,0 -5,0Z",
  square: "M-4,-4H4V4H-4Z",
  diamond: "M0,-6L5,0L0,6L-5,0Z",
  triangle: "M0,-5L5,4H-5Z",
  cross: "M-2,-5H2V-2H5V2H2V5H-2V2H-5V-2H-2Z",
  star: "M0,-6L2,-2L6,-2L3,1L4,6L0,3L-4,6L-3,1L-6,-2L-2,-2Z",
};
const shape = (i: number) => SHAPES[SYMBOLS[i % SYMBOLS.length]!];

function plotOf(metrics: Metric[], chosen: Metric | undefined, width: number, colours: string[]) {
  const levels = [...new Set(metrics.map((m) => levelOf(m.stratum)))];
  const series = [...new Set(metrics.map(seriesOf))];
  const colour = (m: Metric) => colours[series.indexOf(seriesOf(m)) % colours.length]!;
  const narrow = width < 560;
  const ends = metrics.flatMap((m) => [m.low, m.high, m.estimate]).filter((v): v is number => v !== null);
  const inUnit = ends.every((v) => v >= 0 && v <= 1);
  return Plot.plot({
    width,
    height: Math.max(90, levels.length * (series.length * ROW + 8) + 60),
    marginLeft: narrow ? 96 : 190,
    marginRight: 20,
    marginTop: 10,
    marginBottom: 40,
    style: { background: "transparent", color: "inherit", fontSize: narrow ? "12px" : "13px", overflow: "visible" },
    x: {
      label: metrics[0]!.metric,
      grid: true,
      nice: true,
      ticks: narrow ? 4 : 8,
      ...(inUnit ? { domain: [0, 1] } : {}),
    },
    y: { domain: series, axis: null, padding: 0.2 },
    fy: { domain: levels, label: null, padding: 0.05 },
    marks: [
      Plot.axisFy({
        anchor: "left",
        tickFormat: (level: string) => (narrow && level.length > 15 ? `${level.slice(0, 14)}…` : level),
      }),
      Plot.ruleY(
        metrics.filter((m) => m.low !== null && m.high !== null),
        {
          x1: "low",
          x2: "high",
          y: seriesOf,
          fy: (m: Metric) => levelOf(m.stratum),
          stroke: colour,
          strokeWidth: 2,
          ariaHidden: "true",
        },
      ),
      Plot.dot(
        metrics.filter((m) => m.estimate !== null),
        {
          x: "estimate",
          y: seriesOf,
          fy: (m: Metric) => levelOf(m.stratum),
          r: (m: Metric) => (m === chosen ? 8 : 6),
          symbol: (m: Metric) => SYMBOLS[series.indexOf(seriesOf(m)) % SYMBOLS.length],
          stroke: colour,
          strokeWidth: 2.5,
          fill: (m: Metric) => (m.flag ? "var(--paper)" : colour(m)),
          title: said,
          ariaLabel: said,
          sort: null,
        },
      ),
      Plot.text(
        metrics.filter((m) => m.estimate === null),
        {
          text: (m: Metric) => `none${m.flag && !narrow ? `: ${m.flag}` : ""}`,
          y: seriesOf,
          fy: (m: Metric) => levelOf(m.stratum),
          frameAnchor: "left",
          dx: 6,
          fill: "currentColor",
        },
      ),
    ],
    symbol: { type: "identity" },
    color: { type: "identity" },
    r: { type: "identity" },
  });
}

/** A mark of the figure as a button: by mouse and by keyboard. */
function makeButton(point: SVGElement, metric: Metric, choose: (m: Metric) => void): void {
  point.classList.add("point");
  point.setAttribute("tabindex", "0");
  point.setAttribute("role", "button");
  point.setAttribute("aria-label", `${said(metric)}. Show the cases behind it`);
  point.addEventListener("click", () => choose(metric));
  point.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    choose(metric);
  });
}
