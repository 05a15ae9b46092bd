// How sure a reader is, 0 to 100; nothing is chosen beforehand, so that nobody is steered.
import type { Signal } from "@preact/signals";

export function Confidence({ value }: { value: Signal<number | undefined> }) {
  return (
    <fieldset>
      <legend>How sure are you?</legend>
      <label class="stack">
        <span>{value.value === undefined ? "not chosen yet" : `${value.value} of 100`}</span>
        <input
          type="range"
          min={0}
          max={100}
          step={5}
          value={value.value ?? 50}
          class={value.value === undefined ? "open" : ""}
          aria-label="How sure, 0 a guess, 100 certain"
          aria-valuetext={value.value === undefined ? "not chosen yet" : `${value.value} of 100`}
          onInput={(event) => (value.value = Number(event.currentTarget.value))}
          onPointerUp={(event) => (value.value = Number(event.currentTarget.value))}
          onKeyDown={(event) => {
            if (event.key === " ") value.value = Number(event.currentTarget.value);
          }}
        />
      </label>
      <div class="ends small">
        <span>0 a guess</span>
        <span>100 certain</span>
      </div>
    </fieldset>
  );
}
