// The cases behind a number: picture, answer, truth, and where to look further.
import { address, get } from "../../api/client";
import { useAsked } from "../../parts/asked";
import { Empty, Refused, Waiting } from "../../parts/notice";
import { Card } from "./card";
import { levelOf, type Metric, seriesOf } from "./metric";

interface BehindCase {
  source: string;
  reader: string;
  case_uid: string;
  slice_uid: string;
  condition: string;
  truth: string | null;
  answer: string | null;
  status: string | null;
  score: number | null;
  contribution: number | null;
  lost: number | null;
  diameter_mm: number | null;
}

/** Cases that are shown; the table in the SQL view lists all. */
const SHOWN = 60;

export function Behind({ metric }: { metric: Metric }) {
  const { analysis, task, condition, stratum, source, reader } = metric;
  const found = useAsked((signal) =>
    get<{ total: number; cases: BehindCase[] }>(
      "/api/results/cases",
      { analysis, task, condition, stratum, source, reader, metric: metric.metric, limit: SHOWN },
      signal,
    ),
  );
  const behind = found.answer.value;
  return (
    <section id="behind" tabIndex={-1} aria-label="Cases behind the number">
      <h2>
        Behind {metric.metric} of {levelOf(stratum)}, {seriesOf(metric)}
      </h2>
      <Refused message={found.refusal.value} />
      {found.busy.value ? <Waiting what="the cases" /> : null}
      {behind && !behind.total ? (
        <Empty>
          No single slices stand behind this number: it counts marks on whole scans, or a comparison over strata.
        </Empty>
      ) : null}
      {behind?.total ? (
        <p class="small">
          {behind.total} slices{behind.total > SHOWN ? `, the first ${SHOWN} are shown` : ""}. What costs the number
          most comes first.
        </p>
      ) : null}
      <ul class="cards">
        {behind?.cases.map((c) => (
          <Card
            key={c.slice_uid + c.case_uid}
            uid={c.case_uid}
            picture={address("/api/slice.png", { slice_uid: c.slice_uid, condition: c.condition })}
            right={c.truth === null ? undefined : c.answer === c.truth}
            facts={[
              ["Truth", c.truth ?? "not known"],
              ["Answer", c.answer ?? `none (${c.status ?? "not read"})`],
              ...(c.score === null ? [] : [["Score", c.score.toPrecision(4)] as [string, string]]),
              ...(c.diameter_mm === null ? [] : [["Diameter", `${c.diameter_mm} mm`] as [string, string]]),
            ]}
          />
        ))}
      </ul>
    </section>
  );
}
