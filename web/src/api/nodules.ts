// The server's answers about nodules, and the columns of the index, each asked once.

import { signal } from "@preact/signals";
import { DataType, type Vector } from "apache-arrow";
import type { Filter } from "../state/selection";
import { get, getTable, post, postTable, Refusal } from "./client";

export type Value = string | number | boolean | null;
export type Row = Record<string, Value>;

export interface Column {
  name: string;
  type: "text" | "integer" | "number" | "flag";
  unit: string;
  meaning: string;
  missing: number;
  /** Distinct values where the column can be a facet. */
  values: Value[];
  low: number | null;
  high: number | null;
}
export interface Weight {
  name: string;
  column: string;
  weight: number;
  category: boolean;
}
export interface ColumnList {
  columns: Column[];
  shown: string[];
  similarity: Weight[];
}
export interface Facet {
  column: string;
  values: { value: Value; count: number }[];
}
export interface Histogram {
  column: string;
  unit: string;
  edges: number[];
  counts: number[];
  missing: number;
}
export interface Search {
  filters: Filter[];
  text: string;
  sort?: string;
  descending?: boolean;
  offset?: number;
  limit?: number;
  columns?: string[];
  facets?: string[];
  histograms?: string[];
  bins?: number;
}
export interface Found {
  total: number;
  rows: Row[];
  facets: Facet[];
  histograms: Histogram[];
}
export interface Near {
  row: Row;
  distance: number | null;
  score: number | null;
  scale: number | null;
  scale_ok: boolean | null;
  differences: { name: string; column: string; unit: string; difference: number | null }[];
  differs: string[];
}
export interface Nearest {
  candidates: number;
  nodules: Near[];
}
export interface Detail {
  values: Row;
  companions: Row[];
}

export const search = (asked: Search, signal?: AbortSignal) => post<Found>("/api/nodules/search", asked, signal);
export const detail = (uid: string, signal?: AbortSignal) => get<Detail>("/api/nodule", { uid }, signal);

/** Row numbers of the nodules that meet filters and text. */
export async function rowsOf(filters: Filter[], text: string, signal?: AbortSignal): Promise<Uint32Array> {
  const table = await postTable("/api/nodules/rows", { filters, text }, signal);
  return table.getChild("row")!.toArray() as Uint32Array;
}

export const columnList = signal<ColumnList | undefined>(undefined);
export const columnRefusal = signal("");
let asked = false;

/** Asks for the list of columns, once. */
export function openColumns(): void {
  if (asked) return;
  asked = true;
  get<ColumnList>("/api/nodules/columns").then(
    (list) => {
      columnList.value = list;
    },
    (error: unknown) => {
      asked = false;
      columnRefusal.value = error instanceof Refusal ? error.message : String(error);
    },
  );
}

export const columnOf = (name: string) => columnList.value?.columns.find((column) => column.name === name);

/** A column of all nodules in the order of nodule_uid; texts are decoded when they are asked for. */
export interface Values {
  length: number;
  at: (row: number) => Value | bigint;
  /** Of a column of few texts: `names[codes[row]]`; a code beyond the names: missing. */
  coded?: { codes: Uint32Array; names: string[] };
}

const kept = new Map<string, Promise<Values>>();

/** Asked once while the page is open. */
export function column(name: string): Promise<Values> {
  let found = kept.get(name);
  if (!found) {
    found = getTable("/api/nodules/column", { name }).then((table) => valuesOf(table.getChild("value")!));
    found.catch(() => kept.delete(name));
    kept.set(name, found);
  }
  return found;
}

function valuesOf(vector: Vector): Values {
  const values: Values = { length: vector.length, at: (row) => vector.get(row) as Value | bigint };
  if (!DataType.isDictionary(vector.type)) return values;
  const codes = new Uint32Array(vector.length);
  const names = (vector.data[0]?.dictionary?.toJSON() ?? []) as string[];
  let from = 0;
  for (const chunk of vector.data) {
    codes.set(chunk.values.subarray(0, chunk.length), from);
    if (chunk.nullCount) for (let i = 0; i < chunk.length; i++) if (!chunk.getValid(i)) codes[from + i] = names.length;
    from += chunk.length;
  }
  return { ...values, coded: { codes, names } };
}

/** Row of a nodule by its id, as rows are sorted by it; undefined: it is not there. */
export function rowOf(uids: Values, uid: string): number | undefined {
  let [low, high] = [0, uids.length - 1];
  while (low <= high) {
    const middle = (low + high) >> 1;
    const there = uids.at(middle) as string;
    if (there === uid) return middle;
    if (there < uid) low = middle + 1;
    else high = middle - 1;
  }
  return undefined;
}
