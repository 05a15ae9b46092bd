// The server's answers about maps: layouts, points, neighbours of a nodule, slices with a reader's answers.
import type { Table } from "apache-arrow";
import { get, getTable } from "./client";

export interface Layout {
  feature_set: string;
  name: string;
  dims: number;
  ready: boolean;
  /** What to do where it is not ready. */
  why: string;
}
export interface Maps {
  nodules: number;
  layouts: Layout[];
  spaces: string[];
  scopes: string[];
  edge_k: number[];
  slices: { source: string; reader: string; modes: string[] }[];
  tasks: string[];
  conditions: string[];
  outcomes: string[];
}
export interface Neighbour {
  uid: string;
  rank: number;
  distance: number;
  similarity: number;
  dataset: string;
  label: number | null;
  lobe: string;
  diameter_mm: number | null;
}
export interface Neighbours {
  uid: string;
  space: string;
  metric: string;
  columns: number;
  neighbours: Neighbour[];
}
export interface Points {
  x: Float32Array;
  y: Float32Array;
}

export const maps = (signal?: AbortSignal) => get<Maps>("/api/maps", {}, signal);

export async function points(name: string, feature_set: string, signal?: AbortSignal): Promise<Points> {
  const table = await getTable("/api/map", { name, feature_set }, signal);
  return { x: table.getChild("x")!.toArray() as Float32Array, y: table.getChild("y")!.toArray() as Float32Array };
}

export const neighbours = (
  asked: { uid: string; k: number; space: string; scope: string; feature_set: string },
  signal?: AbortSignal,
) => get<Neighbours>("/api/map/neighbours", asked, signal);

/** Points of slices: x, y, outcome, score, what each shows, slice_uid, case_uid. */
export const slices = (
  asked: { source: string; reader: string; task: string; condition: string },
  signal?: AbortSignal,
): Promise<Table> => getTable("/api/slices/map", asked, signal);
