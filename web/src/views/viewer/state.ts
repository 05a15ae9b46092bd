// What the viewer shows, restored from the address: volumes, window, planes, place, overlays.
import { computed, signal } from "@preact/signals";
import { keep, params } from "../../state/route";
import { AXES, type Axis, type Of, type Point, WINDOWS, type WindowName } from "./volumes";

export type Layout = "all" | Axis | "render";
export const LAYOUTS: { name: Layout; title: string }[] = [
  { name: "all", title: "All planes" },
  { name: "axial", title: "Axial" },
  { name: "coronal", title: "Coronal" },
  { name: "sagittal", title: "Sagittal" },
  { name: "render", title: "3-D" },
];
export const MOST_PANES = 4;

export const uid = computed(() => params.value.get("uid") ?? "");
export const of = computed<Of>(() => (params.value.get("of") === "nodule" ? "nodule" : "case"));
export const panes = computed(() => (params.value.get("panes") ?? "").split(",").filter(Boolean).slice(0, MOST_PANES));
export const window_ = computed<WindowName>(() => {
  const asked = params.value.get("window") ?? "";
  return asked in WINDOWS ? (asked as WindowName) : "lung";
});
export const layout = computed<Layout>(() => {
  const asked = params.value.get("planes");
  return LAYOUTS.find(({ name }) => name === asked)?.name ?? "all";
});
/** The axis along which keys step. */
export const axis = computed<Axis>(() => (layout.value in AXES ? (layout.value as Axis) : "axial"));
export const masked = computed(() => params.value.get("mask") !== "no");
/** Reader whose marks are shown. */
export const marker = computed(() => params.value.get("marks") ?? "");
/** Pictures instead of WebGL, as the user asked. */
export const pictures = computed(() => params.value.get("draw") === "pictures");
export const asked = computed<Point | undefined>(() => {
  const at = (params.value.get("at") ?? "").split(",").map(Number);
  return at.length === 3 && at.every(Number.isFinite) && params.value.has("at") ? (at as Point) : undefined;
});

/** Where the crosshair stands, world mm (RAS); all panes share it. */
export const at = signal<Point>([0, 0, 0]);

let later: ReturnType<typeof setTimeout> | undefined;
/** Moves the crosshair; the address follows when it rests. */
export function moveTo(point: Point): void {
  at.value = point;
  clearTimeout(later);
  later = setTimeout(() => keep({ at: point.map((mm) => mm.toFixed(1)).join(",") }), 300);
}

export const setPane = (index: number, what: string) =>
  keep({ panes: panes.value.map((own, i) => (i === index ? what : own)).join(",") });

/** Whether this browser draws with WebGL2. */
export const webgl2 = (() => {
  try {
    return document.createElement("canvas").getContext("webgl2") !== null;
  } catch {
    return false;
  }
})();
