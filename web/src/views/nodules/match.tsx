// Donors for a place in a lung: what is wanted, how far off each may be, and the donors that suit, best first.
import { post } from "../../api/client";
import type { Nearest } from "../../api/nodules";
import { useAsked } from "../../parts/asked";
import { Refused, Waiting } from "../../parts/notice";
import { Typed } from "../../parts/typed";
import { params } from "../../state/route";
import { filters, text } from "../../state/selection";
import { NearTable } from "./near";
import { set } from "./state";

const LOBES = [
  ["RUL", "right upper lobe"],
  ["RML", "right middle lobe"],
  ["RLL", "right lower lobe"],
  ["LUL", "left upper lobe"],
  ["LLL", "left lower lobe"],
] as const;
const WANTED = [
  { key: "cc", body: "cc_pct", tolerance: "cc_tolerance_pct", words: "Height in lobe", unit: "% from below" },
  { key: "pleural", body: "pleural_mm", tolerance: "pleural_tolerance_mm", words: "Distance to pleura", unit: "mm" },
  { key: "diameter", body: "diameter_mm", tolerance: "diameter_tolerance_mm", words: "Diameter", unit: "mm" },
] as const;

const numberIn = (query: URLSearchParams, name: string) => {
  const value = query.get(name);
  return value === null || value === "" || Number.isNaN(Number(value)) ? undefined : Number(value);
};

/** What is asked, as the server's model names it. */
export function wanted(query: URLSearchParams): Record<string, unknown> {
  const out: Record<string, unknown> = {
    lobe: query.get("lobe") || "RUL",
    same_lobe: query.get("same_lobe") === "1",
    k: Math.min(100, Math.max(1, numberIn(query, "k") ?? 10)),
  };
  for (const { key, body, tolerance } of WANTED) {
    const value = numberIn(query, key);
    if (value === undefined) continue;
    out[body] = value;
    const most = numberIn(query, `${key}_off`);
    if (most !== undefined) out[tolerance] = most;
  }
  if (query.get("wants")) out["label"] = Number(query.get("wants"));
  if (query.get("host")) out["host"] = query.get("host");
  return out;
}

export function Match() {
  const query = params.value;
  const asked = useAsked((signal) =>
    post<Nearest>("/api/nodules/match", { ...wanted(params.value), filters: filters.value, text: text.value }, signal),
  );
  const field = (name: string, label: string, unit: string, disabled = false) => (
    <Typed
      type="number"
      step="any"
      min={0}
      aria-label={label}
      placeholder={disabled ? "" : unit}
      disabled={disabled}
      value={query.get(name) ?? ""}
      onTyped={(value) => set({ [name]: value })}
    />
  );
  return (
    <div class="columns left">
      <section aria-label="The place">
        <label class="field">
          Lobe
          <select value={query.get("lobe") || "RUL"} onChange={(event) => set({ lobe: event.currentTarget.value })}>
            {LOBES.map(([key, words]) => (
              <option key={key} value={key}>
                {words}
              </option>
            ))}
          </select>
        </label>
        <label class="check">
          <input
            type="checkbox"
            checked={query.get("same_lobe") === "1"}
            onChange={(e) => set({ same_lobe: e.currentTarget.checked ? "1" : undefined })}
          />
          Only donors of this lobe
        </label>
        <fieldset class="wanted">
          <legend>Wanted, and at most how far off</legend>
          {WANTED.map(({ key, words, unit }) => (
            <div key={key}>
              <span>
                {words} <span class="small">({unit})</span>
              </span>
              {field(key, `${words} in ${unit}`, "any")}
              <span aria-hidden="true">±</span>
              {field(`${key}_off`, `${words}: tolerance in ${unit}`, "any", !query.get(key))}
            </div>
          ))}
        </fieldset>
        <label class="field">
          Label
          <select value={query.get("wants") ?? ""} onChange={(event) => set({ wants: event.currentTarget.value })}>
            <option value="">any</option>
            <option value="1">malignant</option>
            <option value="0">benign</option>
          </select>
        </label>
        <label class="field">
          Host scan
          <Typed
            type="text"
            placeholder="leaves its own person out"
            value={query.get("host") ?? ""}
            onTyped={(host) => set({ host: host.trim() })}
          />
        </label>
        <label class="field">
          How many
          <Typed type="number" min={1} max={100} value={query.get("k") ?? 10} onTyped={(k) => set({ k })} />
        </label>
      </section>
      <section aria-label="Donors">
        <Refused message={asked.refusal.value} />
        {asked.answer.value ? (
          <NearTable found={asked.answer.value} caption="Donors, best first" />
        ) : asked.refusal.value ? null : (
          <Waiting what="donors" />
        )}
        <p class="small">
          The score is that of the published matcher: 5 for another lobe, then the differences in height, distance to
          the pleura and diameter; lower is better. A donor may be scaled by 1/1.5 to 1.5.
        </p>
      </section>
    </div>
  );
}
