// What the nodules show, as the address says it.
import { computed } from "@preact/signals";
import { keep, type Params, params } from "../../state/route";

export const PAGE = 50;
export type Task = "search" | "similar" | "match" | "compare";

const value = (name: string) => computed(() => params.value.get(name) ?? "");
export const task = computed(() => (params.value.get("task") ?? "search") as Task);
export const sort = computed(() => params.value.get("sort") || "nodule_uid");
export const descending = computed(() => params.value.get("down") === "1");
export const offset = computed(() => Math.max(0, Math.floor(Number(params.value.get("from")) || 0)));
/** The nodule that others are compared with. */
export const like = value("like");
export const set = (values: Params) => keep(values);
