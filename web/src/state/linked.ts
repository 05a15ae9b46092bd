// Keeps the selection and the address the same, both ways, while a view that shows the selection is open.
import { signal, useSignalEffect } from "@preact/signals";
import { column } from "../api/nodules";
import { checkOf, filterNames, filtersOf, MOST_BY_NAME, namesFrom, namesOf, packed, paramsOf, unpacked } from "./link";
import { keep, type Params, params } from "./route";
import { type Filter, filters, setUids, text } from "./selection";

/** What a link could not restore, in words. */
export const linkRefusal = signal("");

const given = (query: URLSearchParams) =>
  [...filterNames(query).sort(), "q", "uids", "rows"].map((name) => `${name}=${query.get(name) ?? ""}`).join("&");
const NOTHING = given(new URLSearchParams());

/** What the address said of the selection when the two were the same. */
let settled = NOTHING;
/** Ids and row numbers are found late: only the newest question counts. */
let turn = 0;
/** A link's single nodules are being looked up: the address stays as it is. */
let restoring = false;

async function write(all: Filter[], words: string): Promise<void> {
  if (restoring) return;
  const mine = ++turn;
  const values: Params = { q: undefined, uids: undefined, rows: undefined };
  for (const name of filterNames(params.peek())) values[name] = undefined;
  Object.assign(values, paramsOf(all, words));
  const uids = all.find((filter) => "uids" in filter)?.uids;
  if (uids && uids.length <= MOST_BY_NAME) values["uids"] = namesOf(uids);
  else if (uids) values["rows"] = await rowsText(uids);
  if (mine !== turn) return;
  keep(values);
  settled = given(params.peek());
}

async function rowsText(uids: string[]): Promise<string> {
  const all = await column("nodule_uid");
  const wanted = new Set(uids);
  const rows: number[] = [];
  for (let i = 0; i < all.length; i++) if (wanted.has(all.at(i) as string)) rows.push(i);
  return `${checkOf(rows.map((row) => all.at(row) as string))}.${packed(rows)}`;
}

async function read(query: URLSearchParams): Promise<void> {
  const mine = ++turn;
  settled = given(query);
  linkRefusal.value = "";
  const names = query.get("uids");
  const rows = query.get("rows");
  restoring = rows !== null;
  filters.value = [...filtersOf(query), ...(names ? [{ uids: namesFrom(names) }] : [])];
  text.value = query.get("q") ?? "";
  if (rows === null) return;
  const uids = await uidsOf(rows).catch(() => undefined);
  if (mine !== turn) return;
  restoring = false;
  if (uids) setUids(uids);
  else {
    linkRefusal.value = "The link names single nodules of another version of the index. The rest of it is restored.";
    void write(filters.peek(), text.peek());
  }
}

/** The nodules that `rows` of a link names; undefined: they are not those of this index. */
async function uidsOf(rows: string): Promise<string[] | undefined> {
  const [check = "", data = ""] = rows.split(".", 2);
  const all = await column("nodule_uid");
  const uids = unpacked(data).map((row) => (row < all.length ? (all.at(row) as string) : ""));
  return uids.length && checkOf(uids) === check ? uids : undefined;
}

/** In a view that shows the selection: a link restores it, and every change of it comes into the address. */
export function useLinkedSelection(): void {
  useSignalEffect(() => {
    const query = params.value;
    const now = given(query);
    if (now === settled) return;
    if (now === NOTHING) void write(filters.peek(), text.peek());
    else void read(query);
  });
  useSignalEffect(() => void write(filters.value, text.value));
}
