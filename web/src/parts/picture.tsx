// A small picture of a nodule: the axial plane where it is largest, with its outline in red. Says in words when there is
// none.
import { useState } from "preact/hooks";
import { address, get } from "../api/client";
import { useAsked } from "./asked";

interface Volume {
  what: string;
  unit: string;
  mark: string;
  note: string;
  shape: number[] | null;
}

/** The volumes of a nodule, asked once while the page is open. */
const kept = new Map<string, Promise<Volume[]>>();
function volumesOf(uid: string): Promise<Volume[]> {
  const found = kept.get(uid) ?? get<Volume[]>("/api/volumes", { uid, of: "nodule" });
  kept.set(uid, found);
  found.catch(() => kept.delete(uid));
  return found;
}

export function NodulePicture({ uid }: { uid: string }) {
  const asked = useAsked(() => volumesOf(uid));
  const [broken, setBroken] = useState(false);
  if (asked.refusal.value) return <p class="small">No picture: {asked.refusal.value}</p>;
  const all = asked.answer.value;
  if (!all) return <div class="thumbnail waiting" role="status" aria-label="Loading the picture" />;
  const best = ["real_ct", "host"].map((what) => all.find((v) => v.what === what && v.shape)).find(Boolean);
  if (!best || broken) return <p class="small">No picture: this root holds no readable volume of the nodule.</p>;
  return (
    <figure class="thumbnail">
      <img
        src={address("/api/plane.png", {
          uid,
          of: "nodule",
          what: best.what,
          axis: "axial",
          window: "lung",
          mask: true,
        })}
        alt={`Axial plane through ${uid}, the nodule in red`}
        onError={() => setBroken(true)}
        loading="lazy"
      />
      <figcaption class="small">
        Axial, {best.what === "host" ? "organ map" : "CT, lung window"}. Patient's right is on the left.
      </figcaption>
    </figure>
  );
}
