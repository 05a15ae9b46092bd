// A histogram with a range: drag over the bars, or type the two ends. Bars outside the range are pale.
import { useRef, useState } from "preact/hooks";
import type { Histogram } from "../api/nodules";
import { filters, setFilter } from "../state/selection";
import { Typed } from "./typed";
import { number, title } from "./words";

const WIDTH = 240;
const HEIGHT = 46;

export function HistogramFilter({ of }: { of: Histogram }) {
  const { column, unit, edges, counts } = of;
  const [drag, setDrag] = useState<[number, number] | undefined>(undefined);
  const svg = useRef<SVGSVGElement>(null);
  const filter = filters.value.find((f) => "column" in f && f.column === column && !("any" in f));
  const { low, high } = filter && ("low" in filter || "high" in filter) ? filter : { low: undefined, high: undefined };
  if (!edges.length) return null;
  const [first, last] = [edges[0]!, edges.at(-1)!];
  const span = Math.max(last - first, 1e-12);
  const most = Math.max(1, ...counts);
  const step = WIDTH / counts.length;
  const at = (event: PointerEvent) => {
    const box = svg.current!.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  };
  const set = (from: number | undefined, to: number | undefined) =>
    setFilter(
      column,
      from === undefined && to === undefined
        ? undefined
        : { column, ...(from !== undefined && { low: from }), ...(to !== undefined && { high: to }) },
    );
  const finish = () => {
    if (!drag) return;
    const [a, b] = [Math.min(...drag), Math.max(...drag)];
    setDrag(undefined);
    if (b - a < 0.01) set(undefined, undefined);
    else set(tidy(first + a * span, span), tidy(first + b * span, span));
  };
  const [from, to] = drag
    ? [first + Math.min(...drag) * span, first + Math.max(...drag) * span]
    : [low ?? -Infinity, high ?? Infinity];
  const typed = (text: string) => (text.trim() === "" || Number.isNaN(Number(text)) ? undefined : Number(text));
  return (
    <fieldset class="histogram">
      <legend>
        {title(column)}
        {unit ? ` (${unit})` : ""}
      </legend>
      <svg
        ref={svg}
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${title(column)}: ${number(first)} to ${number(last)} ${unit}`}
        onPointerDown={(event) => {
          svg.current!.setPointerCapture(event.pointerId);
          setDrag([at(event), at(event)]);
        }}
        onPointerMove={(event) => drag && setDrag([drag[0], at(event)])}
        onPointerUp={finish}
        onPointerCancel={() => setDrag(undefined)}
      >
        <rect width={WIDTH} height={HEIGHT} fill="transparent" />
        {counts.map((count, i) => {
          const height = count ? Math.max(1.5, (count / most) * (HEIGHT - 2)) : 0;
          const on = edges[i + 1]! > from && edges[i]! <= to;
          return (
            <rect
              key={edges[i]}
              class={on ? "bar" : "bar off"}
              x={i * step + 0.4}
              width={Math.max(step - 0.8, 0.6)}
              y={HEIGHT - height}
              height={height}
            />
          );
        })}
      </svg>
      <div class="ends">
        <Typed
          aria-label={`${title(column)} from`}
          type="number"
          step="any"
          placeholder={number(first)}
          value={low ?? ""}
          onTyped={(text) => set(typed(text), high)}
        />
        <span aria-hidden="true">to</span>
        <Typed
          aria-label={`${title(column)} to`}
          type="number"
          step="any"
          placeholder={number(last)}
          value={high ?? ""}
          onTyped={(text) => set(low, typed(text))}
        />
        <button
          type="button"
          aria-label={`Clear ${title(column)}`}
          disabled={!filter}
          onClick={() => set(undefined, undefined)}
        >
          ×
        </button>
      </div>
      {of.missing ? <p class="small">{of.missing.toLocaleString("en")} without a value</p> : null}
    </fieldset>
  );
}

/** Rounds an end of a range to about a thousandth of the whole. */
export function tidy(value: number, span: number): number {
  const digits = Math.max(0, 3 - Math.ceil(Math.log10(span)));
  return Number(value.toFixed(Math.min(digits, 12)));
}
