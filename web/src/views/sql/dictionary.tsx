// Tables and views of the catalog with their columns; a button puts a name into the statement.
import { useSignal } from "@preact/signals";

export interface DictionaryTable {
  name: string;
  view: boolean;
  meaning: string;
  columns: { name: string; type: string; unit: string; meaning: string }[];
}

export function Dictionary({ tables, insert }: { tables: DictionaryTable[]; insert: (name: string) => void }) {
  const sought = useSignal("");
  const words = sought.value.toLowerCase();
  const has = (t: DictionaryTable) =>
    !words || [t.name, t.meaning, ...t.columns.map((c) => c.name)].some((text) => text.toLowerCase().includes(words));
  const found = tables.filter(has);
  return (
    <aside aria-label="Tables and columns" class="dictionary">
      <h2>Tables and columns</h2>
      <label class="stack">
        Find
        <input type="search" value={sought.value} onInput={(event) => (sought.value = event.currentTarget.value)} />
      </label>
      {found.length ? null : <p class="empty">No table or column of this name.</p>}
      {found.map((table) => (
        <details key={table.name}>
          <summary>
            <code>{table.name}</code>
            {table.view ? <span class="small"> view</span> : null}
          </summary>
          <p class="small">{table.meaning}</p>
          <button type="button" onClick={() => insert(table.name)}>
            Insert {table.name}
          </button>
          <ul>
            {table.columns.map((column) => (
              <li key={column.name}>
                <button
                  type="button"
                  class="plain"
                  onClick={() => insert(column.name)}
                  aria-label={`Insert ${column.name}`}
                >
                  <code>{column.name}</code>
                </button>{" "}
                <span class="small">
                  {column.unit ? `${column.unit}. ` : ""}
                  {column.meaning}
                </span>
              </li>
            ))}
          </ul>
        </details>
      ))}
    </aside>
  );
}
