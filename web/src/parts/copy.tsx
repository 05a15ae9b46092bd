// Text to copy: a command or a file, with a button beside it.
import { useSignal } from "@preact/signals";

export function Copied({ text, what, tall }: { text: string; what: string; tall?: boolean }) {
  const said = useSignal("");
  const copy = () => {
    navigator.clipboard.writeText(text).then(
      () => {
        said.value = "Copied.";
      },
      () => {
        said.value = "The browser does not allow it; select the text.";
      },
    );
  };
  return (
    <div class="copied">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: long text is scrolled by keyboard */}
      <pre class={tall ? "tall" : undefined} tabIndex={0}>
        {text}
      </pre>
      <button type="button" aria-label={`Copy ${what}`} onClick={copy}>
        Copy
      </button>
      <span class="small" role="status">
        {said.value}
      </span>
    </div>
  );
}
