// The picture, on which places are marked: by click, or with arrow keys and Enter.
import { type Signal, useSignal } from "@preact/signals";
import { type Mark, moved, type Picture } from "./model";

interface Marked {
  picture: Picture;
  source: string;
  /** Whether places can be marked now. */
  on: boolean;
  marks: Signal<Mark[]>;
}

const MOST = 20;

export function Marking({ picture, source, on, marks }: Marked) {
  const { width, height } = picture;
  const cursor = useSignal<Mark>({ x: Math.round(width / 2), y: Math.round(height / 2) });
  const keyed = useSignal(false);
  const add = (mark: Mark) => {
    if (on && marks.value.length < MOST) marks.value = [...marks.value, mark];
  };
  const cross = Math.max(3, width / 40);
  return (
    <div class="marking">
      <div class="frame" style={{ aspectRatio: `${width} / ${height}`, "--ratio": width / height }}>
        <img src={source} alt="Slice to read" draggable={false} />
        {on ? (
          <svg
            viewBox={`0 0 ${width} ${height}`}
            role="application"
            // biome-ignore lint/a11y/noNoninteractiveTabindex: arrow keys move the cross on it
            tabIndex={0}
            aria-label={`Places on the picture: ${marks.value.length} marked. Arrow keys move the cross, Shift goes further, Enter marks, Backspace takes the last one away`}
            onClick={(event) => {
              const box = event.currentTarget.getBoundingClientRect();
              keyed.value = false;
              add({
                x: Math.round(((event.clientX - box.left) / box.width) * width * 10) / 10,
                y: Math.round(((event.clientY - box.top) / box.height) * height * 10) / 10,
              });
            }}
            onKeyDown={(event) => {
              const next = moved(cursor.value, event.key, event.shiftKey, width, height);
              if (next) cursor.value = next;
              else if (event.key === "Enter") add(cursor.value);
              else if (event.key === "Backspace" || event.key === "Delete") marks.value = marks.value.slice(0, -1);
              else return;
              keyed.value = true;
              event.preventDefault();
            }}
            onFocus={(event) => {
              keyed.value = event.currentTarget.matches(":focus-visible");
            }}
          >
            <title>Marked places</title>
            {marks.value.map((mark, i) => (
              <circle key={i} cx={mark.x} cy={mark.y} r={cross} class="place" />
            ))}
            {keyed.value ? (
              <path
                class="cross"
                d={`M${cursor.value.x - cross},${cursor.value.y}h${2 * cross}M${cursor.value.x},${cursor.value.y - cross}v${2 * cross}`}
              />
            ) : null}
          </svg>
        ) : null}
      </div>
      {on ? (
        <div class="row">
          <span class="small">Mark each nodule: click it, or use arrow keys and Enter.</span>
          <button type="button" disabled={!marks.value.length} onClick={() => (marks.value = marks.value.slice(0, -1))}>
            Take the last mark away
          </button>
        </div>
      ) : null}
    </div>
  );
}
