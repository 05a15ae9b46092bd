// One pane: a volume of the case, chosen by name, drawn by NiiVue or as pictures; keys move the shared crosshair.
import { useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { Refusal } from "../../api/client";
import { Refused } from "../../parts/notice";
import { inTurn, whole } from "./bytes";
import type { Pane as Drawing } from "./niivue";
import { Planes } from "./planes";
import { at, layout, marker, masked, moveTo, of, pictures, setPane, webgl2, window_ } from "./state";
import { distance, type Marks, marksOn, titleOf, type VolumeEntry, windowOf } from "./volumes";

/** Points nearer than this are one: NiiVue keeps its crosshair in single precision; ours. */
const SAME_MM = 0.05;

interface Props {
  index: number;
  entry: VolumeEntry;
  entries: VolumeEntry[];
  marks: Marks;
  said: (value: number | undefined, of: string) => void;
}

function Canvas({ entry, entries, marks, said }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const drawing = useSignal<Drawing | undefined>(undefined);
  const state = useSignal<"loading" | "coarse" | "whole">("loading");
  const refusal = useSignal("");
  const what = useSignal(entry.what);
  what.value = entry.what;

  useEffect(() => {
    let ended = false;
    let own: Drawing | undefined;
    import("./niivue").then(
      async ({ Pane }) => {
        if (ended || !canvas.current) return;
        own = new Pane((point, value) => {
          if (distance(point, at.peek()) > SAME_MM) moveTo(point); // else it is where another pane sent it
          said(value, what.value);
        });
        await own.attach(canvas.current);
        if (!ended) drawing.value = own;
      },
      () => {
        refusal.value = "The viewer could not be loaded. Reload the page, or draw with pictures.";
      },
    );
    return () => {
      ended = true;
      own?.end();
    };
  }, []);

  useSignalEffect(() => {
    const pane = drawing.value;
    const name = what.value;
    const own = entries.find((one) => one.what === name);
    if (!pane || !own) return;
    let ended = false;
    state.value = "loading";
    refusal.value = "";
    const { low, high } = windowOf(name, window_.peek());
    const isLabel = own.unit === "label";
    inTurn(own, async (data, isWhole) => {
      if (ended) return;
      await pane.load(data, { low, high, isLabel });
      const now = windowOf(name, window_.peek());
      if (!isLabel) pane.window(now.low, now.high);
      if (isWhole && name !== "mask" && entries.some((one) => one.what === "mask")) {
        const mask = await whole("mask");
        if (!ended) await pane.lay(mask, masked.peek());
      }
      pane.planes(layout.peek());
      pane.goTo(at.peek());
      state.value = isWhole ? "whole" : "coarse";
    }).catch((error: unknown) => {
      if (!ended) refusal.value = error instanceof Refusal ? error.message : String(error);
    });
    return () => {
      ended = true;
    };
  });
  useSignalEffect(() => drawing.value?.planes(layout.value));
  useSignalEffect(() => {
    const { low, high } = windowOf(what.value, window_.value);
    const isLabel = entries.find((one) => one.what === what.value)?.unit === "label";
    if (!isLabel && state.value !== "loading") drawing.value?.window(low, high);
  });
  useSignalEffect(() => drawing.value?.mask(masked.value));
  useSignalEffect(() => {
    const point = at.value;
    if (state.value !== "loading") drawing.value?.goTo(point);
  });
  useSignalEffect(() => {
    const shown = marksOn(marks.marks, what.value, marker.value);
    if (state.value === "whole") drawing.value?.marks(shown);
  });
  return (
    <>
      <Refused message={refusal.value} />
      <div class="canvas" data-ready={state.value} hidden={Boolean(refusal.value)}>
        <canvas
          ref={canvas}
          role="img"
          aria-label="Planes of the volume; the words above the panes say what they show"
        />
        {state.value === "loading" && !refusal.value ? <p class="loading">Loading …</p> : null}
        {state.value === "coarse" ? <p class="loading">Coarse; the whole volume is loading …</p> : null}
      </div>
    </>
  );
}

export function Pane(props: Props) {
  const { index, entry, entries, marks } = props;
  const asPictures = pictures.value || !webgl2;
  return (
    <section class="pane" aria-label={`Pane ${index + 1}: ${titleOf(entry.what, of.value)}`}>
      <p class="head">
        <label>
          Show{" "}
          <select value={entry.what} onChange={(event) => setPane(index, event.currentTarget.value)}>
            {entries.map(({ what, shape }) => (
              <option key={what} value={what} disabled={!shape}>
                {titleOf(what, of.value)}
              </option>
            ))}
          </select>
        </label>{" "}
        {entry.note ? <span class="small">{entry.note}</span> : null}
      </p>
      {asPictures ? (
        <Planes entry={entry} marks={marksOn(marks.marks, entry.what, marker.value)} />
      ) : (
        <Canvas {...props} />
      )}
    </section>
  );
}
