// What the trial maker is set to, as the address says it.
import { computed } from "@preact/signals";
import { keep, type Params, params } from "../../state/route";

export const base = computed(() => params.value.get("base") || "m02_size_detection_curve");
export const pool = computed(() => (params.value.get("pool") === "hosts" ? "hosts" : "donors"));
/** Cases of each arm; undefined: as in the base. */
export const cases = computed(() => {
  const n = Math.floor(Number(params.value.get("cases")));
  return n >= 1 ? n : undefined;
});
export const size = computed(() => params.value.get("size") ?? "");
export const name = computed(() => params.value.get("name") ?? "");
export const set = (values: Params) => keep(values);
