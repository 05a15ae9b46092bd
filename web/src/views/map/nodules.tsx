// The map of nodules: points of a layout, coloured by a column; the selection is solid, the others are faint or gone.
import { useComputed } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { type Maps, neighbours, points } from "../../api/maps";
import { column, columnList, rowOf, rowsOf, search } from "../../api/nodules";
import { useAsked } from "../../parts/asked";
import { FacetFilter } from "../../parts/facet";
import { HistogramFilter } from "../../parts/histogram";
import { Narrow } from "../../parts/narrow";
import { Refused, Waiting } from "../../parts/notice";
import { SelectionBar } from "../../parts/selection";
import { Uid } from "../../parts/uid";
import { said, title } from "../../parts/words";
import { useLinkedSelection } from "../../state/linked";
import { filters, setUids, text } from "../../state/selection";
import { dark } from "../../state/theme";
import { bytes, ofCategories, ofNumbers } from "./colours";
import { Controls } from "./controls";
import { Detail } from "./detail";
import { Legend } from "./legend";
import { Scatter } from "./scatter";
import { colourBy, faint, featureSet, k, layout, picked, scope, set, space } from "./state";

const HISTOGRAMS = ["reinsertion_nodule_diam_mm", "reinsertion_pleural_dist_mm", "reinsertion_lobe_cc_pct"];
const FACETS = ["dataset", "label", "reinsertion_lobe", "size_bucket"];
/** Others that are drawn faintly: opacity of 255; ours. */
const FAINT = 34;

export function NoduleMap({ maps }: { maps: Maps }) {
  useLinkedSelection();
  const place = useAsked((signal) => points(layout.value, featureSet.value, signal));
  const names = useAsked(() => column("nodule_uid"));
  const values = useAsked(() => {
    const [name, list] = [colourBy.value, columnList.value];
    return list && column(name).then((found) => ({ name, found }));
  });
  const rows = useAsked((signal) =>
    filters.value.length || text.value ? rowsOf(filters.value, text.value, signal) : Promise.resolve(undefined),
  );
  const counts = useAsked((signal) =>
    search({ filters: filters.value, text: text.value, limit: 0, facets: FACETS, histograms: HISTOGRAMS }, signal),
  );
  const near = useAsked((signal) =>
    picked.value
      ? neighbours(
          { uid: picked.value, k: k.value, space: space.value, scope: scope.value, feature_set: featureSet.value },
          signal,
        )
      : undefined,
  );
  const painted = useComputed(() => {
    const given = values.answer.value;
    if (!given) return undefined;
    const about = columnList.value!.columns.find(({ name }) => name === given.name);
    return about && about.type !== "text" && about.type !== "flag" && about.values.length === 0
      ? ofNumbers(given.found)
      : ofCategories(given.found, (value) => said(given.name, value as string));
  });
  const uids = names.answer.value;
  const chosen = useMemo(() => {
    const found = rows.answer.value;
    if (!found || !uids) return undefined;
    const out = new Uint8Array(uids.length);
    for (const row of found) out[row] = 1;
    return out;
  }, [rows.answer.value, uids]);
  const uidAt = (row: number) => String(uids!.at(row));
  const paint = painted.value;
  const colours = useMemo(
    () => (paint ? bytes(paint, chosen, faint.value ? FAINT : 0, dark.value) : new Uint32Array()),
    [paint, chosen, faint.value, dark.value],
  );
  const nearRows = useMemo(
    () => (near.answer.value?.neighbours ?? []).flatMap(({ uid }) => (uids && rowOf(uids, uid)) ?? []),
    [near.answer.value, uids],
  );
  const at = place.answer.value;
  const refusal = [place, names, values, rows, counts, near].map((a) => a.refusal.value).find(Boolean) ?? "";
  const tip = (row: number) => (
    <>
      <strong>{uidAt(row)}</strong>
      <br />
      {title(values.answer.value?.name ?? "")}:{" "}
      {said(values.answer.value?.name ?? "", values.answer.value?.found.at(row))}
    </>
  );
  return (
    <>
      <SelectionBar total={counts.answer.value?.total} of={uids?.length} />
      <Controls maps={maps} />
      <Refused message={refusal} />
      <div class="columns both map">
        <Narrow>
          {counts.answer.value?.histograms.map((one) => (
            <HistogramFilter key={one.column} of={one} />
          ))}
          {counts.answer.value?.facets.map((one) => (
            <FacetFilter key={one.column} of={one} />
          ))}
        </Narrow>
        <section aria-label="Map">
          {at && uids && paint ? (
            <>
              <Scatter
                label={`Map of ${uids.length} nodules by ${layout.value}`}
                x={at.x}
                y={at.y}
                colours={colours}
                chosen={chosen}
                picked={picked.value ? rowOf(uids, picked.value) : undefined}
                near={nearRows}
                onPick={(row) => set({ uid: row === undefined ? undefined : uidAt(row) })}
                onLasso={(found) => found.length && setUids(found.map(uidAt))}
                tip={tip}
              />
              <Legend column={values.answer.value!.name} painted={paint} />
              <p class="small">
                Points that lie together have similar features; axes have no unit. Lines lead to the nearest nodules of
                the chosen one.
              </p>
            </>
          ) : refusal ? null : (
            <Waiting what="the map" />
          )}
        </section>
        <aside aria-label="Chosen nodule">
          <Detail near={near.answer.value} />
        </aside>
      </div>
      <FirstRows />
    </>
  );
}

/** The first nodules of the selection: what a click on the map does, by keyboard. */
function FirstRows() {
  const found = useAsked((signal) =>
    search({ filters: filters.value, text: text.value, limit: 8, sort: "nodule_uid" }, signal),
  );
  const rows = found.answer.value?.rows ?? [];
  return (
    <section class="wide" aria-label="First nodules of the selection">
      <table>
        <caption>
          First nodules of the selection <span class="small">all of them are in Nodules</span>
        </caption>
        <thead>
          <tr>
            {["nodule_uid", "dataset", "label", "reinsertion_lobe", "reinsertion_nodule_diam_mm"].map((name) => (
              <th key={name} scope="col" class={name.endsWith("mm") ? "n" : undefined}>
                {title(name)}
                {name.endsWith("mm") ? " (mm)" : ""}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={String(row["nodule_uid"])}>
              <th scope="row">
                <button type="button" class="plain" onClick={() => set({ uid: String(row["nodule_uid"]) })}>
                  <Uid uid={String(row["nodule_uid"])} />
                </button>
              </th>
              <td>{row["dataset"]}</td>
              <td>{said("label", row["label"])}</td>
              <td>{said("reinsertion_lobe", row["reinsertion_lobe"])}</td>
              <td class="n">{said("reinsertion_nodule_diam_mm", row["reinsertion_nodule_diam_mm"])}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
