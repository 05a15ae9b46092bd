// The volume viewer of a case or a nodule: `#/viewer?of=case&uid=…`. The address restores all that is shown.
import "./viewer.css";
import { useSignal, useSignalEffect } from "@preact/signals";
import { get } from "../../api/client";
import { useAsked } from "../../parts/asked";
import { Empty, Refused, Waiting } from "../../parts/notice";
import { go, link } from "../../state/route";
import { Controls, panesOf } from "./controls";
import { KEYS, pressed } from "./keys";
import { Pane } from "./pane";
import { asked, at, of, uid } from "./state";
import { Places, Told } from "./told";
import { type Marks, middleOf, type Of, type VolumeEntry } from "./volumes";

function Choose() {
  const kind = useSignal<Of>("case");
  const id = useSignal("");
  return (
    <form
      class="row"
      onSubmit={(event) => {
        event.preventDefault();
        if (id.value.trim()) go("viewer", { of: kind.value, uid: id.value.trim() });
      }}
    >
      <label>
        Show a{" "}
        <select value={kind.value} onChange={(event) => (kind.value = event.currentTarget.value as Of)}>
          <option value="case">case</option>
          <option value="nodule">nodule</option>
        </select>
      </label>
      <label>
        Its id <input value={id.value} onInput={(event) => (id.value = event.currentTarget.value)} size={40} required />
      </label>
      <button type="submit" class="primary">
        Open
      </button>
      <p class="small">
        Or choose one in <a href={link("cases")}>Trials and cases</a> or <a href={link("nodules")}>Nodules</a>.
      </p>
    </form>
  );
}

const NO_MARKS: Marks = { places: [], marks: [], readers: [] };

function Shown({ entries, marks }: { entries: VolumeEntry[]; marks: Marks }) {
  const value = useSignal<{ hu: number; what: string } | undefined>(undefined);
  const readable = entries.filter(({ shape }) => shape);
  const shown = panesOf(entries).map((what) => entries.find((entry) => entry.what === what)!);
  const place = useSignal("");
  useSignalEffect(() => {
    const key = `${of.value} ${uid.value}`;
    if (place.value === key || !readable.length) return;
    place.value = key;
    const first = marks.places[0];
    at.value = asked.peek() ?? (first ? [first.x, first.y, first.z] : middleOf(readable[0]!));
  });
  if (!shown.length)
    return (
      <>
        <Empty>It has no volume yet.</Empty>
        {entries.map(({ what, note }) => (
          <Refused key={what} message={note} />
        ))}
      </>
    );
  return (
    <>
      <p class="small">{shown[0]!.mark}</p>
      <Controls entries={entries} shown={shown.map(({ what }) => what)} marks={marks} />
      <Told entries={shown} marks={marks} value={value} />
      {/* biome-ignore lint/a11y/useSemanticElements: it is no form */}
      <div
        class="panes"
        role="group"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: the crosshair is moved with keys
        tabIndex={0}
        aria-label="Panes; Page up and Page down step through planes, arrows move the crosshair"
        data-panes={shown.length}
        onKeyDown={(event) => {
          if ((event.target as HTMLElement).matches("select, input, button")) return;
          if (pressed(event, shown[0]!, marks.places)) event.preventDefault();
        }}
      >
        {shown.map((entry, index) => (
          <Pane
            key={index}
            index={index}
            entry={entry}
            entries={entries}
            marks={marks}
            said={(hu, what) => {
              value.value = hu === undefined ? undefined : { hu, what };
            }}
          />
        ))}
      </div>
      <details>
        <summary>Keys</summary>
        <dl class="keys">
          {KEYS.map(([key, does]) => (
            <div key={key}>
              <dt>{key}</dt>
              <dd>{does}</dd>
            </div>
          ))}
        </dl>
      </details>
      <Places marks={marks} />
    </>
  );
}

export default function View() {
  const volumes = useAsked<VolumeEntry[]>((signal) =>
    uid.value ? get("/api/volumes", { uid: uid.value, of: of.value }, signal) : undefined,
  );
  const marks = useAsked<Marks>((signal) =>
    uid.value ? get("/api/marks", { uid: uid.value, of: of.value }, signal) : undefined,
  );
  if (!uid.value) return <Choose />;
  const entries = volumes.answer.value;
  return (
    <>
      <p>
        {of.value === "case" ? "Case" : "Nodule"} <strong>{uid.value}</strong>{" "}
        {of.value === "case" ? (
          <a href={link("cases", { case: uid.value })}>All about the case</a>
        ) : (
          <a href={link("nodules", { uid: uid.value })}>All about the nodule</a>
        )}
      </p>
      <Refused message={volumes.refusal.value || marks.refusal.value} />
      {entries && (marks.answer.value || marks.refusal.value) ? (
        <Shown key={`${of.value} ${uid.value}`} entries={entries} marks={marks.answer.value ?? NO_MARKS} />
      ) : volumes.refusal.value ? null : (
        <Waiting what="the volumes" />
      )}
    </>
  );
}
