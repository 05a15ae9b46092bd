// A number of a report, as the server sends it, and how it is said.
import type { Table } from "apache-arrow";

export interface Metric {
  analysis: string;
  source: string;
  reader: string;
  task: string;
  condition: string;
  stratum: string;
  metric: string;
  estimate: number | null;
  low: number | null;
  high: number | null;
  method: string;
  k: number | null;
  n_slices: number | null;
  n_cases: number | null;
  n_hosts: number | null;
  n_unanswered: number | null;
  flag: string | null;
}

/** Rows of an Arrow table; whole numbers come as bigint and leave as number. */
export function metricsOf(table: Table): Metric[] {
  return table.toArray().map((row) => {
    const entries = Object.entries(row.toJSON() as Record<string, unknown>);
    return Object.fromEntries(entries.map(([k, v]) => [k, typeof v === "bigint" ? Number(v) : v])) as unknown as Metric;
  });
}

/** The factor of a stratum: `size_bucket=5-10mm` is of `size_bucket`; `all` is of `all`. */
export const factorOf = (stratum: string): string => stratum.split("=", 1)[0]!;
export const levelOf = (stratum: string): string => stratum.slice(factorOf(stratum).length + 1) || "all cases";
export const seriesOf = (m: Metric): string => `${m.reader}, ${m.source}`;

/** Levels in the order in which people count: by the first number in them, `<5` before `5`, else as text. */
export function inOrder(a: string, b: string): number {
  const number = (text: string) => {
    const found = /\d+(\.\d+)?/.exec(text);
    return found ? Number(found[0]) + (text.startsWith("<") ? -0.5 : text.startsWith(">") ? 0.5 : 0) : Number.NaN;
  };
  const difference = number(a) - number(b);
  return Number.isNaN(difference) || difference === 0 ? a.localeCompare(b) : difference;
}

const three = (value: number) => value.toFixed(3);
export const estimateText = (m: Metric): string => (m.estimate === null ? "none" : three(m.estimate));
export const limitsText = (m: Metric): string =>
  m.low === null || m.high === null ? "" : `${three(m.low)} to ${three(m.high)}`;

/** One sentence that says a number, for those who hear the figure. */
export function said(m: Metric): string {
  const limits = limitsText(m);
  return [
    `${levelOf(m.stratum)}, ${seriesOf(m)}: ${m.metric} ${estimateText(m)}`,
    limits ? `interval ${limits}` : "no interval",
    m.n_slices === null ? "" : `${m.n_slices} slices`,
    m.flag ?? "",
  ]
    .filter(Boolean)
    .join("; ");
}
