// What the server says of the volumes of a case or nodule, and the arithmetic between world, voxels and pictures.

export type Of = "case" | "nodule";
export type Axis = "axial" | "coronal" | "sagittal";
export type Point = [number, number, number];

export interface VolumeEntry {
  /** ct, lesion_free, difference, host, mask, real_ct; of a further renderer with @<renderer>. */
  what: string;
  shape: Point | null;
  spacing: Point | null;
  /** World mm (RAS) of voxel 0. */
  origin: Point | null;
  unit: "HU" | "label";
  mark: string;
  note: string;
}

/** A nodule, or the place that guidance points at without one; world mm (RAS). */
export interface Place {
  name: string;
  x: number;
  y: number;
  z: number;
  diameter_mm: number | null;
  lobe: string | null;
  present: boolean;
}

export interface Mark {
  reader: string;
  what: string;
  number: number;
  x: number;
  y: number;
  z: number;
  diameter_mm: number | null;
  score: number;
}

export interface Marks {
  places: Place[];
  marks: Mark[];
  readers: string[];
}

/** HU that become black and white; the same numbers as `explorer/images/planes.py`. */
export const WINDOWS = {
  lung: { title: "Lung", low: -1350, high: 150 },
  mediastinum: { title: "Mediastinum", low: -160, high: 240 },
  bone: { title: "Bone", low: -500, high: 1300 },
  soft_tissue: { title: "Soft tissue", low: -125, high: 225 },
} as const;
export const DIFFERENCE = { low: -800, high: 800 };
export type WindowName = keyof typeof WINDOWS;

/** Of each axis its number, the axes along the picture's columns and rows, and the letters at its edges. */
export const AXES: Record<
  Axis,
  { axis: 0 | 1 | 2; across: 0 | 1; down: 1 | 2; sides: [string, string, string, string] }
> = {
  axial: { axis: 2, across: 0, down: 1, sides: ["R", "L", "A", "P"] },
  coronal: { axis: 1, across: 0, down: 2, sides: ["R", "L", "S", "I"] },
  sagittal: { axis: 0, across: 1, down: 2, sides: ["A", "P", "S", "I"] },
};

const NAMES: Record<string, string> = {
  ct: "Synthetic CT",
  lesion_free: "Lesion-free twin",
  difference: "Difference (CT minus twin)",
  host: "Organ map of the host",
  mask: "Mask of the nodules",
  real_ct: "Real CT of the host",
};

/** A volume's name as people read it. */
export function titleOf(what: string, of: Of): string {
  const [name, renderer] = what.split("@") as [string, string | undefined];
  const title = of === "nodule" && name === "real_ct" ? "Real CT" : (NAMES[name] ?? name);
  return renderer ? `${title} by ${renderer}` : title;
}

/** Marks that belong on a volume: those on it, or on organ map, mask and difference those of the CT they are of. */
export function marksOn(marks: Mark[], what: string, reader: string): Mark[] {
  const [name, renderer] = what.split("@") as [string, string | undefined];
  const image =
    name === "ct" || name === "lesion_free" || name === "real_ct" ? what : renderer ? `ct@${renderer}` : "ct";
  return marks.filter((mark) => mark.reader === reader && mark.what === image);
}

export const windowOf = (what: string, window: WindowName) =>
  what.startsWith("difference") ? DIFFERENCE : WINDOWS[window];

/** The voxel that holds a world point, within the volume. */
export function voxelOf(entry: VolumeEntry, at: Point): Point {
  const { shape, spacing, origin } = entry;
  if (!shape || !spacing || !origin) return [0, 0, 0];
  return at.map((mm, i) => Math.min(shape[i]! - 1, Math.max(0, Math.round((mm - origin[i]!) / spacing[i]!)))) as Point;
}

/** World mm of a voxel. */
export function worldOf(entry: VolumeEntry, voxel: Point): Point {
  const { spacing, origin } = entry;
  if (!spacing || !origin) return [0, 0, 0];
  return voxel.map((index, i) => origin[i]! + index * spacing[i]!) as Point;
}

export const middleOf = (entry: VolumeEntry): Point =>
  worldOf(entry, (entry.shape ?? [1, 1, 1]).map((n) => Math.floor((n - 1) / 2)) as Point);

/** Where a world point lies in a picture, as shares of its width and height: pictures are radiological. */
export function inPicture(entry: VolumeEntry, axis: Axis, at: Point): [number, number] {
  const { across, down } = AXES[axis];
  const share = (i: 0 | 1 | 2) => 1 - ((at[i] - entry.origin![i]) / entry.spacing![i] + 0.5) / entry.shape![i];
  return [share(across), share(down)];
}

/** The world point under a place in a picture; along the axis itself it stays where it was. */
export function fromPicture(entry: VolumeEntry, axis: Axis, x: number, y: number, at: Point): Point {
  const { across, down } = AXES[axis];
  const point: Point = [...at];
  for (const [i, share] of [
    [across, x],
    [down, y],
  ] as const)
    point[i] = entry.origin![i] + ((1 - share) * entry.shape![i] - 0.5) * entry.spacing![i];
  return worldOf(entry, voxelOf(entry, point)).map((mm, i) => (i === AXES[axis].axis ? at[i]! : mm)) as Point;
}

/** One voxel further along an axis of the volume. */
export function stepped(entry: VolumeEntry, at: Point, axis: 0 | 1 | 2, by: number): Point {
  const voxel = voxelOf(entry, at);
  voxel[axis] = Math.min((entry.shape?.[axis] ?? 1) - 1, Math.max(0, voxel[axis] + by));
  const moved = worldOf(entry, voxel);
  return at.map((mm, i) => (i === axis ? moved[i]! : mm)) as Point;
}

export const distance = (a: Point, b: Point) => Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);

/** Voxels that the first, coarser picture of a large volume has at most; ours. */
export const FIRST_VOXELS = 1.5e6;

/** Every how manieth voxel a first picture takes, so that it is small. */
export function firstStep(entry: VolumeEntry): number {
  const voxels = (entry.shape ?? [1, 1, 1]).reduce((a, b) => a * b, 1);
  return Math.max(1, Math.min(16, Math.ceil(Math.cbrt(voxels / FIRST_VOXELS))));
}
