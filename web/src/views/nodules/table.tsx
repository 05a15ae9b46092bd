// The nodules that were found: a table that sorts by its headings, page by page, with boxes to compare.
import type { Found, Row } from "../../api/nodules";
import { columnOf } from "../../api/nodules";
import { heading, said } from "../../parts/words";
import { compare, compared, MOST_COMPARED } from "../../state/selection";
import { descending, offset, PAGE, set, sort } from "./state";

export const isNumber = (name: string) => {
  const about = columnOf(name);
  return about ? (about.type === "number" || about.type === "integer") && name !== "label" : false;
};

export function NoduleTable({ found, columns }: { found: Found; columns: string[] }) {
  const last = Math.min(found.total, offset.value + found.rows.length);
  return (
    <>
      <div class="wide">
        <table class="nodules">
          <caption>
            Nodules {found.total ? offset.value + 1 : 0} to {last} of {found.total.toLocaleString("en")}
          </caption>
          <thead>
            <tr>
              <th scope="col">
                <span class="small">Compare</span>
              </th>
              {columns.map((name) => (
                <Heading key={name} name={name} />
              ))}
            </tr>
          </thead>
          <tbody>
            {found.rows.map((row) => (
              <NoduleRow key={String(row["nodule_uid"])} row={row} columns={columns} />
            ))}
          </tbody>
        </table>
      </div>
      <nav class="row pages" aria-label="Pages of the table">
        <button
          type="button"
          disabled={offset.value === 0}
          onClick={() => set({ from: String(Math.max(0, offset.value - PAGE)) })}
        >
          Previous
        </button>
        <button type="button" disabled={last >= found.total} onClick={() => set({ from: String(offset.value + PAGE) })}>
          Next
        </button>
        <span class="small">{PAGE} a page</span>
      </nav>
    </>
  );
}

function Heading({ name }: { name: string }) {
  const on = sort.value === name;
  const order = on ? (descending.value ? "descending" : "ascending") : "none";
  return (
    <th scope="col" class={isNumber(name) ? "n" : undefined} aria-sort={order}>
      <button
        type="button"
        class="sort"
        onClick={() => set({ sort: name, down: on && !descending.value ? "1" : undefined, from: undefined })}
      >
        {heading(name)} <span aria-hidden="true">{on ? (descending.value ? "↓" : "↑") : "↕"}</span>
      </button>
    </th>
  );
}

function NoduleRow({ row, columns }: { row: Row; columns: string[] }) {
  const uid = String(row["nodule_uid"]);
  const on = compared.value.includes(uid);
  return (
    <tr>
      <td>
        <input
          type="checkbox"
          aria-label={`Compare ${uid}`}
          checked={on}
          disabled={!on && compared.value.length >= MOST_COMPARED}
          onChange={(event) => compare(uid, event.currentTarget.checked)}
        />
      </td>
      {columns.map((name) =>
        name === "nodule_uid" ? (
          <th key={name} scope="row">
            <button type="button" class="plain" onClick={() => set({ uid })}>
              {uid}
            </button>
          </th>
        ) : (
          <td key={name} class={isNumber(name) ? "n" : undefined}>
            {said(name, row[name])}
          </td>
        ),
      )}
    </tr>
  );
}
