// The choices above the map: layout, colour, neighbours.
import type { Maps } from "../../api/maps";
import { columnList } from "../../api/nodules";
import { title } from "../../parts/words";
import { colourBy, faint, featureSet, k, layout, scope, set, space } from "./state";

/** Columns whose values name single nodules or files colour nothing. */
const isColour = (name: string) => !/_uid$|path|sha256|annotation_id|patient_id/.test(name);
const said = (name: string) => name.replaceAll("_", " ");
const NAMES: Record<string, string> = { pca: "PCA", umap: "UMAP", tsne: "t-SNE" };
const layoutName = (name: string) => NAMES[name.split("_")[0]!.toLowerCase()] ?? name;

export function Controls({ maps }: { maps: Maps }) {
  const flat = maps.layouts.filter(({ dims, feature_set }) => dims === 2 && feature_set === featureSet.value);
  const sets = [...new Set(maps.layouts.map((l) => l.feature_set))];
  const columns = (columnList.value?.columns ?? []).filter(({ name }) => isColour(name));
  const waiting = flat.filter(({ ready }) => !ready);
  return (
    <div class="controls">
      <label>
        Layout
        <select value={layout.value} onChange={(e) => set({ layout: e.currentTarget.value })}>
          {flat.map(({ name, ready }) => (
            <option key={name} value={name} disabled={!ready}>
              {layoutName(name)}
              {ready ? "" : " (not made)"}
            </option>
          ))}
        </select>
      </label>
      <label>
        Features
        <select value={featureSet.value} onChange={(e) => set({ features: e.currentTarget.value })}>
          {sets.map((name) => (
            <option key={name} value={name}>
              {said(name)}
            </option>
          ))}
        </select>
      </label>
      <label>
        Colour by
        <select value={colourBy.value} onChange={(e) => set({ colour: e.currentTarget.value })}>
          {columns.map(({ name, unit }) => (
            <option key={name} value={name}>
              {title(name)}
              {unit ? ` (${unit})` : ""}
            </option>
          ))}
        </select>
      </label>
      <label>
        Neighbours
        <select value={String(k.value)} onChange={(e) => set({ k: e.currentTarget.value })}>
          {maps.edge_k.map((n) => (
            <option key={n}>{n}</option>
          ))}
        </select>
      </label>
      <label>
        Near by
        <select value={space.value} onChange={(e) => set({ space: e.currentTarget.value })}>
          {maps.spaces.map((name) => (
            <option key={name} value={name}>
              {said(name)}
            </option>
          ))}
        </select>
      </label>
      <label>
        Among
        <select value={scope.value} onChange={(e) => set({ scope: e.currentTarget.value })}>
          {maps.scopes.map((name) => (
            <option key={name} value={name}>
              {said(name)}
            </option>
          ))}
        </select>
      </label>
      <label class="check">
        <input
          type="checkbox"
          checked={faint.value}
          onChange={(e) => set({ others: e.currentTarget.checked ? undefined : "hidden" })}
        />
        Show the others faintly
      </label>
      {waiting.length ? (
        <details class="small">
          <summary>Not made yet: {waiting.map(({ name }) => layoutName(name)).join(", ")}</summary>
          <ul>
            {waiting.map(({ name, why }) => (
              <li key={name}>{why}</li>
            ))}
          </ul>
        </details>
      ) : null}
    </div>
  );
}
