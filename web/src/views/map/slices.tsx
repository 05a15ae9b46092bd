// The map of slices, coloured by what a reader answered: where its errors lie together. Slices of one case share a place
// where they show the same.
import { useComputed } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { address } from "../../api/client";
import { type Maps, slices } from "../../api/maps";
import { useAsked } from "../../parts/asked";
import { Head } from "../../parts/head";
import { Empty, Refused, Waiting } from "../../parts/notice";
import { number, said } from "../../parts/words";
import { link, params } from "../../state/route";
import { bytes, type Key, OTHER, type Painted } from "./colours";
import { Legend } from "./legend";
import { Scatter } from "./scatter";
import { set } from "./state";

/** Right blue, wrong vermilion: apart for every kind of colour vision (Okabe and Ito). */
const COLOURS: Record<string, string> = { right: "#0072B2", wrong: "#D55E00", refused: "#E69F00" };
const WORDS: Record<string, string> = { not_answered: "not answered", no_truth: "no truth" };
const ORDER = ["right", "wrong"];

export function SliceMap({ maps }: { maps: Maps }) {
  const choice = params.value;
  const pair = maps.slices.find((s) => `${s.source}/${s.reader}` === choice.get("answers")) ?? maps.slices[0];
  const task = choice.get("task") ?? maps.tasks[0]!;
  const condition = choice.get("condition") ?? maps.conditions[0]!;
  // a text, so that choosing a slice, which is in the address too, asks nothing again
  const question = useComputed(() => {
    const query = params.value;
    const chosen = maps.slices.find((s) => `${s.source}/${s.reader}` === query.get("answers")) ?? maps.slices[0];
    return chosen
      ? JSON.stringify({
          source: chosen.source,
          reader: chosen.reader,
          task: query.get("task") ?? maps.tasks[0]!,
          condition: query.get("condition") ?? maps.conditions[0]!,
        })
      : "";
  });
  const asked = useAsked((signal) => (question.value ? slices(JSON.parse(question.value), signal) : undefined));
  const table = asked.answer.value;
  const shown = useMemo(() => {
    if (!table) return undefined;
    const outcomes = Array.from(table.getChild("outcome")!) as string[];
    const names = [...ORDER, ...maps.outcomes.filter((name) => !ORDER.includes(name))];
    const keys: Key[] = [];
    const place = new Map<string, number>();
    for (const name of names) {
      const count = outcomes.filter((outcome) => outcome === name).length;
      if (!count) continue;
      place.set(name, keys.length);
      keys.push({ label: WORDS[name] ?? name, colour: COLOURS[name] ?? OTHER, count });
    }
    const painted: Painted = { kind: "categories", keys, codes: Uint8Array.from(outcomes, (o) => place.get(o) ?? 0) };
    return {
      x: table.getChild("x")!.toArray() as Float32Array,
      y: table.getChild("y")!.toArray() as Float32Array,
      outcomes,
      painted,
      colours: bytes(painted, undefined, 0, false),
    };
  }, [table]);
  if (!pair) return <Empty>No reader has answered slices of this root yet. Run one: `its run --modes 1`.</Empty>;
  const value = (row: number, name: string) => table?.getChild(name)?.get(row) as string | number | null;
  const uids = table?.getChild("slice_uid");
  const place = uids?.indexOf(choice.get("slice") ?? "") ?? -1;
  const row = place >= 0 ? place : undefined;
  const pick = (i: number | undefined) => set({ slice: i === undefined ? undefined : String(uids?.get(i)) });
  const wrong = shown ? shown.outcomes.flatMap((outcome, i) => (outcome === "wrong" ? [i] : [])) : [];
  return (
    <>
      <div class="controls">
        <Choice
          name="Reader"
          value={`${pair.source}/${pair.reader}`}
          among={maps.slices.map((s) => [`${s.source}/${s.reader}`, `${s.reader} on ${s.source}`])}
          onChange={(answers) => set({ answers, slice: undefined })}
        />
        <Choice
          name="Task"
          value={task}
          among={maps.tasks.map((t) => [t, t.replaceAll("_", " ")])}
          onChange={(to) => set({ task: to, slice: undefined })}
        />
        <Choice
          name="Condition"
          value={condition}
          among={maps.conditions.map((c) => [c, c.replaceAll("_", " ")])}
          onChange={(to) => set({ condition: to, slice: undefined })}
        />
      </div>
      <Refused message={asked.refusal.value} />
      <div class="columns right map">
        <section aria-label="Map of slices">
          {shown ? (
            shown.x.length ? (
              <>
                <Scatter
                  label={`Map of ${shown.x.length} slices`}
                  x={shown.x}
                  y={shown.y}
                  colours={shown.colours}
                  chosen={undefined}
                  picked={row}
                  near={[]}
                  onPick={pick}
                  tip={(i) => (
                    <>
                      <strong>{value(i, "case_uid")}</strong>
                      <br />
                      {WORDS[shown.outcomes[i]!] ?? shown.outcomes[i]}, score {score(value(i, "score"))}
                    </>
                  )}
                />
                <Legend column="Answer" painted={shown.painted} />
                <p class="small">
                  Places come from what a slice shows (size, contrast, place), never from an answer: groups of one
                  colour say where this reader is right or wrong.
                </p>
              </>
            ) : (
              <Empty>This reader has no answers to slices for this task and condition.</Empty>
            )
          ) : asked.refusal.value ? null : (
            <Waiting what="the slices" />
          )}
        </section>
        <aside aria-label="Chosen slice">
          {row === undefined ? (
            <Empty>Click a point, or choose a row of the table, to see the slice.</Empty>
          ) : (
            <>
              <h2>{value(row, "case_uid")}</h2>
              <figure class="thumbnail">
                <img
                  src={address("/api/slice.png", { slice_uid: String(value(row, "slice_uid")), condition })}
                  alt="The slice as the reader saw it"
                />
              </figure>
              <dl class="values">
                <Fact name="Answer" is={WORDS[shown!.outcomes[row]!] ?? shown!.outcomes[row]!} />
                <Fact name="Score" is={score(value(row, "score"))} />
                <Fact name="Shows" is={said("presence", value(row, "presence"))} />
                <Fact name="Diameter (mm)" is={said("", value(row, "diameter_mm"))} />
                <Fact name="Contrast (HU)" is={said("", value(row, "contrast_hu"))} />
                <Fact name="Lobe" is={said("reinsertion_lobe", value(row, "lobe"))} />
              </dl>
              <a href={viewerOf(String(value(row, "case_uid")))}>Open in the viewer</a>
            </>
          )}
        </aside>
      </div>
      {wrong.length ? (
        <div class="wide">
          <table>
            <caption>
              Wrong answers{" "}
              <span class="small">
                the first {Math.min(wrong.length, 20)} of {wrong.length}
              </span>
            </caption>
            <Head columns={["Case", { n: "Score" }, { n: "Diameter (mm)" }, "Lobe"]} />
            <tbody>
              {wrong.slice(0, 20).map((i) => (
                <tr key={i}>
                  <th scope="row">
                    <button type="button" class="plain" onClick={() => pick(i)}>
                      {value(i, "case_uid")}
                    </button>
                  </th>
                  <td class="n">{score(value(i, "score"))}</td>
                  <td class="n">{said("", value(i, "diameter_mm"))}</td>
                  <td>{said("reinsertion_lobe", value(i, "lobe"))}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : null}
    </>
  );
}

/** Slices of real scans are of a nodule, `real/<nodule_uid>`; the others of a case. */
const viewerOf = (uid: string) =>
  uid.startsWith("real/") ? link("viewer", { uid: uid.slice(5), of: "nodule" }) : link("viewer", { uid, of: "case" });

const score = (value: string | number | null) => (typeof value === "number" ? number(value) : "–");

function Fact({ name, is }: { name: string; is: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{is}</dd>
    </div>
  );
}

interface ChoiceProps {
  name: string;
  value: string;
  among: [string, string][];
  onChange: (value: string) => void;
}

function Choice({ name, value, among, onChange }: ChoiceProps) {
  return (
    <label>
      {name}
      <select value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {among.map(([key, words]) => (
          <option key={key} value={key}>
            {words}
          </option>
        ))}
      </select>
    </label>
  );
}
