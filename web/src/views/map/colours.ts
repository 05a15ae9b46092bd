// Colours of points: of categories (Okabe and Ito, with "other"), and of numbers (viridis, a scale that rises in
// lightness). As bytes for the picture and as text for the legend.

import type { Values } from "../../api/nodules";

/** Okabe and Ito 2008 without yellow and black, which vanish on a white or a dark ground. */
export const CATEGORIES = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"];
export const OTHER = "#8A94A3";
/** Nine steps of viridis (Smith, van der Walt and Firing, 2015). */
export const SCALE = [
  "#440154",
  "#472D7B",
  "#3B528B",
  "#2C728E",
  "#21918C",
  "#28AE80",
  "#5EC962",
  "#ADDC30",
  "#FDE725",
];

/** The steps that stand out from a light or a dark ground. */
export const scaleOn = (dark: boolean) => (dark ? SCALE.slice(2) : SCALE.slice(0, -1));

const parts = (hex: string) =>
  [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)) as [number, number, number];

/** Red, green, blue and opacity (0 to 255) as the number that `Dots` takes. */
export function inked(hex: string, opacity: number): number {
  const [r, g, b] = parts(hex);
  return ((opacity << 24) | (b << 16) | (g << 8) | r) >>> 0;
}

/** Colours of 64 steps between the least and the greatest value. */
export function steps(opacity: number, scale: readonly string[]): Uint32Array {
  return Uint32Array.from({ length: 64 }, (_, i) => {
    const at = (i / 63) * (scale.length - 1);
    const low = Math.min(Math.floor(at), scale.length - 2);
    const [from, to] = [parts(scale[low]!), parts(scale[low + 1]!)];
    const [r, g, b] = from.map((v, k) => Math.round(v + (to[k]! - v) * (at - low))) as [number, number, number];
    return ((opacity << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
}

export interface Key {
  label: string;
  colour: string;
  count: number;
}

export type Painted =
  | { kind: "categories"; keys: Key[]; codes: Uint8Array }
  | { kind: "numbers"; low: number; high: number; missing: number; values: Float64Array };

/** The most frequent values get a colour of their own, the rest and missing ones are "other". */
export function ofCategories(values: Values, named: (value: unknown) => string): Painted {
  const { codes, names } = values.coded ?? coded(values);
  const counts = new Uint32Array(names.length + 1);
  for (let i = 0; i < codes.length; i++) counts[codes[i]!]!++;
  const known = names.map((_, code) => code).filter((code) => counts[code]! > 0);
  const first = known.sort((a, b) => counts[b]! - counts[a]!).slice(0, CATEGORIES.length);
  const place = new Uint8Array(names.length + 1).fill(CATEGORIES.length);
  for (const [i, code] of first.entries()) place[code] = i;
  const drawn = new Uint8Array(codes.length);
  for (let i = 0; i < codes.length; i++) drawn[i] = place[codes[i]!]!;
  const keys = first.map((code, i) => ({ label: named(names[code]), colour: CATEGORIES[i]!, count: counts[code]! }));
  const rest = codes.length - first.reduce((sum, code) => sum + counts[code]!, 0);
  if (rest) keys.push({ label: known.length > first.length ? "other" : "missing", colour: OTHER, count: rest });
  return { kind: "categories", keys, codes: drawn };
}

/** Any values as codes; a missing one has the code beyond all names. */
function coded(values: Values): { codes: Uint32Array; names: unknown[] } {
  const places = new Map<unknown, number>();
  const codes = new Uint32Array(values.length);
  const missing: number[] = [];
  for (let i = 0; i < values.length; i++) {
    const value = values.at(i);
    if (value === null || value === undefined) missing.push(i);
    else {
      const place = places.get(value) ?? places.size;
      places.set(value, place);
      codes[i] = place;
    }
  }
  for (const i of missing) codes[i] = places.size;
  return { codes, names: [...places.keys()] };
}

/** The scale spans the middle 98 % of the values, so that a single far one does not flatten it. */
export function ofNumbers(given: Values): Painted {
  const values = new Float64Array(given.length);
  for (let i = 0; i < given.length; i++) {
    const value = given.at(i);
    values[i] = value === null ? Number.NaN : Number(value);
  }
  const known = values.filter((v) => Number.isFinite(v)).sort();
  const at = (share: number) => known[Math.min(known.length - 1, Math.floor(share * known.length))] ?? 0;
  return { kind: "numbers", low: at(0.01), high: at(0.99), missing: values.length - known.length, values };
}

/** Bytes for the picture; rows that are not chosen are faint, or not drawn. */
export function bytes(painted: Painted, chosen: Uint8Array | undefined, faint: number, dark: boolean): Uint32Array {
  const solid = 215;
  const n = painted.kind === "numbers" ? painted.values.length : painted.codes.length;
  const out = new Uint32Array(n);
  const pale = faint ? inked(OTHER, faint) : 0;
  const table =
    painted.kind === "numbers"
      ? steps(solid, scaleOn(dark))
      : Uint32Array.from([...CATEGORIES, OTHER].map((colour) => inked(colour, solid)));
  const other = inked(OTHER, solid);
  for (let i = 0; i < n; i++) {
    if (chosen && !chosen[i]) out[i] = pale;
    else if (painted.kind === "categories") out[i] = table[painted.codes[i]!]!;
    else {
      const share = (painted.values[i]! - painted.low) / Math.max(painted.high - painted.low, 1e-12);
      out[i] = Number.isNaN(share) ? other : table[Math.max(0, Math.min(63, Math.floor(share * 64)))]!;
    }
  }
  return out;
}
