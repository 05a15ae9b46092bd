// Values of a column with counts over all other filters; ticked ones restrict the selection.
import { useState } from "preact/hooks";
import type { Facet, Value } from "../api/nodules";
import { filters, setFilter } from "../state/selection";
import { said, title } from "./words";

const FIRST = 8;

export function FacetFilter({ of }: { of: Facet }) {
  const { column, values } = of;
  const [whole, setWhole] = useState(false);
  const filter = filters.value.find((f) => "column" in f && f.column === column);
  const chosen: Value[] = filter && "any" in filter ? (filter.any as Value[]) : [];
  const missing = filter !== undefined && "missing" in filter && filter.missing;
  const most = Math.max(1, ...values.map(({ count }) => count));
  const isOn = (value: Value) => (value === null ? missing : chosen.includes(value));
  const toggle = (value: Value, on: boolean) => {
    if (value === null) return setFilter(column, on ? { column, missing: true } : undefined);
    const any = [...chosen.filter((other) => other !== value), ...(on ? [value] : [])] as (string | number | boolean)[];
    setFilter(column, any.length ? { column, any } : undefined);
  };
  const shown = whole ? values : values.filter(({ value }, i) => i < FIRST || isOn(value));
  return (
    <fieldset class="facet">
      <legend>{title(column)}</legend>
      <ul>
        {shown.map(({ value, count }) => (
          <li key={String(value)}>
            <label>
              <input type="checkbox" checked={isOn(value)} onChange={(e) => toggle(value, e.currentTarget.checked)} />
              <span class="name">{value === null ? "missing" : said(column, value)}</span>
              <span class="n">{count.toLocaleString("en")}</span>
              <span class="share" aria-hidden="true" style={{ width: `${(100 * count) / most}%` }} />
            </label>
          </li>
        ))}
      </ul>
      {values.length > FIRST ? (
        <button type="button" class="plain" aria-expanded={whole} onClick={() => setWhole(!whole)}>
          {whole ? "Fewer" : `All ${values.length}`}
        </button>
      ) : null}
    </fieldset>
  );
}
