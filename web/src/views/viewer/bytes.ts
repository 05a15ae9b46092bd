// Volumes as bytes of NIfTI files, asked for once by all panes that show them.
import { address, Refusal } from "../../api/client";
import { of, uid } from "./state";
import { firstStep, type VolumeEntry } from "./volumes";

const kept = new Map<string, Promise<ArrayBuffer>>();
/** Volumes whose bytes stay; ours. */
const MOST_KEPT = 6;

function bytes(what: string, step: number): Promise<ArrayBuffer> {
  const path = address("/api/volume", { uid: uid.value, of: of.value, what, step, packed: false });
  let found = kept.get(path);
  if (!found) {
    found = fetched(path);
    found.catch(() => kept.delete(path));
    kept.set(path, found);
    if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value!);
  }
  return found;
}

async function fetched(path: string): Promise<ArrayBuffer> {
  let response: Response;
  try {
    response = await fetch(path);
  } catch {
    throw new Refusal("The server does not answer. Is `its explore` still running?", 0);
  }
  if (response.ok) return response.arrayBuffer();
  const said = (await response.json().catch(() => ({}))) as { detail?: string };
  throw new Refusal(said.detail ?? `${response.status} ${response.statusText}`, response.status);
}

/** A coarse volume first where the whole is large, then the whole; each is given to `take` in turn. */
export async function inTurn(
  entry: VolumeEntry,
  take: (data: ArrayBuffer, isWhole: boolean) => Promise<void>,
): Promise<void> {
  const step = firstStep(entry);
  if (step > 1) await take((await bytes(entry.what, step)).slice(0), false);
  await take((await bytes(entry.what, 1)).slice(0), true);
}

export const whole = async (what: string): Promise<ArrayBuffer> => (await bytes(what, 1)).slice(0);
