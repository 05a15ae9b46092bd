// The map as a picture that is moved: drag or arrow keys, wheel or + and -, lasso, hover, click. Lines and rings lie over
// it. Knows rows, not nodules.
import { useEffect, useRef, useState } from "preact/hooks";
import { type Camera, dragged, fitting, type Point, toMap, toPixel, zoomed } from "./camera";
import { Dots } from "./dots";
import { Cells, inside } from "./near";

export interface ScatterProps {
  label: string;
  x: ArrayLike<number>;
  y: ArrayLike<number>;
  colours: Uint32Array;
  /** 0: the row cannot be pointed at; undefined: all can. */
  chosen: Uint8Array | undefined;
  picked: number | undefined;
  near: number[];
  onPick: (row: number | undefined) => void;
  /** Without it there is no lasso. */
  onLasso?: (rows: number[]) => void;
  /** What stands beside the pointer. */
  tip: (row: number) => preact.ComponentChildren;
}

/** Pixels from the pointer within which a point is meant; ours. */
const REACH = 9;
const STEP = 60;

export function Scatter(props: ScatterProps) {
  const { x, y, colours, chosen, picked, near } = props;
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const dots = useRef<Dots | undefined>(undefined);
  const cells = useRef<Cells | undefined>(undefined);
  const hand = useRef<{ x: number; y: number; moved: boolean } | undefined>(undefined);
  const still = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const [refusal, refuse] = useState("");
  const [size, resize] = useState({ width: 0, height: 0 });
  const [camera, look] = useState<Camera>({ x: 0, y: 0, scale: 1 });
  const [hovered, hover] = useState<number | undefined>(undefined);
  const [mode, setMode] = useState<"move" | "lasso">("move");
  const [path, draw] = useState<Point[]>([]);
  const [moving, setMoving] = useState(false);

  useEffect(() => {
    try {
      dots.current = new Dots(canvas.current!);
    } catch (error) {
      refuse((error as Error).message);
      return;
    }
    const seen = new ResizeObserver(([entry]) =>
      resize({ width: entry!.contentRect.width, height: entry!.contentRect.height }),
    );
    seen.observe(box.current!);
    return () => {
      seen.disconnect();
      dots.current?.end();
    };
  }, []);
  useEffect(() => {
    if (!dots.current || !x.length) return;
    dots.current.place(x, y);
    cells.current = new Cells(x, y);
    hover(undefined);
    look(fitting({ width: box.current!.clientWidth, height: box.current!.clientHeight }, x, y));
  }, [x, y]);
  useEffect(() => {
    if (colours.length === x.length) dots.current?.paint(colours);
  }, [x, y, colours]);
  useEffect(() => {
    const frame = requestAnimationFrame(() => dots.current?.draw(camera, diameter(x.length), moving));
    return () => cancelAnimationFrame(frame);
  }, [camera, colours, x, size, moving]);

  const move = (next: Camera) => {
    look(next);
    setMoving(true);
    clearTimeout(still.current);
    still.current = setTimeout(() => setMoving(false), 180);
  };
  const zoom = (factor: number, px = size.width / 2, py = size.height / 2) =>
    move(zoomed(camera, size, factor, px, py));
  const under = (px: number, py: number) => {
    const [mx, my] = toMap(camera, size, px, py);
    return cells.current?.nearest(mx, my, REACH / camera.scale, (row) => !chosen || chosen[row] === 1);
  };
  const place = (event: PointerEvent | WheelEvent): Point => {
    const { left, top } = box.current!.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };
  const onDown = (event: PointerEvent) => {
    if (event.button !== 0) return;
    box.current!.setPointerCapture(event.pointerId);
    const [px, py] = place(event);
    hand.current = { x: px, y: py, moved: false };
    if (mode === "lasso") draw([[px, py]]);
  };
  const onMove = (event: PointerEvent) => {
    const [px, py] = place(event);
    const held = hand.current;
    if (!held) return hover(under(px, py));
    if (Math.abs(px - held.x) + Math.abs(py - held.y) > 3) held.moved = true;
    if (mode === "lasso") return draw((before) => [...before, [px, py]]);
    if (!held.moved) return;
    move(dragged(camera, px - held.x, py - held.y));
    hand.current = { x: px, y: py, moved: true };
  };
  const onUp = (event: PointerEvent) => {
    const held = hand.current;
    hand.current = undefined;
    if (!held) return;
    if (mode === "lasso" && path.length > 2) {
      const rows = inside(
        path.map(([px, py]) => toMap(camera, size, px, py)),
        x,
        y,
      );
      props.onLasso?.(rows.filter((row) => !chosen || chosen[row] === 1));
      setMode("move");
    } else if (!held.moved) props.onPick(under(...place(event)));
    draw([]);
  };
  const onKey = (event: KeyboardEvent) => {
    const [dx, dy] = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] }[
      event.key
    ] ?? [0, 0];
    if (dx || dy) move(dragged(camera, dx!, dy!));
    else if (event.key === "+" || event.key === "=") zoom(1.4);
    else if (event.key === "-") zoom(1 / 1.4);
    else if (event.key === "0") move(fitting(size, x, y));
    else return;
    event.preventDefault();
  };
  // a wheel listener of Preact would be passive: the page would scroll along
  useEffect(() => {
    const element = box.current!;
    const onWheel = (event: WheelEvent) => {
      event.preventDefault();
      const [px, py] = place(event);
      zoom(Math.exp(-event.deltaY * 0.002), px, py);
    };
    element.addEventListener("wheel", onWheel, { passive: false });
    return () => element.removeEventListener("wheel", onWheel);
  });

  const pixel = (row: number) => toPixel(camera, size, x[row]!, y[row]!);
  const radius = diameter(x.length) / 2;
  return (
    <div class="scatter">
      <div class="row tools">
        {props.onLasso ? (
          <>
            <button type="button" aria-pressed={mode === "move"} onClick={() => setMode("move")}>
              Move
            </button>
            <button type="button" aria-pressed={mode === "lasso"} onClick={() => setMode("lasso")}>
              Lasso
            </button>
          </>
        ) : null}
        <span class="spring" />
        <button type="button" aria-label="Zoom in" onClick={() => zoom(1.4)}>
          +
        </button>
        <button type="button" aria-label="Zoom out" onClick={() => zoom(1 / 1.4)}>
          −
        </button>
        <button type="button" onClick={() => move(fitting(size, x, y))}>
          Show all
        </button>
      </div>
      {refusal ? <p class="warning">{refusal}</p> : null}
      <div
        ref={box}
        class={`picture ${mode}`}
        role="application"
        aria-label={`${props.label}. Arrow keys move it, plus and minus zoom, 0 shows all. The search and the tables beside it say the same.`}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it takes keys
        tabIndex={0}
        onPointerDown={onDown}
        onPointerMove={onMove}
        onPointerUp={onUp}
        onPointerLeave={() => hover(undefined)}
        onKeyDown={onKey}
      >
        <canvas ref={canvas} />
        <svg aria-hidden="true">
          {picked === undefined
            ? null
            : near.map((row) => {
                const [[ax, ay], [bx, by]] = [pixel(picked), pixel(row)];
                return <line key={row} class="edge" x1={ax} y1={ay} x2={bx} y2={by} />;
              })}
          {near.map((row) => {
            const [cx, cy] = pixel(row);
            return <circle key={row} class="near" cx={cx} cy={cy} r={radius + 2.5} />;
          })}
          {[picked, hovered].map((row, i) => {
            if (row === undefined || row >= x.length) return null;
            const [cx, cy] = pixel(row);
            return (
              <circle
                key={i === 0 ? "picked" : "hovered"}
                class={i ? "hovered" : "picked"}
                cx={cx}
                cy={cy}
                r={radius + 4}
              />
            );
          })}
          {path.length > 1 ? <polygon class="lasso" points={path.map((p) => p.join(",")).join(" ")} /> : null}
        </svg>
        {hovered !== undefined && hovered < x.length ? (
          <div class="tip" style={tipPlace(pixel(hovered), size.width)}>
            {props.tip(hovered)}
          </div>
        ) : null}
      </div>
    </div>
  );
}

const diameter = (n: number) => (n > 200_000 ? 2 : n > 20_000 ? 4 : n > 2000 ? 6 : n > 200 ? 9 : 12);

const tipPlace = ([px, py]: Point, width: number) =>
  px > width / 2 ? { right: `${width - px + 12}px`, top: `${py + 8}px` } : { left: `${px + 12}px`, top: `${py + 8}px` };
