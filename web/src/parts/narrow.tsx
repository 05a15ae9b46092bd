// What narrows a selection down: open beside a wide page, closed above a narrow one, where the answer comes first.
import type { ComponentChildren } from "preact";

const WIDE = matchMedia("(min-width: 62rem)");

export function Narrow({ children }: { children: ComponentChildren }) {
  return (
    <details class="narrow" open={WIDE.matches}>
      <summary>Narrow down</summary>
      {children}
    </details>
  );
}
