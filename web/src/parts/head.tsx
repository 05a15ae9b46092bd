// The head of a table: one cell for each column. A column of numbers, `{ n: title }`, stands on the right.
export type Column = string | { n: string };

export function Head({ columns }: { columns: readonly Column[] }) {
  return (
    <thead>
      <tr>
        {columns.map((column) =>
          typeof column === "string" ? (
            <th key={column} scope="col">
              {column}
            </th>
          ) : (
            <th key={column.n} scope="col" class="n">
              {column.n}
            </th>
          ),
        )}
      </tr>
    </thead>
  );
}
