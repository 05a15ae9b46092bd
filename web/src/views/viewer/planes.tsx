// Planes of a volume as PNG of the server: where WebGL2 is missing, or where the user prefers pictures.
import { address } from "../../api/client";
import { at, axis as chosenAxis, layout, masked, moveTo, of, uid, window_ } from "./state";
import { AXES, type Axis, fromPicture, inPicture, type Mark, type VolumeEntry, voxelOf } from "./volumes";

/** Marks are shown on planes that lie within this distance (mm) of them; ours. */
const NEAR_MM = 4;

function Picture({ entry, axis, marks }: { entry: VolumeEntry; axis: Axis; marks: Mark[] }) {
  const { axis: number, across, down, sides } = AXES[axis];
  const [left, right, top, bottom] = sides;
  const index = voxelOf(entry, at.value)[number];
  const mm = [across, down].map((i) => entry.shape![i] * entry.spacing![i]) as [number, number];
  const [x, y] = inPicture(entry, axis, at.value);
  const src = address("/api/plane.png", {
    uid: uid.value,
    of: of.value,
    what: entry.what,
    axis,
    index,
    window: entry.what.startsWith("difference") ? "difference" : window_.value,
    mask: masked.value,
  });
  const near = marks.filter((mark) => Math.abs([mark.x, mark.y, mark.z][number]! - at.value[number]) <= NEAR_MM);
  const click = (event: MouseEvent) => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    moveTo(
      fromPicture(
        entry,
        axis,
        (event.clientX - box.left) / box.width,
        (event.clientY - box.top) / box.height,
        at.value,
      ),
    );
  };
  return (
    <div class="plane" data-axis={axis} style={{ aspectRatio: `${mm[0]} / ${mm[1]}`, flexGrow: mm[0] }}>
      {/* biome-ignore lint/a11y/useKeyWithClickEvents: keys of the pane move the crosshair */}
      <img src={src} alt={`${axis} plane ${index + 1} of ${entry.shape![number]}`} draggable={false} onClick={click} />
      <svg viewBox={`0 0 ${mm[0]} ${mm[1]}`} aria-hidden="true" preserveAspectRatio="none">
        <path
          class="cross"
          d={`M${x * mm[0]} 0V${y * mm[1] - 8}M${x * mm[0]} ${y * mm[1] + 8}V${mm[1]}M0 ${y * mm[1]}H${x * mm[0] - 8}M${x * mm[0] + 8} ${y * mm[1]}H${mm[0]}`}
        />
        {near.map((mark) => {
          const [cx, cy] = inPicture(entry, axis, [mark.x, mark.y, mark.z]);
          return (
            <g class="mark-ring" key={`${mark.what}${mark.number}`}>
              <circle cx={cx * mm[0]} cy={cy * mm[1]} r={(mark.diameter_mm ?? 8) / 2 + 2} />
              <text x={cx * mm[0] + (mark.diameter_mm ?? 8) / 2 + 4} y={cy * mm[1] + 3}>
                {mark.score.toPrecision(3)}
              </text>
            </g>
          );
        })}
      </svg>
      <span class="side left">{left}</span>
      <span class="side right">{right}</span>
      <span class="side top">{top}</span>
      <span class="side bottom">{bottom}</span>
    </div>
  );
}

export function Planes({ entry, marks }: { entry: VolumeEntry; marks: Mark[] }) {
  if (layout.value === "render")
    return <p class="empty">3-D needs WebGL2. Choose a plane, or draw with the graphics card.</p>;
  const shown: Axis[] = layout.value === "all" ? ["axial", "coronal", "sagittal"] : [chosenAxis.value];
  return (
    <div class="planes" data-ready="planes">
      {shown.map((axis) => (
        <Picture key={axis} entry={entry} axis={axis} marks={marks} />
      ))}
    </div>
  );
}
