// One metric of one report by stratum: figure, table, and the cases behind the point that is chosen.

import { getTable } from "../../api/client";
import { useAsked } from "../../parts/asked";
import { Head } from "../../parts/head";
import { Empty, Refused, Waiting } from "../../parts/notice";
import { Wide } from "../../parts/wide";
import { keep, params } from "../../state/route";
import { Behind } from "./behind";
import { Figure } from "./figure";
import { estimateText, factorOf, inOrder, levelOf, limitsText, type Metric, metricsOf, seriesOf } from "./metric";
import type { Choices } from "./told";

const firstOf = (wanted: string | null, known: string[], ...liked: string[]) =>
  wanted && known.includes(wanted) ? wanted : (liked.find((l) => known.includes(l)) ?? known[0] ?? "");

export function Numbers({ analyses }: { analyses: Choices[] }) {
  const known = () => {
    const analysis = firstOf(
      params.value.get("analysis"),
      analyses.map((a) => a.analysis),
    );
    const of = analyses.find((a) => a.analysis === analysis);
    return {
      of,
      analysis,
      task: firstOf(params.value.get("task"), of?.task ?? [], "presence"),
      condition: firstOf(params.value.get("condition"), of?.condition ?? [], "plain"),
      metric: firstOf(params.value.get("metric"), of?.metric ?? [], "sensitivity", "auc"),
    };
  };
  const { of, ...place } = known();
  const found = useAsked((signal) => {
    const { of: _, ...wanted } = known();
    return wanted.analysis ? getTable("/api/results/metrics", wanted, signal).then(metricsOf) : undefined;
  });
  if (!of) return <Empty>No report has numbers yet. Run `its run --to report`.</Empty>;
  const metrics = found.answer.value ?? [];
  const factors = [...new Set(metrics.map((m) => factorOf(m.stratum)))];
  const by = firstOf(params.value.get("by"), factors, "size_bucket", "all");
  const shown = metrics.filter((m) => factorOf(m.stratum) === by).sort(order);
  const chosen = shown.find(
    (m) =>
      m.stratum === params.value.get("stratum") &&
      m.source === params.value.get("source") &&
      m.reader === params.value.get("reader"),
  );
  const choose = (m: Metric) => {
    keep({ ...place, by, stratum: m.stratum, source: m.source, reader: m.reader });
    requestAnimationFrame(() => document.getElementById("behind")?.focus());
  };
  return (
    <>
      <div class="row choices">
        <Choice name="analysis" title="Report" value={place.analysis} known={analyses.map((a) => a.analysis)} />
        <Choice name="task" title="Task" value={place.task} known={of.task} />
        <Choice name="condition" title="Guidance" value={place.condition} known={of.condition} />
        <Choice name="metric" title="Metric" value={place.metric} known={of.metric} />
        <Choice name="by" title="By" value={by} known={factors} />
      </div>
      <Refused message={found.refusal.value} />
      {found.busy.value && !metrics.length ? <Waiting what="the numbers" /> : null}
      {!found.busy.value && !shown.length ? (
        <Empty>This report has no such number. Choose another task, guidance or metric.</Empty>
      ) : null}
      {shown.length ? <Figure metrics={shown} chosen={chosen} choose={choose} /> : null}
      {shown.length ? <MetricTable metrics={shown} chosen={chosen} choose={choose} metric={place.metric} /> : null}
      {chosen ? (
        <Behind key={JSON.stringify([place, chosen.stratum, chosen.source, chosen.reader])} metric={chosen} />
      ) : null}
    </>
  );
}

const order = (a: Metric, b: Metric) =>
  inOrder(levelOf(a.stratum), levelOf(b.stratum)) || seriesOf(a).localeCompare(seriesOf(b));

function Choice({ name, title, value, known }: { name: string; title: string; value: string; known: string[] }) {
  return (
    <label>
      {title}{" "}
      <select
        name={name}
        value={value}
        onChange={(event) =>
          keep({ [name]: event.currentTarget.value, stratum: undefined, source: undefined, reader: undefined })
        }
      >
        {known.map((option) => (
          <option key={option} value={option}>
            {option}
          </option>
        ))}
      </select>
    </label>
  );
}

interface Chosen {
  metrics: Metric[];
  chosen: Metric | undefined;
  choose: (m: Metric) => void;
}

function MetricTable({ metrics, chosen, choose, metric }: Chosen & { metric: string }) {
  return (
    <details class="numbers">
      <summary>The same as a table</summary>
      <Wide name="Numbers">
        <table>
          <caption>{metric} by stratum, reader and source</caption>
          <Head
            columns={[
              "Stratum",
              "Reader, source",
              { n: "Estimate" },
              { n: "Interval" },
              { n: "Slices" },
              { n: "Hosts" },
              { n: "Unanswered" },
              "Note",
              "Behind it",
            ]}
          />
          <tbody>
            {metrics.map((m) => (
              <tr key={m.stratum + seriesOf(m)} class={m === chosen ? "chosen" : ""}>
                <th scope="row">{levelOf(m.stratum)}</th>
                <td>{seriesOf(m)}</td>
                <td class="n">{estimateText(m)}</td>
                <td class="n">{limitsText(m)}</td>
                <td class="n">{m.n_slices}</td>
                <td class="n">{m.n_hosts}</td>
                <td class="n">{m.n_unanswered}</td>
                <td>{m.flag}</td>
                <td>
                  <button
                    type="button"
                    onClick={() => choose(m)}
                    aria-label={`Cases behind ${levelOf(m.stratum)}, ${seriesOf(m)}`}
                  >
                    Cases
                  </button>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Wide>
    </details>
  );
}
