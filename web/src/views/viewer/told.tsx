// What the panes show, in words, and the places and marks as a table: the viewer without its pictures.
import type { ReadonlySignal } from "@preact/signals";
import { Head } from "../../parts/head";
import { Wide } from "../../parts/wide";
import { at, axis, marker, masked, moveTo, of, window_ } from "./state";
import { AXES, distance, type Marks, type Point, titleOf, type VolumeEntry, voxelOf, WINDOWS } from "./volumes";

const mm = (value: number) => value.toFixed(1);

/** World mm (RAS) as people say it. */
const inWords = ([x, y, z]: Point) =>
  `${mm(Math.abs(x))} mm ${x < 0 ? "left" : "right"}, ${mm(Math.abs(y))} mm ${y < 0 ? "back" : "front"}, ${mm(z)} mm up`;

interface Props {
  entries: VolumeEntry[];
  marks: Marks;
  value: ReadonlySignal<{ hu: number; what: string } | undefined>;
}

export function Told({ entries, marks, value }: Props) {
  const first = entries[0]!;
  const index = voxelOf(first, at.value)[AXES[axis.value].axis];
  const planes = first.shape?.[AXES[axis.value].axis] ?? 0;
  const near = marks.places
    .map((place) => ({ place, away: distance(at.value, [place.x, place.y, place.z]) }))
    .sort((a, b) => a.away - b.away)[0];
  return (
    <p class="told" role="status" aria-live="polite">
      {entries.map(({ what }) => titleOf(what, of.value)).join(" beside ")},{" "}
      {WINDOWS[window_.value].title.toLowerCase()} window, {axis.value} plane {index + 1} of {planes}. Crosshair:{" "}
      {inWords(at.value)} of the origin
      {value.value && value.value.what === first.what
        ? `, ${Math.round(value.value.hu)} ${first.unit === "HU" ? "HU" : "(label)"}`
        : ""}
      . {near ? `${near.place.name}: ${mm(near.away)} mm away. ` : ""}
      {masked.value ? "Nodules are shown in red. " : ""}
      {marker.value ? `Marks of ${marker.value} are shown.` : ""}
    </p>
  );
}

export function Places({ marks }: { marks: Marks }) {
  const shown = marks.marks.filter(({ reader }) => reader === marker.value);
  if (!marks.places.length && !shown.length) return null;
  const rows = [
    ...marks.places.map((place) => ({
      key: `p${place.name}`,
      name: place.name,
      about: [place.lobe?.replaceAll("_", " "), place.present ? "" : "nothing is there"].filter(Boolean).join("; "),
      diameter: place.diameter_mm,
      score: "",
      at: [place.x, place.y, place.z] as Point,
    })),
    ...shown.map((mark) => ({
      key: `m${mark.what}${mark.number}`,
      name: `mark ${mark.number + 1} of ${mark.reader}`,
      about: `on ${titleOf(mark.what, of.value).toLowerCase()}`,
      diameter: mark.diameter_mm,
      score: mark.score.toPrecision(4),
      at: [mark.x, mark.y, mark.z] as Point,
    })),
  ];
  return (
    <Wide name="Nodules and marks">
      <table>
        <caption>Nodules and marks</caption>
        <Head
          columns={[
            "What",
            "About it",
            { n: "Diameter (mm)" },
            { n: "Score" },
            { n: "World x, y, z (mm, RAS)" },
            "Show",
          ]}
        />
        <tbody>
          {rows.map((row) => (
            <tr key={row.key}>
              <th scope="row">{row.name}</th>
              <td>{row.about}</td>
              <td class="n">{row.diameter === null ? "" : mm(row.diameter)}</td>
              <td class="n">{row.score}</td>
              <td class="n">{row.at.map(mm).join(", ")}</td>
              <td>
                <button type="button" onClick={() => moveTo(row.at)} aria-label={`Go to ${row.name}`}>
                  Go there
                </button>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Wide>
  );
}
