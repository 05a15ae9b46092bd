// The nodules that are chosen now: filters, and uids where single nodules or a lasso were taken. All views share it.
import { computed, signal } from "@preact/signals";

/** One condition of a search; all conditions must hold. The server's model is `explorer/search`. */
export type Filter =
  | { column: string; any: (string | number | boolean)[] }
  | { column: string; low?: number; high?: number }
  | { column: string; contains: string }
  | { column: string; missing: boolean }
  | { uids: string[] };

export const filters = signal<Filter[]>([]);
export const text = signal("");
/** Nodules put side by side, at most six. */
export const compared = signal<string[]>([]);
export const MOST_COMPARED = 6;

export const filterOf = (column: string) =>
  computed(() => filters.value.find((f) => "column" in f && f.column === column));

/** Puts a filter in the place of the one on the same column; undefined removes it. */
export function setFilter(column: string, filter: Filter | undefined): void {
  const others = filters.value.filter((f) => !("column" in f) || f.column !== column);
  filters.value = filter ? [...others, filter] : others;
}

/** Restricts to these nodules; undefined removes the restriction. */
export function setUids(uids: string[] | undefined): void {
  const others = filters.value.filter((f) => "column" in f);
  filters.value = uids ? [...others, { uids }] : others;
}

export function clear(): void {
  filters.value = [];
  text.value = "";
}

export function compare(uid: string, on: boolean): void {
  const others = compared.value.filter((other) => other !== uid);
  compared.value = on ? [...others, uid].slice(-MOST_COMPARED) : others;
}
