// What is selected now: the search text, how many nodules, the filters as tags that can be removed, and a link.
import { useSignal } from "@preact/signals";
import { linkRefusal } from "../state/linked";
import { clear, type Filter, filters, setFilter, setUids, text } from "../state/selection";
import { Refused } from "./notice";
import { counted, heading, number, said } from "./words";

/** A filter in words. */
export function inWords(filter: Filter): string {
  if ("uids" in filter) return counted(filter.uids.length, "single nodule");
  if ("any" in filter) return `${heading(filter.column)}: ${filter.any.map((v) => said(filter.column, v)).join(", ")}`;
  if ("contains" in filter) return `${heading(filter.column)} contains ${filter.contains}`;
  if ("missing" in filter) return `${heading(filter.column)}: ${filter.missing ? "missing" : "not missing"}`;
  const { low, high } = filter;
  const range =
    low === undefined
      ? `at most ${number(high!)}`
      : high === undefined
        ? `at least ${number(low)}`
        : `${number(low)} to ${number(high)}`;
  return `${heading(filter.column)}: ${range}`;
}

export function SelectionBar({ total, of }: { total: number | undefined; of: number | undefined }) {
  const copied = useSignal("");
  const copy = () => {
    navigator.clipboard.writeText(location.href).then(
      () => {
        copied.value = "Copied.";
      },
      () => {
        copied.value = "The browser does not allow it. Copy the address of this page.";
      },
    );
  };
  const remove = (filter: Filter) => ("uids" in filter ? setUids(undefined) : setFilter(filter.column, undefined));
  return (
    <section class="selection" aria-label="Selection">
      <label class="search">
        <span>Search</span>
        <input
          type="search"
          placeholder="id, scan, person or dataset"
          value={text.value}
          onInput={(event) => (text.value = event.currentTarget.value)}
        />
      </label>
      <p class="total" role="status">
        <strong>{total === undefined ? "…" : total.toLocaleString("en")}</strong>
        {of === undefined ? " nodules" : ` of ${counted(of, "nodule")}`}
      </p>
      <ul class="tags">
        {filters.value.map((filter) => (
          <li key={JSON.stringify("column" in filter ? filter.column : "uids")}>
            <button type="button" aria-label={`Remove the filter ${inWords(filter)}`} onClick={() => remove(filter)}>
              {inWords(filter)} <span aria-hidden="true">×</span>
            </button>
          </li>
        ))}
      </ul>
      <div class="row">
        {filters.value.length || text.value ? (
          <button type="button" onClick={clear}>
            Clear all
          </button>
        ) : null}
        <button type="button" onClick={copy}>
          Copy link
        </button>
        <span class="small" role="status">
          {copied.value}
        </span>
      </div>
      <Refused message={linkRefusal.value} />
    </section>
  );
}
