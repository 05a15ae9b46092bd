// The viewer's keys: steps through planes, moves in a plane, chooses window and planes, goes to the next nodule.
import { keep } from "../../state/route";
import { at, axis, masked, moveTo } from "./state";
import { AXES, type Place, stepped, type VolumeEntry } from "./volumes";

export const KEYS: [string, string][] = [
  ["Page up, Page down", "next plane towards the head, the front or the patient's right, and back"],
  ["Arrows", "move the crosshair in the plane"],
  ["1 to 4", "window: lung, mediastinum, bone, soft tissue"],
  ["A, C, S, D, 0", "axial, coronal, sagittal, 3-D, all planes"],
  ["N", "next nodule"],
  ["M", "mask on or off"],
];

const WINDOW_KEYS = { "1": "lung", "2": "mediastinum", "3": "bone", "4": "soft_tissue" } as const;
const LAYOUT_KEYS = { a: "axial", c: "coronal", s: "sagittal", d: "render", "0": "all" } as const;

/** Goes to the next place; from any other point to the first. */
export function nextPlace(places: Place[]): void {
  if (!places.length) return;
  const now = places.findIndex(({ x, y, z }) => Math.hypot(x - at.value[0], y - at.value[1], z - at.value[2]) < 0.2);
  const next = places[(now + 1) % places.length]!;
  moveTo([next.x, next.y, next.z]);
}

/** Whether a key was one of the viewer's. */
export function pressed(event: KeyboardEvent, entry: VolumeEntry, places: Place[]): boolean {
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  const { axis: through, across, down } = AXES[axis.value];
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const steps: Record<string, [0 | 1 | 2, number]> = {
    PageUp: [through, 1],
    PageDown: [through, -1],
    ArrowLeft: [across, 1], // pictures are radiological: the patient's right, or front, is on their left
    ArrowRight: [across, -1],
    ArrowUp: [down, 1],
    ArrowDown: [down, -1],
  };
  const step = steps[key];
  if (step) moveTo(stepped(entry, at.value, ...step));
  else if (key in WINDOW_KEYS) keep({ window: WINDOW_KEYS[key as keyof typeof WINDOW_KEYS] });
  else if (key in LAYOUT_KEYS) keep({ planes: LAYOUT_KEYS[key as keyof typeof LAYOUT_KEYS] });
  else if (key === "m") keep({ mask: masked.value ? "no" : undefined });
  else if (key === "n") nextPlace(places);
  else return false;
  return true;
}
