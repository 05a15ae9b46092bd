// Nodules: search with facets and ranges, similar ones, donors for a place, side by side; every step is in the address.
import "../../parts/selection.css";
import "../map/map.css";
import "./nodules.css";
import { useSignal, useSignalEffect } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { download } from "../../api/client";
import { columnList, columnRefusal, openColumns, search } from "../../api/nodules";
import { useAsked } from "../../parts/asked";
import { FacetFilter } from "../../parts/facet";
import { HistogramFilter } from "../../parts/histogram";
import { Narrow } from "../../parts/narrow";
import { Refused, Waiting } from "../../parts/notice";
import { SelectionBar } from "../../parts/selection";
import { namesFrom, namesOf } from "../../state/link";
import { useLinkedSelection } from "../../state/linked";
import { root } from "../../state/root";
import { params } from "../../state/route";
import { compared, filters, MOST_COMPARED, text } from "../../state/selection";
import { Detail } from "../map/detail";
import { Compare } from "./compare";
import { Match } from "./match";
import { Similar } from "./similar";
import { descending, offset, PAGE, set, sort, type Task, task } from "./state";
import { NoduleTable } from "./table";

const FACETS = [
  "dataset",
  "label",
  "reinsertion_lobe",
  "reinsertion_lung_zone",
  "size_bucket",
  "central_peripheral",
  "label_source",
  "population_type",
];
const HISTOGRAMS = [
  "reinsertion_nodule_diam_mm",
  "reinsertion_pleural_dist_mm",
  "reinsertion_airway_dist_mm",
  "reinsertion_lobe_cc_pct",
  "n_nodules_in_patient",
];

export default function View() {
  useEffect(openColumns, []);
  useLinkedSelection();
  useComparedLink();
  const known = () => new Set(columnList.value?.columns.map(({ name }) => name));
  const asked = useAsked((signal) => {
    if (!columnList.value) return undefined;
    const there = known();
    return search(
      {
        filters: filters.value,
        text: text.value,
        sort: sort.value,
        descending: descending.value,
        offset: offset.value,
        limit: PAGE,
        columns: columnList.value.shown,
        facets: FACETS.filter((name) => there.has(name)),
        histograms: HISTOGRAMS.filter((name) => there.has(name)),
      },
      signal,
    );
  });
  const found = asked.answer.value;
  const tabs: [Task, string][] = [
    ["search", "Search"],
    ["similar", "Similar"],
    ["match", "Donors for a place"],
    ["compare", `Compare (${compared.value.length} of ${MOST_COMPARED})`],
  ];
  return (
    <>
      <SelectionBar total={found?.total} of={root.value?.nodules} />
      <Refused message={columnRefusal.value || asked.refusal.value} />
      <fieldset class="sources">
        <legend class="hidden">What to do</legend>
        {tabs.map(([name, words]) => (
          <button
            key={name}
            type="button"
            aria-pressed={task.value === name}
            onClick={() => set({ task: name === "search" ? undefined : name })}
          >
            {words}
          </button>
        ))}
      </fieldset>
      {task.value === "similar" ? (
        <Similar />
      ) : task.value === "match" ? (
        <Match />
      ) : task.value === "compare" ? (
        <Compare />
      ) : found ? (
        <div class="columns left">
          <Narrow>
            {found.facets.slice(0, 5).map((one) => (
              <FacetFilter key={one.column} of={one} />
            ))}
            {found.histograms.map((one) => (
              <HistogramFilter key={one.column} of={one} />
            ))}
            {found.facets.slice(5).map((one) => (
              <FacetFilter key={one.column} of={one} />
            ))}
          </Narrow>
          <section aria-label="Found">
            {params.value.get("uid") ? (
              <aside class="chosen" aria-label="Chosen nodule">
                <Detail near={undefined} />
              </aside>
            ) : null}
            <NoduleTable found={found} columns={columnList.value?.shown ?? []} />
            <Downloads />
          </section>
        </div>
      ) : asked.refusal.value || columnRefusal.value ? null : (
        <Waiting what="nodules" />
      )}
    </>
  );
}

/** The compared nodules stand in the address too, so that a link shows them. */
function useComparedLink(): void {
  useEffect(() => {
    const given = params.peek().get("beside");
    if (given) compared.value = namesFrom(given).slice(0, MOST_COMPARED);
  }, []);
  useSignalEffect(() => {
    const names = namesOf(compared.value);
    queueMicrotask(() => set({ beside: names || undefined }));
  });
}

function Downloads() {
  const refusal = useSignal("");
  const save = (format: string) => {
    refusal.value = "";
    download("/api/nodules/export", { filters: filters.peek(), text: text.peek(), format }).catch((error: Error) => {
      refusal.value = error.message;
    });
  };
  return (
    <div class="row downloads">
      <span>Download the selection with all columns</span>
      {["csv", "json", "parquet"].map((format) => (
        <button key={format} type="button" onClick={() => save(format)}>
          {format === "parquet" ? "Parquet" : format.toUpperCase()}
        </button>
      ))}
      <Refused message={refusal.value} />
    </div>
  );
}
