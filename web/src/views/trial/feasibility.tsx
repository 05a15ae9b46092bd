// What is feasible of the trial as it stands: each arm, the constraint that binds, what giving one up would bring.
import type { Arm, Drafted } from "../../api/selection";
import { Head } from "../../parts/head";

export function FeasibilityTable({ of }: { of: Drafted }) {
  const { arms, is_enough, note, size } = of.feasibility;
  const short = arms.filter((arm) => !arm.is_enough);
  return (
    <>
      <p class={is_enough ? "verdict good" : "verdict short"} role="status">
        {is_enough
          ? arms.length === 1
            ? "Feasible as asked."
            : `Feasible as asked: all ${arms.length} arms.`
          : `Not feasible as asked: ${short.length} of ${arms.length} ${arms.length === 1 ? "arm" : "arms"} ${short.length === 1 ? "has" : "have"} too few cases.`}
      </p>
      {note ? <p class="small">{note}</p> : null}
      <div class="wide">
        <table class="arms">
          <caption>
            Arms <span class="small">at size {size}; feasible cases are counted up to twice what is wanted</span>
          </caption>
          <Head columns={["Arm", { n: "Wanted" }, { n: "Feasible" }, "What binds"]} />
          <tbody>
            {arms.map((arm) => (
              <tr key={arm.arm} class={arm.is_enough ? undefined : "short"}>
                <th scope="row">{arm.arm}</th>
                <td class="n">{arm.wanted.toLocaleString("en")}</td>
                <td class="n">
                  {arm.feasible.toLocaleString("en")}
                  {arm.is_enough ? "" : " (too few)"}
                </td>
                <td>{binding(arm)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {short.slice(0, 6).map((arm) => (
        <Short key={arm.arm} arm={arm} />
      ))}
      {short.length > 6 ? <p class="small">{short.length - 6} more arms are short.</p> : null}
      {arms[0] ? (
        <details class="more">
          <summary>Donors and hosts left after each constraint ({arms[0].arm})</summary>
          <Counts arm={arms[0]} />
        </details>
      ) : null}
    </>
  );
}

function binding(arm: Arm): string {
  if (arm.is_enough) return "–";
  const binds = arm.counts.find((count) => count.binds);
  return binds
    ? `${binds.of}: ${binds.constraint}, ${binds.left} meet it`
    : arm.why.replace(/^feasible cases \((.*)\)$/, "$1");
}

function Short({ arm }: { arm: Arm }) {
  const helping = arm.relaxations.filter(({ helps }) => helps);
  return (
    <section class="note">
      <h3>{arm.arm}: what would help</h3>
      <ul>
        <li>
          Ask for {arm.feasible === 0 ? "other nodules: no case is feasible" : `at most ${arm.feasible} cases`}, or
          widen the selection.
        </li>
        {helping.map(({ name, cases, price }) => (
          <li key={name}>
            <code>{name}</code>: {cases >= 2 * arm.wanted ? `at least ${cases}` : cases} cases are feasible; {price}.
          </li>
        ))}
        {helping.length || !arm.relaxations.length ? null : <li>Giving up a single constraint does not help.</li>}
      </ul>
    </section>
  );
}

function Counts({ arm }: { arm: Arm }) {
  return (
    <div class="wide">
      <table>
        <caption>What is left</caption>
        <Head columns={["Of", "Constraint", { n: "Left" }, { n: "Cases that need one" }]} />
        <tbody>
          {arm.counts.map(({ of, constraint, left, needed, binds }, i) => (
            <tr key={i} class={binds ? "short" : undefined}>
              <td>{of}</td>
              <th scope="row">
                {constraint}
                {binds ? " (binds)" : ""}
              </th>
              <td class="n">{left.toLocaleString("en")}</td>
              <td class="n">{needed === null ? "–" : needed.toLocaleString("en")}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
