// An answer of similarity or donor matching: ranked nodules with what differs.
import type { Nearest } from "../../api/nodules";
import { Uid } from "../../parts/uid";
import { number, said, title } from "../../parts/words";
import { link } from "../../state/route";
import { compare, compared, MOST_COMPARED } from "../../state/selection";
import { set } from "./state";

const signed = (value: number | null) =>
  value === null ? "–" : `${value > 0 ? "+" : value < 0 ? "−" : ""}${number(Math.abs(value))}`;

export function NearTable({ found, caption }: { found: Nearest; caption: string }) {
  const first = found.nodules[0];
  const isDonor = first !== undefined && first.score !== null;
  const scaled = found.nodules.some((one) => one.scale !== null);
  if (!first) return <p class="empty">No nodule meets this. Widen a tolerance, or remove a filter of the selection.</p>;
  return (
    <div class="wide">
      <table class="nodules ranked">
        <caption>
          {caption} <span class="small">among {found.candidates.toLocaleString("en")} of the selection</span>
        </caption>
        <thead>
          <tr>
            <th scope="col">
              <span class="small">Compare</span>
            </th>
            <th scope="col" class="n">
              #
            </th>
            <th scope="col">Nodule</th>
            <th scope="col" class="n">
              {isDonor ? "Score" : "Distance"}
            </th>
            <th scope="col">Label</th>
            <th scope="col">Lobe</th>
            <th scope="col" class="n">
              Diameter (mm)
            </th>
            {scaled ? (
              <th scope="col" class="n">
                Scale
              </th>
            ) : null}
            {first.differences.map(({ name, column, unit }) => (
              <th scope="col" class="n" key={name}>
                Δ {title(column)}
                {unit ? ` (${unit})` : ""}
              </th>
            ))}
            <th scope="col">Differs in</th>
          </tr>
        </thead>
        <tbody>
          {found.nodules.map((one, i) => {
            const uid = String(one.row["nodule_uid"]);
            const on = compared.value.includes(uid);
            return (
              <tr key={uid}>
                <td>
                  <input
                    type="checkbox"
                    aria-label={`Compare ${uid}`}
                    checked={on}
                    disabled={!on && compared.value.length >= MOST_COMPARED}
                    onChange={(event) => compare(uid, event.currentTarget.checked)}
                  />
                </td>
                <td class="n">{i + 1}</td>
                <th scope="row">
                  {isDonor ? (
                    <a href={link("nodules", { uid })}>{uid}</a>
                  ) : (
                    <button type="button" class="plain" onClick={() => set({ like: uid })}>
                      <Uid uid={uid} />
                    </button>
                  )}
                </th>
                <td class="n">{(one.score ?? one.distance ?? 0).toFixed(3)}</td>
                <td>{said("label", one.row["label"])}</td>
                <td>{said("reinsertion_lobe", one.row["reinsertion_lobe"])}</td>
                <td class="n">{said("", one.row["reinsertion_nodule_diam_mm"])}</td>
                {scaled ? (
                  <td class="n">
                    {one.scale === null ? "–" : one.scale.toFixed(2)}
                    {one.scale_ok === false ? " (too far)" : ""}
                  </td>
                ) : null}
                {one.differences.map(({ name, difference }) => (
                  <td class="n" key={name}>
                    {signed(difference)}
                  </td>
                ))}
                <td>{one.differs.join(", ") || "–"}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
