// Questions about one picture: presence and how sure, and of a nodule its lobe, its size and its place.
import { useSignal } from "@preact/signals";
import { address } from "../../api/client";
import { Confidence } from "./confidence";
import { Marking } from "./marking";
import { type CaseAnswer, LOBES, type Mark, SIZES, type State } from "./model";

export function Case({ now, busy, answer }: { now: State; busy: boolean; answer: (given: CaseAnswer) => void }) {
  const presence = useSignal<"present" | "absent" | undefined>(undefined);
  const confidence = useSignal<number | undefined>(undefined);
  const lobe = useSignal<string | undefined>(undefined);
  const size = useSignal<string | undefined>(undefined);
  const marks = useSignal<Mark[]>([]);
  const seen = presence.value === "present";
  const missing = [
    presence.value ? "" : "whether there is a nodule",
    confidence.value === undefined ? "how sure you are" : "",
    seen && now.tasks.includes("lobe") && !lobe.value ? "the lobe" : "",
    seen && now.tasks.includes("size") && !size.value ? "the size" : "",
  ].filter(Boolean);
  const picture = now.pictures[0]!;
  const source = address("/api/reading/picture.png", { session: now.session, token: picture.token });
  return (
    <div class="columns right reading">
      <Marking picture={picture} source={source} on={now.marks && seen} marks={marks} />
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (missing.length || !presence.value || confidence.value === undefined) return;
          answer({
            presence: presence.value,
            confidence: confidence.value,
            marks: seen && now.marks ? marks.value : [],
            ...(seen && lobe.value ? { lobe: lobe.value } : {}),
            ...(seen && size.value ? { size: size.value } : {}),
          });
        }}
      >
        <Choice
          name="presence"
          title="Is there a nodule?"
          known={[
            ["present", "Yes"],
            ["absent", "No"],
          ]}
          value={presence.value}
          choose={(value) => {
            presence.value = value as "present" | "absent";
          }}
        />
        <Confidence value={confidence} />
        {seen && now.tasks.includes("lobe") ? (
          <Choice name="lobe" title="Lobe" known={LOBES} value={lobe.value} choose={(value) => (lobe.value = value)} />
        ) : null}
        {seen && now.tasks.includes("size") ? (
          <Choice name="size" title="Size" known={SIZES} value={size.value} choose={(value) => (size.value = value)} />
        ) : null}
        <button type="submit" class="primary" disabled={busy || missing.length > 0}>
          Next
        </button>
        <p class="small" role="status">
          {missing.length ? `Still open: ${missing.join(", ")}.` : "The answer is not changed after Next."}
        </p>
      </form>
    </div>
  );
}

interface Choices {
  name: string;
  title: string;
  known: [string, string][];
  value: string | undefined;
  choose: (value: string) => void;
}

function Choice({ name, title, known, value, choose }: Choices) {
  return (
    <fieldset>
      <legend>{title}</legend>
      <div class="row">
        {known.map(([option, words]) => (
          <label key={option}>
            <input type="radio" name={name} value={option} checked={value === option} onChange={() => choose(option)} />{" "}
            {words}
          </label>
        ))}
      </div>
    </fieldset>
  );
}
