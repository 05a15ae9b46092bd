// How columns and values are said to people.
import { columnOf, type Value } from "../api/nodules";

const TITLES: Record<string, string> = {
  nodule_uid: "Nodule",
  scan_uid: "Scan",
  person_uid: "Person",
  dataset: "Dataset",
  label: "Label",
  label_source: "Label from",
  population_type: "Population",
  size_bucket: "Size",
  reinsertion_lobe: "Lobe",
  reinsertion_lung_side: "Side",
  reinsertion_lung_zone: "Zone",
  reinsertion_nodule_diam_mm: "Diameter",
  reinsertion_pleural_dist_mm: "Distance to pleura",
  reinsertion_airway_dist_mm: "Distance to airway",
  reinsertion_lobe_cc_pct: "Height in lobe",
  reinsertion_lobe_ml_pct: "Width in lobe",
  reinsertion_lobe_ap_pct: "Depth in lobe",
  reinsertion_lung_cc_pct: "Height in lung",
  reinsertion_lung_ml_pct: "Width in lung",
  reinsertion_lung_ap_pct: "Depth in lung",
  nodule_mean_diam_mm: "Mean diameter",
  nodule_vol_mm3: "Volume",
  n_nodules_in_patient: "Nodules of the person",
  central_peripheral: "Central or peripheral",
};

/** A column's name for people, without its unit. */
export const title = (name: string) => TITLES[name] ?? sentence(name.replace(/_(mm3|mm|pct)$/, ""));

/** With its unit, as a heading. */
export function heading(name: string): string {
  const unit = columnOf(name)?.unit.replace("mm3", "mm³");
  return unit ? `${title(name)} (${unit})` : title(name);
}

function sentence(name: string): string {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** A value for people; a missing one is a dash. */
export function said(column: string, value: Value | bigint | undefined): string {
  if (value === null || value === undefined || (typeof value === "number" && Number.isNaN(value))) return "–";
  if (column === "label") return Number(value) === 1 ? "malignant" : "benign";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return number(value);
  const text = String(value);
  return /_(lobe|zone)$/.test(text) ? text.replaceAll("_", " ").replace("lung ", "") : text;
}

/** Three digits that say something, without exponent where it can be read. */
export function number(value: number): string {
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return value.toLocaleString("en", { maximumSignificantDigits: Math.abs(value) >= 100 ? 4 : 3 });
}

export const counted = (n: number, one: string) => `${n.toLocaleString("en")} ${one}${n === 1 ? "" : "s"}`;
