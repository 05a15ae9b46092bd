// Which points lie where: the nearest to a place, and those inside a polygon. Points are row numbers.
import type { Point } from "./camera";

/** Points in square cells, so that the nearest one is found without looking at all. */
export class Cells {
  private readonly side: number;
  private readonly size: number;
  private readonly left: number;
  private readonly low: number;
  private readonly starts: Uint32Array;
  private readonly rows: Uint32Array;

  constructor(
    private readonly x: ArrayLike<number>,
    private readonly y: ArrayLike<number>,
  ) {
    const n = x.length;
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < n; i++) {
      left = Math.min(left, x[i]!);
      right = Math.max(right, x[i]!);
      low = Math.min(low, y[i]!);
      high = Math.max(high, y[i]!);
    }
    this.left = left;
    this.low = low;
    this.side = Math.max(1, Math.min(1024, Math.ceil(Math.sqrt(n / 2))));
    this.size = Math.max(right - left, high - low, 1e-9) / this.side;
    const counts = new Uint32Array(this.side * this.side + 1);
    const cells = new Uint32Array(n);
    for (let i = 0; i < n; i++) {
      cells[i] = this.cell(x[i]!, this.left) + this.side * this.cell(y[i]!, this.low);
      counts[cells[i]! + 1]!++;
    }
    for (let i = 1; i < counts.length; i++) counts[i]! += counts[i - 1]!;
    this.starts = counts;
    const next = counts.slice();
    this.rows = new Uint32Array(n);
    for (let i = 0; i < n; i++) this.rows[next[cells[i]!]!++] = i;
  }

  /** The nearest of the rows that `counts` accepts within a distance; undefined: there is none. */
  nearest(x: number, y: number, within: number, counts: (row: number) => boolean): number | undefined {
    let best: number | undefined;
    let least = within * within;
    const last = this.cell(y + within, this.low);
    for (let j = this.cell(y - within, this.low); j <= last; j++) {
      const from = this.starts[this.cell(x - within, this.left) + this.side * j]!;
      const to = this.starts[this.cell(x + within, this.left) + this.side * j + 1]!;
      for (let k = from; k < to; k++) {
        const row = this.rows[k]!;
        const far = (this.x[row]! - x) ** 2 + (this.y[row]! - y) ** 2;
        if (far <= least && counts(row)) {
          least = far;
          best = row;
        }
      }
    }
    return best;
  }

  private cell(value: number, from: number): number {
    return Math.min(this.side - 1, Math.max(0, Math.floor((value - from) / this.size)));
  }
}

/** Rows of the points inside a polygon (even-odd), rising. */
export function inside(polygon: readonly Point[], x: ArrayLike<number>, y: ArrayLike<number>): number[] {
  const rows: number[] = [];
  if (polygon.length < 3) return rows;
  for (let i = 0; i < x.length; i++) if (holds(polygon, x[i]!, y[i]!)) rows.push(i);
  return rows;
}

function holds(polygon: readonly Point[], x: number, y: number): boolean {
  let within = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [ax, ay] = polygon[i]!;
    const [bx, by] = polygon[j]!;
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) within = !within;
  }
  return within;
}
