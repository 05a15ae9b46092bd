// Make a trial: the selection becomes the donor pool or the host pool of a trial file; what is feasible is said at once.
import "../../parts/selection.css";
import "../nodules/nodules.css";
import "./trial.css";
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { Refusal } from "../../api/client";
import { openColumns } from "../../api/nodules";
import { type Bases, bases, draft, save, type TrialAsked } from "../../api/selection";
import { useAsked } from "../../parts/asked";
import { Copied } from "../../parts/copy";
import { Empty, Refused, Waiting } from "../../parts/notice";
import { inWords, SelectionBar } from "../../parts/selection";
import { counted } from "../../parts/words";
import { useLinkedSelection } from "../../state/linked";
import { root } from "../../state/root";
import { link } from "../../state/route";
import { filters, text } from "../../state/selection";
import { FeasibilityTable } from "./feasibility";
import { Saved } from "./saved";
import { base, cases, name, pool, set, size } from "./state";

/** Milliseconds without a change before feasibility is asked: ours. */
const PAUSE = 250;

const pause = (signal: AbortSignal) =>
  new Promise<void>((resolve, reject) => {
    const wait = setTimeout(resolve, PAUSE);
    signal.addEventListener("abort", () => {
      clearTimeout(wait);
      reject(new DOMException("a newer question", "AbortError"));
    });
  });

export default function View() {
  useEffect(openColumns, []);
  useLinkedSelection();
  const known = useAsked((signal) => bases(signal));
  const saved = useSignal<{ mode: string; file: string } | undefined>(undefined);
  const refusal = useSignal("");
  const asking = (all: Bases): TrialAsked => {
    const chosen = all.trials.find(({ mode }) => mode === base.value);
    return {
      filters: filters.value,
      text: text.value,
      base: base.value,
      pool: pool.value,
      size: size.value || all.size,
      ...(cases.value !== undefined && chosen?.planner !== "twin" && { n_cases: cases.value }),
    };
  };
  const drafted = useAsked((signal) => {
    const all = known.answer.value;
    if (!all) return undefined;
    const asked = asking(all);
    return pause(signal).then(() => draft(asked, signal));
  });
  const all = known.answer.value;
  const found = drafted.answer.value;
  const onSave = async () => {
    if (!all) return;
    refusal.value = "";
    saved.value = undefined;
    const words = [...filters.value.map(inWords), ...(text.value ? [`text: ${text.value}`] : [])];
    try {
      saved.value = await save({ ...asking(all), name: name.value, words });
    } catch (error) {
      refusal.value = error instanceof Refusal ? error.message : String(error);
    }
  };
  return (
    <>
      <SelectionBar total={found?.nodules} of={root.value?.nodules} />
      <p>
        The selection is made in <a href={link("nodules")}>Nodules</a> or on the <a href={link("map")}>Map</a>. Here it
        becomes all that a trial draws its donors or its hosts from; the rest of the trial stays as in the one it starts
        from.
      </p>
      <Refused message={known.refusal.value} />
      {all ? (
        <div class="columns left trial">
          <section aria-label="The trial">
            <Form all={all} />
            <label class="field">
              Name
              <input
                type="text"
                value={name.value}
                maxLength={38}
                placeholder="small letters, digits, _"
                aria-describedby="name-rule"
                onInput={(event) => set({ name: event.currentTarget.value.trim() })}
              />
              <span class="small" id="name-rule">
                Saved as x_{name.value || "name"}.yaml; no file is ever replaced.
              </span>
            </label>
            {all.has_folder ? null : (
              <p class="note">
                No folder for trial files is set. End the explorer, make one, and start it with{" "}
                <code>ITRIALSPACE_TRIALS_DIR=trials its explore</code>. Until then, copy the text below into a file.
              </p>
            )}
            <button
              type="button"
              class="primary"
              disabled={!all.has_folder || !/^[a-z0-9_]{1,38}$/.test(name.value) || !found}
              onClick={() => void onSave()}
            >
              Save the trial
            </button>
            <Refused message={refusal.value} />
          </section>
          <section aria-label="Feasibility" aria-busy={drafted.busy.value}>
            {saved.value ? <Saved {...saved.value} /> : null}
            <h2>What is feasible</h2>
            <Refused message={drafted.refusal.value} />
            {drafted.refusal.value ? null : found ? (
              <>
                <p class="small">
                  {counted(found.nodules, "nodule")} of {counted(found.scans, "scan")} selected
                  {pool.value === "hosts" ? "; the scans are the hosts." : "; the nodules are the donors."}
                  {drafted.busy.value ? " Counting again …" : ""}
                </p>
                <FeasibilityTable of={found} />
                <details class="more">
                  <summary>Text of the trial file</summary>
                  <Copied what="the trial file" text={found.text} tall />
                </details>
              </>
            ) : drafted.busy.value ? (
              <Waiting what="the counts" />
            ) : (
              <Empty>Nothing is counted yet.</Empty>
            )}
          </section>
        </div>
      ) : known.refusal.value ? null : (
        <Waiting what="the trials" />
      )}
    </>
  );
}

function Form({ all }: { all: Bases }) {
  const chosen = all.trials.find(({ mode }) => mode === base.value) ?? all.trials[0]!;
  const at = chosen.sizes.find((one) => one.size === (size.value || all.size)) ?? chosen.sizes[0]!;
  const isTwin = chosen.planner === "twin";
  return (
    <>
      <label class="field">
        Start from
        <select value={chosen.mode} onChange={(event) => set({ base: event.currentTarget.value })}>
          {all.trials.map(({ mode }) => (
            <option key={mode} value={mode}>
              {mode.replace(/^m0?(\d+)_/, "$1 ").replaceAll("_", " ")}
            </option>
          ))}
        </select>
      </label>
      <p class="small">{chosen.question}</p>
      <fieldset class="field">
        <legend>The selection becomes</legend>
        {(["donors", "hosts"] as const).map((one) => (
          <label key={one} class="check">
            <input type="radio" name="pool" checked={pool.value === one} onChange={() => set({ pool: one })} />
            {one === "donors" ? "the donors (nodules that are put in)" : "the hosts (scans that receive nodules)"}
          </label>
        ))}
      </fieldset>
      <label class="field">
        Size
        <select value={at.size} onChange={(event) => set({ size: event.currentTarget.value })}>
          {chosen.sizes.map((one) => (
            <option key={one.size} value={one.size}>
              {one.size}: {counted(one.arms, "arm")}
            </option>
          ))}
        </select>
      </label>
      <label class="field">
        Cases of each arm
        <input
          type="number"
          min={1}
          max={2000}
          disabled={isTwin}
          placeholder={at.n_cases === null ? "all available" : String(at.n_cases)}
          value={isTwin ? "" : (cases.value ?? "")}
          onInput={(event) => set({ cases: event.currentTarget.value })}
        />
        {isTwin ? <span class="small">A twin trial takes all that its pools hold.</span> : null}
      </label>
    </>
  );
}
