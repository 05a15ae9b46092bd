// The list of trials with what became of their cases, and of one trial its arms and balance.
import { get } from "../../api/client";
import { useAsked } from "../../parts/asked";
import { Head } from "../../parts/head";
import { Empty, Refused, Waiting } from "../../parts/notice";
import { Wide } from "../../parts/wide";
import { link, params } from "../../state/route";
import { percent, plain, type TrialFlow, type TrialTold } from "./told";

export function Trials() {
  const trials = useAsked<TrialFlow[]>((signal) => get("/api/trials", {}, signal));
  const found = trials.answer.value;
  if (trials.refusal.value) return <Refused message={trials.refusal.value} />;
  if (!found) return <Waiting what="the trials" />;
  if (!found.length) return <Empty>No trial is planned yet. Plan with `its run --only plan`.</Empty>;
  const rows = found.flatMap((flow) => {
    const sources = flow.sources.length ? flow.sources : [undefined];
    return sources.map((source, i) => ({ flow, source, isFirst: i === 0, span: sources.length }));
  });
  const now = params.value.get("mode");
  return (
    <Wide name="Trials">
      <table>
        <caption>Trials, in cases; rejected cases are not replaced</caption>
        <Head
          columns={[
            "Trial",
            { n: "Planned" },
            { n: "Inserted" },
            "Source",
            { n: "Rendered" },
            { n: "Sliced" },
            { n: "Answered" },
            { n: "Rejected by a stage" },
            { n: "Accepted by people" },
            { n: "Rejected by people" },
          ]}
        />
        <tbody>
          {rows.map(({ flow, source, isFirst, span }) => (
            <tr key={flow.mode + (source?.source ?? "")} aria-current={flow.mode === now ? "true" : undefined}>
              {isFirst ? (
                <>
                  <th scope="row" rowSpan={span}>
                    <a href={link("cases", { mode: flow.mode })}>{plain(flow.mode)}</a>
                    <br />
                    <span class="small question">{flow.question}</span>
                  </th>
                  <td class="n" rowSpan={span}>
                    {flow.planned}
                  </td>
                  <td class="n" rowSpan={span}>
                    {flow.inserted}
                  </td>
                </>
              ) : null}
              <td>{source?.source ?? "none yet"}</td>
              <td class="n">{source?.rendered ?? 0}</td>
              <td class="n">{source?.sliced ?? 0}</td>
              <td class="n">{source?.answered ?? 0}</td>
              {isFirst ? (
                <>
                  <td class="n" rowSpan={span}>
                    {flow.rejected}
                  </td>
                  <td class="n" rowSpan={span}>
                    {flow.accepted_by_people}
                  </td>
                  <td class="n" rowSpan={span}>
                    {flow.rejected_by_people}
                  </td>
                </>
              ) : null}
            </tr>
          ))}
        </tbody>
      </table>
    </Wide>
  );
}

export function Trial({ mode }: { mode: string }) {
  const told = useAsked<TrialTold>((signal) => get("/api/trial", { mode: params.value.get("mode") ?? mode }, signal));
  const trial = told.answer.value;
  if (told.refusal.value) return <Refused message={told.refusal.value} />;
  if (!trial) return <Waiting what="the trial" />;
  return (
    <>
      <h2>{plain(trial.flow.mode)}</h2>
      <p>{trial.flow.question}</p>
      <Wide name="Arms">
        <table>
          <caption>Arms</caption>
          <Head
            columns={[
              "Arm",
              { n: "Cases asked" },
              { n: "Cases got" },
              { n: "Malignant" },
              { n: "Donors" },
              { n: "Hosts (people)" },
              "Note",
            ]}
          />
          <tbody>
            {trial.arms.map((arm) => (
              <tr key={arm.arm}>
                <th scope="row">{arm.arm}</th>
                <td class="n">{arm.asked_cases}</td>
                <td class="n">{arm.got_cases}</td>
                <td class="n">{arm.malignant}</td>
                <td class="n">{arm.donors}</td>
                <td class="n">{arm.host_persons}</td>
                <td>{arm.note}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Wide>
      <details>
        <summary>Balance: {trial.balance.length} shares, asked and got</summary>
        <Wide name="Balance">
          <table>
            <caption>Balance of {plain(trial.flow.mode)}</caption>
            <Head
              columns={[
                "Arm",
                "Of",
                "Level",
                "How it was set",
                { n: "Asked (%)" },
                { n: "Got (%)" },
                { n: "Cases asked" },
                { n: "Cases got" },
                { n: "Standardised difference" },
              ]}
            />
            <tbody>
              {trial.balance.map((row) => (
                <tr key={`${row.arm} ${row.marginal} ${row.level}`}>
                  <th scope="row">{row.arm}</th>
                  <td>{plain(row.marginal)}</td>
                  <td>{plain(row.level)}</td>
                  <td>{row.status}</td>
                  <td class="n">{percent(row.asked_share)}</td>
                  <td class="n">{percent(row.got_share)}</td>
                  <td class="n">{row.asked}</td>
                  <td class="n">{row.got}</td>
                  <td class="n">{row.standardised_difference?.toFixed(3)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Wide>
      </details>
    </>
  );
}
