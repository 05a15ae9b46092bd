// The server's answers about trials of a selection.
import type { Filter } from "../state/selection";
import { get, post } from "./client";

export interface BaseTrial {
  mode: string;
  question: string;
  planner: string;
  sizes: { size: string; arms: number; n_cases: number | null }[];
}
export interface Bases {
  trials: BaseTrial[];
  size: string;
  has_folder: boolean;
}
export interface Count {
  of: "donors" | "hosts";
  constraint: string;
  left: number;
  needed: number | null;
  binds: boolean;
}
export interface Arm {
  arm: string;
  wanted: number;
  feasible: number;
  is_enough: boolean;
  why: string;
  counts: Count[];
  relaxations: { name: string; cases: number; helps: boolean; price: string }[];
}
export interface Feasibility {
  is_enough: boolean;
  size: string;
  note: string;
  arms: Arm[];
}
export interface Drafted {
  nodules: number;
  scans: number;
  text: string;
  feasibility: Feasibility;
}
export interface TrialAsked {
  filters: Filter[];
  text: string;
  base: string;
  pool: "donors" | "hosts";
  size: string;
  n_cases?: number;
}

export const bases = (signal?: AbortSignal) => get<Bases>("/api/selection/bases", {}, signal);
export const draft = (asked: TrialAsked, signal?: AbortSignal) =>
  post<Drafted>("/api/selection/feasibility", asked, signal);
export const save = (asked: TrialAsked & { name: string; words: string[] }) =>
  post<{ mode: string; file: string; text: string }>("/api/selection/trial", asked);
export const listening = (port: number, signal?: AbortSignal) =>
  get<{ port: number; listening: boolean }>("/api/selection/ui", { port }, signal);
