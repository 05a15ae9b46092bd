// Nodules like one, with the weight of each feature as a slider; the published weights to begin with.
import { post } from "../../api/client";
import { columnList, type Nearest, type Weight } from "../../api/nodules";
import { useAsked } from "../../parts/asked";
import { Empty, Refused, Waiting } from "../../parts/notice";
import { NodulePicture } from "../../parts/picture";
import { Typed } from "../../parts/typed";
import { heading, title } from "../../parts/words";
import { params } from "../../state/route";
import { filters, text } from "../../state/selection";
import { NearTable } from "./near";
import { like, set } from "./state";

const MOST = 5;

/** Weights that differ from the published ones, as the address holds them: `w=lobe_cc.2*pleural.0`. */
function changed(query: URLSearchParams): Record<string, number> {
  const out: Record<string, number> = {};
  for (const part of (query.get("w") ?? "").split("*")) {
    const at = part.indexOf(".");
    const value = Number(part.slice(at + 1));
    if (at > 0 && value >= 0) out[part.slice(0, at)] = value;
  }
  return out;
}

export function Similar() {
  const query = params.value;
  const weights = changed(query);
  const samePerson = query.get("same") === "1";
  const k = Math.min(100, Math.max(1, Number(query.get("k")) || 10));
  const asked = useAsked((signal) => {
    const now = params.value;
    return like.value
      ? post<Nearest>(
          "/api/nodules/similar",
          {
            uid: like.value,
            k: Math.min(100, Math.max(1, Number(now.get("k")) || 10)),
            weights: changed(now),
            same_person: now.get("same") === "1",
            filters: filters.value,
            text: text.value,
          },
          signal,
        )
      : undefined;
  });
  const weigh = (one: Weight, value: number) => {
    const next = { ...weights, [one.name]: value };
    if (value === one.weight) delete next[one.name];
    set({
      w: Object.entries(next)
        .map(([name, v]) => `${name}.${v}`)
        .join("*"),
    });
  };
  return (
    <div class="columns left">
      <section aria-label="What is compared">
        <label class="field">
          Nodule
          <Typed type="text" placeholder="LUNA25/…" value={like.value} onTyped={(uid) => set({ like: uid.trim() })} />
        </label>
        <label class="field">
          How many
          <Typed type="number" min={1} max={100} value={k} onTyped={(many) => set({ k: many })} />
        </label>
        <label class="check">
          <input
            type="checkbox"
            checked={samePerson}
            onChange={(e) => set({ same: e.currentTarget.checked ? "1" : undefined })}
          />
          Nodules of the same person too
        </label>
        <h3>Weights</h3>
        <p class="small">
          Distance is the root of the sum of squares: weight times the difference in standard deviations; a category
          that differs adds its weight.
        </p>
        {columnList.value?.similarity.map((one) => (
          <label key={one.name} class="weight">
            <span>
              {title(one.column)}
              {one.category ? " differs" : ""}
            </span>
            <input
              type="range"
              min={0}
              max={MOST}
              step={0.1}
              aria-label={`Weight of ${heading(one.column)}`}
              value={weights[one.name] ?? one.weight}
              onInput={(event) => weigh(one, Number(event.currentTarget.value))}
            />
            <output>{(weights[one.name] ?? one.weight).toFixed(1)}</output>
          </label>
        ))}
        <button type="button" disabled={Object.keys(weights).length === 0} onClick={() => set({ w: undefined })}>
          Published weights
        </button>
      </section>
      <section aria-label="Similar nodules">
        <Refused message={asked.refusal.value} />
        {!like.value ? (
          <Empty>Type the id of a nodule, or choose one: open Search, tick nodules, then “Similar” in Compare.</Empty>
        ) : asked.answer.value ? (
          <>
            <NearTable found={asked.answer.value} caption={`Nodules like ${like.value}`} />
            <div class="reference">
              <NodulePicture key={like.value} uid={like.value} />
            </div>
          </>
        ) : asked.refusal.value ? null : (
          <Waiting what="similar nodules" />
        )}
      </section>
    </div>
  );
}
