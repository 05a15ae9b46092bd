// Colours of points: of categories (Okabe and Ito, with "other"), and of numbers (viridis, a scale that rises in
// lightness). As bytes for the picture and as text for the legend.

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
export function ofCategories(values: ArrayLike<unknown>, named: (value: unknown) => string): Painted {
  const counts = new Map<unknown, number>();
  for (let i = 0; i < values.length; i++) counts.set(values[i], (counts.get(values[i]) ?? 0) + 1);
  const known = [...counts].filter(([value]) => value !== null && value !== undefined);
  const first = known.sort((a, b) => b[1] - a[1]).slice(0, CATEGORIES.length);
  const place = new Map(first.map(([value], i) => [value, i]));
  const codes = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i++) codes[i] = place.get(values[i]) ?? CATEGORIES.length;
  const keys = first.map(([value, count], i) => ({ label: named(value), colour: CATEGORIES[i]!, count }));
  const rest = values.length - first.reduce((sum, [, count]) => sum + count, 0);
  if (rest) keys.push({ label: known.length > first.length ? "other" : "missing", colour: OTHER, count: rest });
  return { kind: "categories", keys, codes };
}

/** The scale spans the middle 98 % of the values, so that a single far one does not flatten it. */
export function ofNumbers(values: ArrayLike<number | bigint | null>): Painted {
  const numbers = new Float64Array(values.length);
  for (let i = 0; i < values.length; i++) numbers[i] = values[i] === null ? Number.NaN : Number(values[i]);
  const known = numbers.filter((v) => Number.isFinite(v)).sort();
  const at = (share: number) => known[Math.min(known.length - 1, Math.floor(share * known.length))] ?? 0;
  return { kind: "numbers", low: at(0.01), high: at(0.99), missing: values.length - known.length, values: numbers };
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
