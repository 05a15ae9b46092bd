// Up to six nodules side by side: pictures, values, and how much each differs from the first.
import { detail, type Row, type Value } from "../../api/nodules";
import { useAsked } from "../../parts/asked";
import { Empty, Refused, Waiting } from "../../parts/notice";
import { NodulePicture } from "../../parts/picture";
import { heading, number, said } from "../../parts/words";
import { link } from "../../state/route";
import { compare, compared, MOST_COMPARED } from "../../state/selection";
import { set } from "./state";
import { isNumber } from "./table";

const SHOWN = [
  "dataset",
  "label",
  "reinsertion_lobe",
  "reinsertion_lung_zone",
  "central_peripheral",
  "reinsertion_nodule_diam_mm",
  "nodule_vol_mm3",
  "reinsertion_lobe_cc_pct",
  "reinsertion_lobe_ml_pct",
  "reinsertion_lobe_ap_pct",
  "reinsertion_pleural_dist_mm",
  "reinsertion_airway_dist_mm",
  "n_nodules_in_patient",
  "person_uid",
];

export function Compare() {
  const asked = useAsked((signal) => Promise.all(compared.value.map((uid) => detail(uid, signal))));
  if (!compared.value.length)
    return (
      <Empty>Tick up to {MOST_COMPARED} nodules in Search, Similar or Donors; they stand side by side here.</Empty>
    );
  const rows: Row[] | undefined = asked.answer.value?.map(({ values }) => values);
  const ready = rows && rows.length === compared.value.length;
  return (
    <>
      <Refused message={asked.refusal.value} />
      <div class="wide">
        <table class="compare">
          <caption>
            Side by side <span class="small">with the difference from the first nodule</span>
          </caption>
          <thead>
            <tr>
              <th scope="col">
                <span class="small">Value</span>
              </th>
              {compared.value.map((uid) => (
                <th scope="col" key={uid}>
                  {uid}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            <tr>
              <th scope="row">Picture</th>
              {compared.value.map((uid) => (
                <td key={uid}>
                  <NodulePicture key={uid} uid={uid} />
                  <div class="row">
                    <a href={link("viewer", { uid, of: "nodule" })}>Viewer</a>
                    <button type="button" class="plain" onClick={() => set({ task: "similar", like: uid })}>
                      Similar
                    </button>
                    <button
                      type="button"
                      class="plain"
                      aria-label={`Remove ${uid}`}
                      onClick={() => compare(uid, false)}
                    >
                      Remove
                    </button>
                  </div>
                </td>
              ))}
            </tr>
            {ready
              ? SHOWN.map((name) => (
                  <tr key={name}>
                    <th scope="row">{heading(name)}</th>
                    {rows.map((row, i) => (
                      <td key={String(row["nodule_uid"])}>
                        {said(name, row[name])}{" "}
                        {i ? <Delta name={name} value={row[name]} first={rows[0]![name]} /> : null}
                      </td>
                    ))}
                  </tr>
                ))
              : null}
          </tbody>
        </table>
      </div>
      {ready || asked.refusal.value ? null : <Waiting what="the nodules" />}
    </>
  );
}

function Delta({ name, value, first }: { name: string; value: Value | undefined; first: Value | undefined }) {
  if (isNumber(name) && typeof value === "number" && typeof first === "number") {
    const off = value - first;
    return (
      <span class="delta">
        {off > 0 ? "+" : off < 0 ? "−" : "±"}
        {number(Number(Math.abs(off).toPrecision(3)))}
      </span>
    );
  }
  return value === first || name === "person_uid" ? null : <span class="delta">differs</span>;
}
