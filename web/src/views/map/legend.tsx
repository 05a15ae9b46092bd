// What the colours of the map mean.
import { heading, number } from "../../parts/words";
import { dark } from "../../state/theme";
import { OTHER, type Painted, scaleOn } from "./colours";

export function Legend({ column, painted }: { column: string; painted: Painted }) {
  return (
    <figure class="legend" aria-label={`Colours: ${heading(column)}`}>
      <figcaption>{heading(column)}</figcaption>
      {painted.kind === "categories" ? (
        <ul>
          {painted.keys.map(({ label, colour, count }) => (
            <li key={label}>
              <i style={{ background: colour }} /> {label} <span class="small">{count.toLocaleString("en")}</span>
            </li>
          ))}
        </ul>
      ) : (
        <div class="scale">
          <span>≤ {number(painted.low)}</span>
          <i style={{ background: `linear-gradient(to right, ${scaleOn(dark.value).join(", ")})` }} />
          <span>≥ {number(painted.high)}</span>
          {painted.missing ? (
            <span>
              <i class="dot" style={{ background: OTHER }} /> missing{" "}
              <span class="small">{painted.missing.toLocaleString("en")}</span>
            </span>
          ) : null}
        </div>
      )}
    </figure>
  );
}
