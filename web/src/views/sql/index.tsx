// The SQL console: a statement or a ready question with its values, the dictionary, and the answer as a table.
import { useSignal } from "@preact/signals";
import { get, post, Refusal } from "../../api/client";
import { useAsked } from "../../parts/asked";
import { Refused, Waiting } from "../../parts/notice";
import { keep, params } from "../../state/route";
import { Answer, type Answered } from "./answer";
import { Dictionary, type DictionaryTable } from "./dictionary";
import "./sql.css";
import { Typed } from "../../parts/typed";

interface Question {
  name: string;
  asks: string;
  sql: string;
  values: { name: string; meaning: string; default: string | null }[];
}
interface Console {
  questions: Question[];
  tables: DictionaryTable[];
  most_rows: number;
  seconds: number;
}

const START =
  "SELECT analysis, reader, task, condition, metric, estimate, low, high, flag\nFROM metrics\nWHERE stratum = 'all' AND metric = 'auc'\nORDER BY ALL";

export default function View() {
  const known = useAsked((signal) => get<Console>("/api/sql/questions", {}, signal));
  if (known.refusal.value) return <Refused message={known.refusal.value} />;
  if (!known.answer.value) return <Waiting what="the questions" />;
  return <Desk known={known.answer.value} />;
}

function Desk({ known }: { known: Console }) {
  const question = known.questions.find((q) => q.name === params.value.get("question"));
  const sql = useSignal(params.value.get("sql") ?? question?.sql ?? START);
  const values = useSignal<Record<string, string>>({});
  const limit = useSignal(500);
  const answer = useSignal<Answered | undefined>(undefined);
  const refusal = useSignal("");
  const busy = useSignal(false);

  const choose = (name: string) => {
    const chosen = known.questions.find((q) => q.name === name);
    keep({ question: chosen?.name, sql: undefined });
    values.value = {};
    if (chosen) sql.value = chosen.sql;
  };
  const ask = async () => {
    if (busy.value) return;
    busy.value = true;
    refusal.value = "";
    keep({ sql: sql.value === question?.sql || sql.value.length > 4000 ? undefined : sql.value });
    const given = question?.values.filter((v) => sql.value.includes(`$${v.name}`)) ?? [];
    try {
      answer.value = await post<Answered>("/api/sql", {
        sql: sql.value,
        limit: limit.value,
        values: Object.fromEntries(given.map((v) => [v.name, values.value[v.name] ?? v.default ?? ""])),
      });
    } catch (error) {
      answer.value = undefined;
      refusal.value = error instanceof Refusal ? error.message : String(error);
    }
    busy.value = false;
  };
  return (
    <div class="columns right">
      <div>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void ask();
          }}
        >
          <label class="stack">
            Ready question
            <select value={question?.name ?? ""} onChange={(event) => choose(event.currentTarget.value)}>
              <option value="">none: my own SQL</option>
              {known.questions.map((q) => (
                <option key={q.name} value={q.name}>
                  {q.name}: {q.asks}
                </option>
              ))}
            </select>
          </label>
          {question?.values.length ? (
            <fieldset class="values">
              <legend>Values</legend>
              {question.values.map((v) => (
                <label key={v.name} class="stack">
                  <span>
                    ${v.name} <span class="small">{v.meaning}</span>
                  </span>
                  <input
                    value={values.value[v.name] ?? v.default ?? ""}
                    required
                    onInput={(event) => {
                      values.value = { ...values.value, [v.name]: event.currentTarget.value };
                    }}
                  />
                </label>
              ))}
            </fieldset>
          ) : null}
          <label class="stack">
            SQL (DuckDB)
            <textarea
              class="sql"
              rows={Math.min(18, Math.max(6, sql.value.split("\n").length + 1))}
              spellcheck={false}
              value={sql.value}
              onInput={(event) => {
                sql.value = event.currentTarget.value;
              }}
              onKeyDown={(event) => {
                if (event.key === "Enter" && (event.ctrlKey || event.metaKey))
                  event.currentTarget.form?.requestSubmit();
              }}
            />
          </label>
          <div class="row">
            <button type="submit" class="primary" disabled={busy.value}>
              {busy.value ? "Running …" : "Run (Ctrl+Enter)"}
            </button>
            <label>
              Rows at most{" "}
              <Typed
                type="number"
                min={1}
                max={known.most_rows}
                value={limit.value}
                onTyped={(rows) => {
                  limit.value = Math.min(known.most_rows, Math.max(1, Number(rows) || 1));
                }}
              />
            </label>
            <span class="small">
              One SELECT over the catalog, at most {known.seconds} s. Nothing can be changed and no file can be read.
            </span>
          </div>
        </form>
        <Refused message={refusal.value} />
        <div aria-live="polite">
          {answer.value ? <Answer answer={answer.value} name={question?.name ?? "answer"} /> : null}
        </div>
      </div>
      <Dictionary
        tables={known.tables}
        insert={(name) => {
          sql.value = `${sql.value.trimEnd()} ${name}`;
        }}
      />
    </div>
  );
}
