// A frame for a wide table: it scrolls within itself, also with the keyboard, so that the page itself never does.
import type { ComponentChildren } from "preact";

export function Wide({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: it is no form
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls with the arrow keys
    <div class="wide" role="group" aria-label={label} tabIndex={0}>
      {children}
    </div>
  );
}
