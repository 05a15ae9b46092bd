// After the file is written: the commands that run it, and the way into the Dagster UI.
import { listening } from "../../api/selection";
import { useAsked } from "../../parts/asked";
import { Copied } from "../../parts/copy";
import { Typed } from "../../parts/typed";
import { params } from "../../state/route";
import { set } from "./state";

export const PORT = 3000;

/** Address of the asset in the Dagster UI, opened at the trial's partition. */
export const assetAddress = (ui: string, mode: string) =>
  `${ui.replace(/\/+$/, "")}/assets/cohort_manifests?view=partitions&partition=${encodeURIComponent(mode)}`;

/** The UI's own port where it is on the computer that the explorer runs on; undefined: elsewhere. */
export function portOf(ui: string): number | undefined {
  try {
    const url = new URL(ui);
    const here = ["127.0.0.1", "localhost", location.hostname].includes(url.hostname);
    return here ? Number(url.port) || undefined : undefined;
  } catch {
    return undefined;
  }
}

export function Saved({ mode, file }: { mode: string; file: string }) {
  const ui = params.value.get("ui") || `http://${location.hostname || "127.0.0.1"}:${PORT}`;
  const port = portOf(ui);
  const asked = useAsked((signal) => {
    const at = portOf(params.value.get("ui") || `http://${location.hostname || "127.0.0.1"}:${PORT}`);
    return at ? listening(at, signal) : undefined;
  });
  const runs = asked.answer.value?.listening;
  const isAddress = /^https?:\/\/\S+$/.test(ui);
  return (
    <section class="saved" aria-label="The saved trial">
      <h2>Saved as {file}</h2>
      <p>
        It is a mode like every other, for every command that has the same ITRIALSPACE_TRIALS_DIR and data root as this
        explorer.
      </p>
      <h3>Plan it</h3>
      <Copied what="the command that plans it" text={`its trials plan ${mode}`} />
      <h3>Run it through every stage</h3>
      <Copied what="the command that runs it" text={`its run --modes ${mode}`} />
      <h3>Open it in the Dagster UI</h3>
      <label class="field">
        Address of the UI
        <Typed type="url" value={ui} onTyped={(address) => set({ ui: address.trim() })} />
      </label>
      {isAddress ? (
        <p>
          <a href={assetAddress(ui, mode)} target="_blank" rel="noreferrer">
            Open the asset cohort_manifests at {mode}
          </a>
        </p>
      ) : (
        <p class="warning">Expected an address that begins with http:// or https://.</p>
      )}
      <p class="small" role="status">
        {port === undefined
          ? "The explorer cannot see whether a UI on another computer is running."
          : runs === undefined
            ? "Looking whether the UI is running …"
            : runs
              ? "Something listens there. A UI that was started before the trial was saved knows it after “Reload” under Deployment, Code locations."
              : `The UI is not running at port ${port}. Start it with its ui, then open the link.`}
      </p>
    </section>
  );
}
