// What the map shows, as the address says it.
import { computed } from "@preact/signals";
import { keep, type Params, params } from "../../state/route";

const value = (name: string, otherwise: string) => computed(() => params.value.get(name) || otherwise);

export const source = value("of", "nodules");
export const layout = value("layout", "PCA_2D");
export const featureSet = value("features", "reinsertion_core");
export const colourBy = value("colour", "dataset");
export const space = value("space", "weighted");
export const scope = value("scope", "all_datasets");
export const k = computed(() => Math.min(25, Math.max(1, Number(params.value.get("k")) || 5)));
/** The nodule whose detail is shown. */
export const picked = value("uid", "");
/** Others are faint; else they are not drawn. */
export const faint = computed(() => params.value.get("others") !== "hidden");

export const set = (values: Params) => keep(values);
