// A wide table that scrolls inside its own frame, by keyboard too, so that the page itself never does.
import type { ComponentChildren } from "preact";

export function Wide({ name, children, kind = "" }: { name: string; children: ComponentChildren; kind?: string }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: the arrow keys scroll what has the focus
    <section class={`wide ${kind}`} aria-label={`${name}, scrolls`} tabIndex={0}>
      {children}
    </section>
  );
}
