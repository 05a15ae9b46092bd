// Two pictures side by side: which is the synthetic one? A choice is forced.
import { useSignal } from "@preact/signals";
import { address } from "../../api/client";
import { Confidence } from "./confidence";
import type { State } from "./model";

export interface PairAnswer {
  synthetic: "left" | "right";
  confidence: number;
}

const SIDES = ["left", "right"] as const;

export function Pair({ now, busy, answer }: { now: State; busy: boolean; answer: (given: PairAnswer) => void }) {
  const synthetic = useSignal<"left" | "right" | undefined>(undefined);
  const confidence = useSignal<number | undefined>(undefined);
  const open = !synthetic.value || confidence.value === undefined;
  return (
    <form
      class="pair"
      onSubmit={(event) => {
        event.preventDefault();
        if (synthetic.value && confidence.value !== undefined)
          answer({ synthetic: synthetic.value, confidence: confidence.value });
      }}
    >
      <div class="sides">
        {SIDES.map((side, i) => {
          const { token, width, height } = now.pictures[i]!;
          return (
            <figure key={side}>
              <figcaption>{side}</figcaption>
              <div class="frame" style={{ aspectRatio: `${width} / ${height}`, "--ratio": width / height }}>
                <img
                  src={address("/api/reading/picture.png", { session: now.session, token })}
                  alt={`The ${side} slice`}
                />
              </div>
            </figure>
          );
        })}
      </div>
      <fieldset>
        <legend>Which is synthetic?</legend>
        <div class="row">
          {SIDES.map((side) => (
            <label key={side}>
              <input
                type="radio"
                name="synthetic"
                checked={synthetic.value === side}
                onChange={() => (synthetic.value = side)}
              />{" "}
              the {side} one
            </label>
          ))}
        </div>
      </fieldset>
      <Confidence value={confidence} />
      <button type="submit" class="primary" disabled={busy || open}>
        Next
      </button>
    </form>
  );
}
