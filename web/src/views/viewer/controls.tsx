// Controls above the panes: window, planes, number of panes, mask, marks, how it is drawn.
import { keep } from "../../state/route";
import { LAYOUTS, layout, MOST_PANES, marker, masked, panes, pictures, webgl2, window_ } from "./state";
import { type Marks, type VolumeEntry, WINDOWS, type WindowName } from "./volumes";

/** A volume for another pane: the first that none shows. */
const another = (entries: VolumeEntry[], shown: string[]) =>
  (entries.find(({ what, shape, unit }) => shape && unit === "HU" && !shown.includes(what)) ?? entries[0])!.what;

export function Controls({ entries, shown, marks }: { entries: VolumeEntry[]; shown: string[]; marks: Marks }) {
  return (
    <div class="controls">
      <label>
        Window{" "}
        <select value={window_.value} onChange={(event) => keep({ window: event.currentTarget.value })}>
          {(Object.keys(WINDOWS) as WindowName[]).map((name) => (
            <option key={name} value={name}>
              {WINDOWS[name].title} ({WINDOWS[name].low} to {WINDOWS[name].high} HU)
            </option>
          ))}
        </select>
      </label>
      <fieldset class="choice">
        <legend>Planes</legend>
        {LAYOUTS.map(({ name, title }) => (
          <button
            type="button"
            key={name}
            aria-pressed={layout.value === name}
            disabled={name === "render" && (pictures.value || !webgl2)}
            onClick={() => keep({ planes: name })}
          >
            {title}
          </button>
        ))}
      </fieldset>
      <fieldset class="choice">
        <legend>Panes</legend>
        <button
          type="button"
          disabled={shown.length >= MOST_PANES}
          onClick={() => keep({ panes: [...shown, another(entries, shown)].join(",") })}
        >
          Add
        </button>
        <button type="button" disabled={shown.length < 2} onClick={() => keep({ panes: shown.slice(0, -1).join(",") })}>
          Remove
        </button>
      </fieldset>
      <label>
        <input
          type="checkbox"
          checked={masked.value}
          disabled={!entries.some(({ what }) => what === "mask")}
          onChange={(event) => keep({ mask: event.currentTarget.checked ? undefined : "no" })}
        />{" "}
        Mask
      </label>
      <label>
        Marks of{" "}
        <select
          value={marker.value}
          disabled={!marks.readers.length}
          onChange={(event) => keep({ marks: event.currentTarget.value })}
        >
          <option value="">{marks.readers.length ? "no reader" : "no reader marked it"}</option>
          {marks.readers.map((reader) => (
            <option key={reader}>{reader}</option>
          ))}
        </select>
      </label>
      <label>
        <input
          type="checkbox"
          checked={pictures.value || !webgl2}
          disabled={!webgl2}
          onChange={(event) => keep({ draw: event.currentTarget.checked ? "pictures" : undefined })}
        />{" "}
        Draw as pictures{webgl2 ? "" : " (this browser has no WebGL2)"}
      </label>
    </div>
  );
}

export const panesOf = (entries: VolumeEntry[]): string[] => {
  const known = panes.value.filter((what) => entries.some((entry) => entry.what === what && entry.shape));
  if (known.length) return known;
  const readable = entries.filter(({ shape }) => shape);
  const first = readable.find(({ unit }) => unit === "HU") ?? readable[0];
  return first ? [first.what] : [];
};
