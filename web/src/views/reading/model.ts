// What the server says of a reading session, and what is sent back.
export interface Session {
  session: string;
  reader: string;
  kind: "cases" | "pairs";
  items: number;
  answered: number;
  started: string;
}
export interface Picture {
  token: string;
  width: number;
  height: number;
}
export interface State {
  session: string;
  reader: string;
  kind: "cases" | "pairs";
  tasks: string[];
  marks: boolean;
  items: number;
  answered: number;
  seconds: number;
  pictures: Picture[];
}
export interface Offer {
  splits: { split: string; lists: string[] }[];
  modes: string[];
  conditions: string[];
}
export interface Mark {
  x: number;
  y: number;
}
export interface CaseAnswer {
  presence: "present" | "absent";
  confidence: number;
  lobe?: string;
  size?: string;
  marks: Mark[];
}

export const LOBES: [string, string][] = [
  ["right_lung_upper_lobe", "right upper"],
  ["right_lung_middle_lobe", "right middle"],
  ["right_lung_lower_lobe", "right lower"],
  ["left_lung_upper_lobe", "left upper"],
  ["left_lung_lower_lobe", "left lower"],
];
export const SIZES: [string, string][] = [
  ["<5mm", "below 5 mm"],
  ["5-10mm", "5 to 10 mm"],
  ["10-20mm", "10 to 20 mm"],
  [">20mm", "above 20 mm"],
];

/** A mark moved by an arrow key; Shift takes ten pixels. Stays on the picture. */
export function moved(mark: Mark, key: string, far: boolean, width: number, height: number): Mark | undefined {
  const step = far ? 10 : 1;
  const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[key];
  if (!by) return undefined;
  const within = (value: number, most: number) => Math.min(Math.max(value, 0), most - 1);
  return { x: within(mark.x + by[0]!, width), y: within(mark.y + by[1]!, height) };
}
