// Where the map is looked at: middle and scale, and the way between map coordinates and pixels.

export interface Camera {
  /** Middle of the canvas in map coordinates. */
  x: number;
  y: number;
  /** Pixels for one unit of the map. */
  scale: number;
}

export interface Canvas {
  width: number;
  height: number;
}

export type Point = readonly [number, number];

export const toPixel = (camera: Camera, canvas: Canvas, x: number, y: number): Point => [
  canvas.width / 2 + (x - camera.x) * camera.scale,
  canvas.height / 2 - (y - camera.y) * camera.scale,
];

export const toMap = (camera: Camera, canvas: Canvas, px: number, py: number): Point => [
  camera.x + (px - canvas.width / 2) / camera.scale,
  camera.y - (py - canvas.height / 2) / camera.scale,
];

/** The camera after the map was dragged by some pixels. */
export const dragged = (camera: Camera, dx: number, dy: number): Camera => ({
  ...camera,
  x: camera.x - dx / camera.scale,
  y: camera.y + dy / camera.scale,
});

/** The camera after zooming by a factor; what lies under a pixel stays there. */
export function zoomed(camera: Camera, canvas: Canvas, factor: number, px: number, py: number): Camera {
  const [x, y] = toMap(camera, canvas, px, py);
  const scale = Math.min(1e7, Math.max(1e-4, camera.scale * factor));
  const ratio = camera.scale / scale;
  return { x: x + (camera.x - x) * ratio, y: y + (camera.y - y) * ratio, scale };
}

/** The camera that shows all points, with a margin of 24 pixels. */
export function fitting(canvas: Canvas, x: ArrayLike<number>, y: ArrayLike<number>): Camera {
  let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < x.length; i++) {
    if (!(Number.isFinite(x[i]!) && Number.isFinite(y[i]!))) continue;
    left = Math.min(left, x[i]!);
    right = Math.max(right, x[i]!);
    low = Math.min(low, y[i]!);
    high = Math.max(high, y[i]!);
  }
  if (!(right >= left)) return { x: 0, y: 0, scale: 100 };
  const scale = Math.min(
    Math.max(canvas.width - 48, 10) / Math.max(right - left, 1e-6),
    Math.max(canvas.height - 48, 10) / Math.max(high - low, 1e-6),
  );
  return { x: (left + right) / 2, y: (low + high) / 2, scale };
}
