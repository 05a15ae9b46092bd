// The rows of an answer as a table, and as a CSV file that the browser makes.
import { Wide } from "../../parts/wide";
import { csv } from "./csv";

export interface Answered {
  columns: { name: string; type: string }[];
  rows: (string | number | boolean | null)[][];
  more: boolean;
}

const NUMBER = /^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|UINTEGER|DOUBLE|FLOAT|DECIMAL.*)$/;
const shown = (value: string | number | boolean | null) =>
  value === null
    ? ""
    : typeof value === "number" && !Number.isInteger(value)
      ? Number(value.toPrecision(6))
      : String(value);

export function Answer({ answer, name }: { answer: Answered; name: string }) {
  const numeric = answer.columns.map((column) => NUMBER.test(column.type));
  const save = () => {
    const link = document.createElement("a");
    const rows = [answer.columns.map((column) => column.name), ...answer.rows];
    link.href = URL.createObjectURL(new Blob([csv(rows)], { type: "text/csv" }));
    link.download = `${name}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  };
  return (
    <section>
      <div class="row">
        <h2>Answer</h2>
        <button type="button" onClick={save}>
          Save as CSV
        </button>
      </div>
      <Wide name="Answer" kind="answer">
        <table>
          <caption>
            {answer.rows.length} row{answer.rows.length === 1 ? "" : "s"}
            {answer.more ? ", there are more: raise the limit or ask for less" : ""}
          </caption>
          <thead>
            <tr>
              {answer.columns.map((column, i) => (
                <th key={i} scope="col" class={numeric[i] ? "n" : ""} title={column.type}>
                  {column.name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {answer.rows.map((row, r) => (
              <tr key={r}>
                {row.map((value, i) => (
                  <td key={i} class={numeric[i] ? "n" : ""}>
                    {shown(value)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </Wide>
    </section>
  );
}
