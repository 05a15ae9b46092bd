// The form that begins a session: who reads, what, and what is asked.
import { useSignal } from "@preact/signals";
import type { Offer } from "./model";

const NAME = "[a-z0-9_]{1,30}";

export function Begin({ offer, begin }: { offer: Offer; begin: (asked: unknown) => void }) {
  const kind = useSignal<"cases" | "pairs">("cases");
  const from = useSignal<"modes" | "split">(offer.splits.length ? "split" : "modes");
  const submit = (form: HTMLFormElement) => {
    const data = new FormData(form);
    const text = (name: string) => String(data.get(name) ?? "");
    const all = (name: string) => data.getAll(name).map(String);
    const pairs = kind.value === "pairs";
    const split = !pairs && from.value === "split";
    begin({
      reader: text("reader"),
      kind: kind.value,
      ...(split
        ? { split: text("split"), lists: all("lists") }
        : { modes: all("modes"), cases: Number(text("cases")) }),
      condition: text("condition"),
      tasks: pairs ? [] : all("tasks"),
      marks: !pairs && data.has("marks"),
      seed: Number(text("seed")),
    });
  };
  const pairs = kind.value === "pairs";
  const split = !pairs && from.value === "split";
  return (
    <form
      class="begin"
      onSubmit={(event) => {
        event.preventDefault();
        submit(event.currentTarget);
      }}
    >
      <label class="stack">
        <span>
          Name of the reader <span class="small">small letters, digits, _</span>
        </span>
        <input name="reader" required pattern={NAME} maxLength={30} autocomplete="off" />
      </label>
      <fieldset>
        <legend>What is asked</legend>
        <label class="line">
          <input type="radio" name="kind" checked={!pairs} onChange={() => (kind.value = "cases")} /> Is there a nodule?
        </label>
        <label class="line">
          <input type="radio" name="kind" checked={pairs} onChange={() => (kind.value = "pairs")} /> Which of two is
          synthetic?
        </label>
        {pairs ? null : (
          <div class="row">
            <label>
              <input type="checkbox" name="tasks" value="lobe" checked /> lobe
            </label>
            <label>
              <input type="checkbox" name="tasks" value="size" checked /> size
            </label>
            <label>
              <input type="checkbox" name="marks" checked /> marks
            </label>
          </div>
        )}
      </fieldset>
      <fieldset>
        <legend>Pictures</legend>
        {pairs || !offer.splits.length ? null : (
          <div class="row">
            <label>
              <input type="radio" name="from" checked={split} onChange={() => (from.value = "split")} /> a frozen split
            </label>
            <label>
              <input type="radio" name="from" checked={!split} onChange={() => (from.value = "modes")} /> cases drawn
              from modes
            </label>
          </div>
        )}
        {split ? <Splits offer={offer} /> : <Modes offer={offer} pairs={pairs} />}
        <label class="stack">
          Guidance
          <select name="condition">
            {offer.conditions.map((condition) => (
              <option key={condition}>{condition}</option>
            ))}
          </select>
        </label>
        <label class="stack">
          <span>
            Seed <span class="small">the same seed shows the same, in the same order</span>
          </span>
          <input name="seed" type="number" min={0} step={1} value={42} required />
        </label>
      </fieldset>
      <button type="submit" class="primary">
        Begin
      </button>
    </form>
  );
}

function Splits({ offer }: { offer: Offer }) {
  const chosen = useSignal(offer.splits[0]!.split);
  const lists = offer.splits.find((s) => s.split === chosen.value)?.lists ?? [];
  return (
    <>
      <label class="stack">
        Split
        <select name="split" value={chosen.value} onChange={(event) => (chosen.value = event.currentTarget.value)}>
          {offer.splits.map((s) => (
            <option key={s.split}>{s.split}</option>
          ))}
        </select>
      </label>
      <label class="stack">
        <span>
          Lists <span class="small">none chosen: all</span>
        </span>
        <select name="lists" multiple size={Math.min(6, lists.length)}>
          {lists.map((list) => (
            <option key={list}>{list}</option>
          ))}
        </select>
      </label>
    </>
  );
}

function Modes({ offer, pairs }: { offer: Offer; pairs: boolean }) {
  const modes = pairs ? offer.modes.filter((m) => m !== "real") : offer.modes;
  return (
    <>
      <label class="stack">
        <span>
          {pairs ? "Modes of the synthetic ones" : "Modes"} <span class="small">{pairs ? "none chosen: all" : ""}</span>
        </span>
        <select name="modes" multiple size={Math.min(6, modes.length)} required={!pairs}>
          {modes.map((mode) => (
            <option key={mode}>{mode}</option>
          ))}
        </select>
      </label>
      <label class="stack">
        {pairs ? "Pairs" : "Cases"}
        <input name="cases" type="number" min={1} max={2000} value={20} required />
      </label>
    </>
  );
}
