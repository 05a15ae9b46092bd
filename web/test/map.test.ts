import { describe, expect, it } from "vitest";
import { rowOf } from "../src/api/nodules";
import { dragged, fitting, toMap, toPixel, zoomed } from "../src/views/map/camera";
import { bytes, CATEGORIES, inked, OTHER, ofCategories, ofNumbers, SCALE } from "../src/views/map/colours";
import { Cells, inside } from "../src/views/map/near";

const canvas = { width: 800, height: 600 };

describe("the camera", () => {
  it("goes from map to pixel and back, up is up", () => {
    const camera = { x: 3, y: -2, scale: 50 };
    expect(toPixel(camera, canvas, 3, -2)).toEqual([400, 300]);
    expect(toPixel(camera, canvas, 4, -1)).toEqual([450, 250]);
    expect(toMap(camera, canvas, 450, 250)).toEqual([4, -1]);
  });

  it("keeps under the pointer what lies there when it zooms, and follows a drag", () => {
    const camera = { x: 3, y: -2, scale: 50 };
    const before = toMap(camera, canvas, 120, 80);
    const after = toMap(zoomed(camera, canvas, 3, 120, 80), canvas, 120, 80);
    expect(after[0]).toBeCloseTo(before[0], 9);
    expect(after[1]).toBeCloseTo(before[1], 9);
    const [px, py] = toPixel(dragged(camera, 30, -20), canvas, 4, -1);
    expect([px, py]).toEqual([480, 230]);
  });

  it("fits all points, and stands still without any", () => {
    const camera = fitting(canvas, [0, 10], [0, 1]);
    expect(toPixel(camera, canvas, 0, 0)[0]).toBeCloseTo(24);
    expect(toPixel(camera, canvas, 10, 1)[0]).toBeCloseTo(776);
    expect(Number.isFinite(fitting(canvas, [], []).scale)).toBe(true);
    expect(Number.isFinite(toPixel(fitting(canvas, [5], [5]), canvas, 5, 5)[0])).toBe(true);
  });
});

describe("points under the pointer", () => {
  it("are those that a look at all of them finds", () => {
    let state = 7;
    const random = () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 32;
    };
    const x = Float32Array.from({ length: 3000 }, () => random() * 10 - 5);
    const y = Float32Array.from({ length: 3000 }, () => random() ** 3);
    const cells = new Cells(x, y);
    const even = (row: number) => row % 2 === 0;
    for (let k = 0; k < 200; k++) {
      const [px, py] = [random() * 12 - 6, random() * 1.4 - 0.2];
      let best: number | undefined;
      let least = 0.3 ** 2;
      for (let i = 0; i < 3000; i += 2) {
        const far = (x[i]! - px) ** 2 + (y[i]! - py) ** 2;
        if (far < least) [least, best] = [far, i];
      }
      expect(cells.nearest(px, py, 0.3, even)).toBe(best);
    }
  });

  it("are inside a polygon or not, a notch too", () => {
    const notched = [
      [0, 0],
      [4, 0],
      [4, 4],
      [2, 1],
      [0, 4],
    ] as const;
    expect(inside(notched, [2, 2, 0.5, 3.6, 5], [0.5, 2, 2, 2, 1])).toEqual([0, 2, 3]);
    expect(inside([], [1], [1])).toEqual([]);
  });
});

const listed = (values: (string | number | null)[]) => ({ length: values.length, at: (i: number) => values[i]! });

describe("rows by id", () => {
  it("are found among sorted ids, and only there", () => {
    const ids = ["A/1", "A/10", "A/2", "B/1"];
    expect(ids.map((id) => rowOf(listed(ids), id))).toEqual([0, 1, 2, 3]);
    expect(rowOf(listed(ids), "A/3")).toBeUndefined();
    expect(rowOf(listed([]), "A/1")).toBeUndefined();
  });
});

describe("colours", () => {
  it("give the six most frequent values their own, the rest are other", () => {
    const values = ["a", "a", "b", "c", "d", "e", "f", "g", "b", "c", "d", "e", "f", null];
    const painted = ofCategories(listed(values), String);
    if (painted.kind !== "categories") throw new Error();
    expect(painted.keys.map(({ label, count }) => [label, count])).toEqual([
      ["a", 2],
      ["b", 2],
      ["c", 2],
      ["d", 2],
      ["e", 2],
      ["f", 2],
      ["other", 2],
    ]);
    const drawn = bytes(
      painted,
      Uint8Array.from(values, (_, i) => (i === 2 ? 0 : 1)),
      0,
      false,
    );
    expect(drawn[0]).toBe(inked(CATEGORIES[0]!, 215));
    expect(drawn[2]).toBe(0);
    expect(drawn[7]).toBe(inked(OTHER, 215));
  });

  it("of numbers rise with the value; missing ones are grey", () => {
    const painted = ofNumbers(listed([...Array.from({ length: 101 }, (_, i) => i), null]));
    if (painted.kind !== "numbers") throw new Error();
    expect([painted.low, painted.high, painted.missing]).toEqual([1, 99, 1]);
    const drawn = bytes(painted, undefined, 0, true);
    expect(drawn[0]).toBe(inked(SCALE[2]!, 215));
    expect(drawn[100]).toBe(inked(SCALE.at(-1)!, 215));
    expect(drawn[101]).toBe(inked(OTHER, 215));
  });
});
