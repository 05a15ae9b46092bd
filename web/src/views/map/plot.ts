// The picture of the map: points, edges and rings drawn by WebGL (deck.gl), moved by pointer and keyboard. Knows no
// nodule: points are row numbers, colours are bytes. deck.gl, because it draws a million points from plain arrays,
// finds the point under the pointer on the GPU, and, unlike scatters that are built on regl, makes no code from text,
// which the page's policy forbids.
import { Deck, OrthographicView, type OrthographicViewState } from "@deck.gl/core";
import { LineLayer, ScatterplotLayer } from "@deck.gl/layers";
import { DotsLayer } from "./dots";

export interface Line {
  from: number;
  to: number;
}

export interface PlotEvents {
  onHover: (row: number | undefined, x: number, y: number) => void;
  onPick: (row: number | undefined) => void;
}

type Colour = [number, number, number];

/** Above this many points nothing is asked of the GPU while the pointer moves fast, and points are drawn as one pixel
 * bigger only when they are near: ours, so that software rendering stays usable. */
const MANY = 200_000;

export class Plot {
  private readonly deck: Deck<OrthographicView>;
  private x: ArrayLike<number> = [];
  private y: ArrayLike<number> = [];
  private positions = new Float32Array();
  private colours = new Uint8Array();
  private version = 0;
  private view: OrthographicViewState = { target: [0, 0, 0], zoom: 0 };
  private marked: { chosen: number | undefined; near: number[]; lines: Line[]; ink: Colour; accent: Colour } = {
    chosen: undefined,
    near: [],
    lines: [],
    ink: [0, 0, 0],
    accent: [0, 0, 0],
  };

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly events: PlotEvents,
  ) {
    this.deck = new Deck({
      canvas,
      views: new OrthographicView({ id: "map", flipY: false }),
      viewState: this.view,
      controller: { doubleClickZoom: false, scrollZoom: { speed: 0.005, smooth: false }, keyboard: true, inertia: false },
      onViewStateChange: ({ viewState }) => this.look(viewState as OrthographicViewState),
      onHover: (info) => this.events.onHover(info.index >= 0 ? info.index : undefined, info.x, info.y),
      onClick: (info) => this.events.onPick(info.index >= 0 ? info.index : undefined),
      pickingRadius: 6,
      useDevicePixels: true,
      getCursor: ({ isDragging, isHovering }) => (isDragging ? "grabbing" : isHovering ? "pointer" : "grab"),
      layers: [],
    });
  }

  /** New points: float32 coordinates without unit, one a row. Shows all of them. */
  place(x: ArrayLike<number>, y: ArrayLike<number>): void {
    this.x = x;
    this.y = y;
    this.positions = new Float32Array(2 * x.length);
    for (let i = 0; i < x.length; i++) {
      this.positions[2 * i] = x[i]!;
      this.positions[2 * i + 1] = y[i]!;
    }
    this.version++;
    this.fit();
  }

  /** Red, green, blue and opacity of each point, 4 bytes a row. */
  paint(colours: Uint8Array): void {
    this.colours = colours;
    this.version++;
    this.draw();
  }

  mark(marked: Plot["marked"]): void {
    this.marked = marked;
    this.draw();
  }

  /** Shows all points. */
  fit(): void {
    const n = this.x.length;
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < n; i++) {
      if (!Number.isFinite(this.x[i]!)) continue;
      left = Math.min(left, this.x[i]!);
      right = Math.max(right, this.x[i]!);
      low = Math.min(low, this.y[i]!);
      high = Math.max(high, this.y[i]!);
    }
    if (!(right >= left)) [left, right, low, high] = [-1, 1, -1, 1];
    const { clientWidth: w, clientHeight: h } = this.canvas;
    const scale = Math.min((w - 40) / Math.max(right - left, 1e-6), (h - 40) / Math.max(high - low, 1e-6));
    this.look({ target: [(left + right) / 2, (low + high) / 2, 0], zoom: Math.log2(Math.max(scale, 1e-6)) });
  }

  /** Zooms about the middle; positive is nearer, 1 doubles. */
  zoomBy(step: number): void {
    this.look({ ...this.view, zoom: Number(this.view.zoom ?? 0) + step });
  }

  /** Row numbers of the points inside a polygon of pixels, in rising order. */
  inside(polygon: [number, number][]): number[] {
    const viewport = this.deck.getViewports()[0];
    if (!viewport || polygon.length < 3) return [];
    const corners = polygon.map((corner) => viewport.unproject(corner));
    const rows: number[] = [];
    for (let i = 0; i < this.x.length; i++) if (isInside(corners, this.x[i]!, this.y[i]!)) rows.push(i);
    return rows;
  }

  /** Where a point stands on the canvas, in pixels. */
  pixel(row: number): [number, number] {
    const [x, y] = this.deck.getViewports()[0]?.project([this.x[row]!, this.y[row]!]) ?? [0, 0];
    return [x!, y!];
  }

  end(): void {
    this.deck.finalize();
  }

  private look(view: OrthographicViewState): void {
    this.view = view;
    this.deck.setProps({ viewState: { ...view, minZoom: -20, maxZoom: 20 } });
    this.draw();
  }

  private draw(): void {
    const n = this.x.length;
    if (this.colours.length !== 4 * n) return;
    const radius = n > MANY ? 1 : n > 20_000 ? 2 : n > 2000 ? 3 : 4.5;
    const { chosen, near, lines, ink, accent } = this.marked;
    const at = (row: number): [number, number] => [this.x[row]!, this.y[row]!];
    this.deck.setProps({
      layers: [
        new DotsLayer({
          id: "points",
          data: {
            length: n,
            attributes: {
              getPosition: { value: this.positions, size: 2 },
              getFillColor: { value: this.colours, size: 4 },
            },
          } as unknown as [],
          size: 2 * radius * (window.devicePixelRatio || 1),
          pickable: true,
        }),
        new LineLayer<Line>({
          id: "edges",
          data: lines,
          getSourcePosition: (line) => at(line.from),
          getTargetPosition: (line) => at(line.to),
          getColor: [...ink, 200],
          getWidth: 1.5,
        }),
        new ScatterplotLayer<number>({
          id: "rings",
          data: chosen === undefined ? near : [...near, chosen],
          getPosition: at,
          filled: false,
          stroked: true,
          getRadius: (row) => (row === chosen ? radius + 5 : radius + 2.5),
          radiusUnits: "pixels",
          lineWidthUnits: "pixels",
          getLineWidth: (row) => (row === chosen ? 3 : 1.5),
          getLineColor: (row) => (row === chosen ? accent : ink),
        }),
      ],
    });
  }
}

function isInside(corners: number[][], x: number, y: number): boolean {
  let inside = false;
  for (let i = 0, j = corners.length - 1; i < corners.length; j = i++) {
    const [ax, ay] = corners[i]! as [number, number];
    const [bx, by] = corners[j]! as [number, number];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
  }
  return inside;
}
