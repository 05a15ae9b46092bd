// A selection as a part of the address, and back. Marks that an address need not escape keep it short and readable:
// in.dataset=LUNA16*DLCS24  within.nodule_mean_diam_mm=6*15  has.patient_id=12  none.label=1  q=text
// Up to twelve single nodules stand by name (uids=...); more stand as gaps between row numbers (rows=...), with a check
// of their names, so that a link to an index that was made again is noticed.
import type { Params } from "./route";
import type { Filter } from "./selection";

export const MOST_BY_NAME = 12;
const KINDS = ["in", "within", "has", "none"] as const;

const escaped = (text: string) => text.replaceAll("%", "%25").replaceAll("*", "%2A");
const NUMBER = /^-?\d+(\.\d+)?(e[+-]?\d+)?$/;

function written(value: string | number | boolean): string {
  if (typeof value !== "string") return String(value);
  return NUMBER.test(value) || value === "true" || value === "false" || value.startsWith(".")
    ? `.${escaped(value)}`
    : escaped(value);
}

/** Undoes `escaped`; a stray % of a link written by hand stays. */
const plain = (text: string) => text.replaceAll("%2A", "*").replaceAll("%25", "%");

function read(text: string): string | number | boolean {
  if (text.startsWith(".")) return plain(text.slice(1));
  if (NUMBER.test(text)) return Number(text);
  return text === "true" ? true : text === "false" ? false : plain(text);
}

/** All filters but single nodules, and the text, as values of the address. */
export function paramsOf(filters: Filter[], text: string): Params {
  const out: Params = { q: text };
  for (const filter of filters) {
    if (!("column" in filter)) continue;
    if ("any" in filter) out[`in.${filter.column}`] = filter.any.map(written).join("*");
    else if ("contains" in filter) out[`has.${filter.column}`] = filter.contains;
    else if ("missing" in filter) out[`none.${filter.column}`] = filter.missing ? "1" : "0";
    else out[`within.${filter.column}`] = `${filter.low ?? ""}*${filter.high ?? ""}`;
  }
  return out;
}

/** Names of the values in an address that say filters; `paramsOf` writes them. */
export function filterNames(params: URLSearchParams): string[] {
  return [...params.keys()].filter((name) => KINDS.some((kind) => name.startsWith(`${kind}.`)));
}

/** The filters of an address, without single nodules; what cannot be read is left out. */
export function filtersOf(params: URLSearchParams): Filter[] {
  const found: Filter[] = [];
  for (const name of filterNames(params)) {
    const kind = name.slice(0, name.indexOf("."));
    const column = name.slice(kind.length + 1);
    const text = params.get(name) ?? "";
    if (kind === "in") found.push({ column, any: text.split("*").map(read) });
    else if (kind === "has") found.push({ column, contains: text });
    else if (kind === "none") found.push({ column, missing: text === "1" });
    else {
      const [low, high] = text.split("*").map((part) => (NUMBER.test(part) ? Number(part) : undefined));
      if (low === undefined && high === undefined) continue;
      found.push({ column, ...(low !== undefined && { low }), ...(high !== undefined && { high }) });
    }
  }
  return found;
}

/** Single nodules by name: `uids` of the address. */
export const namesOf = (uids: string[]) => uids.map(escaped).join("*");
export const namesFrom = (text: string) => text.split("*").map(plain);

/** A check of names: 32 bits of FNV-1a, base 36. */
export function checkOf(uids: Iterable<string>): string {
  let hash = 0x811c9dc5;
  for (const uid of uids)
    for (let i = 0; i <= uid.length; i++)
      hash = Math.imul(hash ^ (i < uid.length ? uid.charCodeAt(i) : 10), 0x01000193);
  return (hash >>> 0).toString(36);
}

/** Rising row numbers as gaps of 7 bits a byte, base64url. */
export function packed(rows: ArrayLike<number>): string {
  const bytes: number[] = [];
  let before = -1;
  for (let i = 0; i < rows.length; i++) {
    let gap = rows[i]! - before - 1;
    before = rows[i]!;
    while (gap > 127) {
      bytes.push((gap & 127) | 128);
      gap = Math.floor(gap / 128);
    }
    bytes.push(gap);
  }
  const text = bytes.map((byte) => String.fromCharCode(byte)).join("");
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export function unpacked(text: string): number[] {
  const rows: number[] = [];
  let before = -1;
  let gap = 0;
  let scale = 1;
  for (const letter of atob(text.replaceAll("-", "+").replaceAll("_", "/"))) {
    const byte = letter.charCodeAt(0);
    gap += (byte & 127) * scale;
    scale *= 128;
    if (byte < 128) {
      before += gap + 1;
      rows.push(before);
      gap = 0;
      scale = 1;
    }
  }
  return rows;
}
