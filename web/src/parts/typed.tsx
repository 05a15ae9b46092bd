// A field that people type into. What is typed stays while answers arrive and the page is drawn again; it counts when
// Enter is pressed or the field is left.
import { useState } from "preact/hooks";

interface Field {
  type: "text" | "number" | "url";
  value: string | number;
  /** Takes what was typed. */
  onTyped: (text: string) => void;
  min?: number;
  max?: number;
  step?: string;
  placeholder?: string;
  disabled?: boolean;
  "aria-label"?: string;
}

export function Typed({ value, onTyped, ...rest }: Field) {
  const [draft, setDraft] = useState<string | undefined>(undefined);
  return (
    <input
      {
        ...(rest as object) /* Preact has a type of its own for each kind of input */
      }
      value={draft ?? value}
      onInput={(event) => setDraft(event.currentTarget.value)}
      onChange={(event) => {
        setDraft(undefined);
        onTyped(event.currentTarget.value);
      }}
    />
  );
}
