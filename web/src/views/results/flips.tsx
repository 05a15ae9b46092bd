// Two readers on the same slices: both numbers, their paired difference, and the cases that flipped, with pictures.

import { address, get } from "../../api/client";
import { useAsked } from "../../parts/asked";
import { Head } from "../../parts/head";
import { Empty, Refused, Waiting } from "../../parts/notice";
import { Wide } from "../../parts/wide";
import { keep, params } from "../../state/route";
import { Card } from "./card";
import type { ChoiceList } from "./told";

interface Estimate {
  estimate: number | null;
  low: number | null;
  high: number | null;
  flag: string | null;
}
interface OfSource {
  source: string;
  n: number;
  n_cases: number;
  a: Estimate;
  b: Estimate;
  difference: Estimate;
  p: number | null;
  improved: number;
  regressed: number;
}
interface Flip {
  flip: "improved" | "regressed";
  source: string;
  mode: string;
  case_uid: string;
  slice_uid: string;
  condition: string;
  truth: string;
  a_answer: string | null;
  b_answer: string | null;
  size_bucket: string | null;
  lobe: string | null;
}
interface Found {
  a: string;
  b: string;
  metric: string;
  sources: OfSource[];
  notes: string[];
  total: number;
  flips: Flip[];
}

const TASKS = ["presence", "lobe", "size", "malignancy"];
const CONDITIONS = ["plain", "bbox", "contour", "bbox_contour"];
const SHOWN = 100;

function number(e: Estimate): string {
  if (e.estimate === null) return e.flag ? `none: ${e.flag}` : "none";
  const limits = e.low === null || e.high === null ? "" : ` (${e.low.toFixed(3)} to ${e.high.toFixed(3)})`;
  return e.estimate.toFixed(3) + limits;
}

export function Flips({ known }: { known: ChoiceList }) {
  const chosen = () => ({
    a: params.value.get("a") ?? known.readers[0] ?? "",
    b: params.value.get("b") ?? known.readers[1] ?? "",
    task: params.value.get("task") ?? "presence",
    condition: params.value.get("condition") ?? "plain",
  });
  const now = chosen();
  const found = useAsked((signal) => {
    const wanted = chosen();
    if (!wanted.a || !wanted.b || wanted.a === wanted.b) return undefined;
    return get<Found>("/api/results/flips", { ...wanted, limit: SHOWN }, signal);
  });
  if (known.readers.length < 2) return <Empty>Only one reader has answers. A second one is needed to compare.</Empty>;
  const result = found.answer.value;
  const select = (name: keyof typeof now, title: string, options: string[]) => (
    <label key={name}>
      {title}{" "}
      <select name={name} value={now[name]} onChange={(event) => keep({ ...now, [name]: event.currentTarget.value })}>
        {options.map((option) => (
          <option key={option}>{option}</option>
        ))}
      </select>
    </label>
  );
  return (
    <>
      <div class="row choices">
        {select("a", "A", known.readers)}
        {select("b", "B", known.readers)}
        {select("task", "Task", TASKS)}
        {select("condition", "Guidance", CONDITIONS)}
      </div>
      {now.a === now.b ? <Empty>Choose two different readers.</Empty> : null}
      <Refused message={found.refusal.value} />
      {found.busy.value ? <Waiting what="the comparison" /> : null}
      {result && !found.refusal.value ? <Comparison result={result} /> : null}
    </>
  );
}

function Comparison({ result }: { result: Found }) {
  const improved = result.flips.filter((f) => f.flip === "improved");
  const regressed = result.flips.filter((f) => f.flip === "regressed");
  return (
    <>
      {result.notes.map((note) => (
        <Note key={note} text={note} />
      ))}
      <Wide name="Numbers of both readers">
        <table>
          <caption>
            {result.metric} on the same slices, A {result.a}, B {result.b}
          </caption>
          <Head
            columns={[
              "Source",
              { n: "Slices" },
              { n: "A (interval)" },
              { n: "B (interval)" },
              { n: "B less A" },
              { n: "p" },
              { n: "Improved" },
              { n: "Regressed" },
            ]}
          />
          <tbody>
            {result.sources.map((s) => (
              <tr key={s.source}>
                <th scope="row">{s.source}</th>
                <td class="n">{s.n}</td>
                <td class="n">{number(s.a)}</td>
                <td class="n">{number(s.b)}</td>
                <td class="n">{number(s.difference)}</td>
                <td class="n">{s.p === null ? "not tested" : s.p.toPrecision(2)}</td>
                <td class="n">{s.improved}</td>
                <td class="n">{s.regressed}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Wide>
      {result.total > result.flips.length ? (
        <p class="small">
          {result.total} slices flipped; {result.flips.length} are shown. `its compare {result.a} {result.b}` lists all.
        </p>
      ) : null}
      <Gallery title="Improved: A wrong, B right" flips={improved} result={result} />
      <Gallery title="Regressed: A right, B wrong" flips={regressed} result={result} />
    </>
  );
}

/** What is not the same on both sides; the ids that it names are folded. */
function Note({ text }: { text: string }) {
  const [first, ...rest] = text.split(": ");
  if (!rest.length) return <p class="note">{text}</p>;
  return (
    <details class="note">
      <summary>{first}</summary>
      {rest.join(": ")}
    </details>
  );
}

function Gallery({ title, flips, result }: { title: string; flips: Flip[]; result: Found }) {
  return (
    <section>
      <h2>{title}</h2>
      {flips.length ? null : <Empty>None.</Empty>}
      <ul class="cards">
        {flips.map((f) => (
          <Card
            key={f.source + f.slice_uid + f.case_uid}
            uid={f.case_uid}
            picture={address("/api/slice.png", { slice_uid: f.slice_uid, condition: f.condition })}
            right={undefined}
            facts={[
              ["Truth", f.truth],
              [result.a, f.a_answer ?? "no answer"],
              [result.b, f.b_answer ?? "no answer"],
              ["Size", f.size_bucket ?? "no nodule"],
            ]}
          />
        ))}
      </ul>
    </section>
  );
}
