// What the server says of the data root, asked once.
import { signal } from "@preact/signals";
import { get, Refusal } from "../api/client";

export interface Root {
  name: string;
  version: string;
  /** Say in words what is simulated or procedural; empty for real data only. */
  marks: string[];
  /** In the index. */
  nodules: number;
  datasets: { name: string; nodules: number }[];
  /** Names of the tables that exist. */
  tables: string[];
}

export const root = signal<Root | undefined>(undefined);
export const rootRefusal = signal<string>("");

export async function openRoot(): Promise<void> {
  try {
    root.value = await get<Root>("/api/root");
  } catch (error) {
    rootRefusal.value = error instanceof Refusal ? error.message : String(error);
  }
}
