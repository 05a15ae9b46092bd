import { describe, expect, it } from "vitest";
import { moved } from "../src/views/reading/model";
import { factorOf, inOrder, levelOf, type Metric, said } from "../src/views/results/metric";
import { csv } from "../src/views/sql/csv";

describe("rows as CSV", () => {
  it("quotes what needs it and keeps null apart from text", () => {
    expect(
      csv([
        ["a", "b"],
        [1.5, null],
        ['say "x"', "1,2\n3"],
        [true, ""],
      ]),
    ).toBe('a,b\r\n1.5,\r\n"say ""x""","1,2\n3"\r\ntrue,\r\n');
  });
  it("lets no spreadsheet run a text as a formula, and leaves negative numbers alone", () => {
    expect(csv([["=1+1", "@x", "-5", -5, "-x"]])).toBe("'=1+1,'@x,-5,-5,'-x\r\n");
  });
});

describe("strata", () => {
  it("are a factor and a level", () => {
    expect([factorOf("size_bucket=<5mm"), levelOf("size_bucket=<5mm")]).toEqual(["size_bucket", "<5mm"]);
    expect([factorOf("all"), levelOf("all")]).toEqual(["all", "all cases"]);
    expect(levelOf("x=a=b")).toBe("a=b");
  });
  it("are ordered by their first number, else as text", () => {
    const sizes = [">30mm", "10-15mm", "5-10mm", "<5mm", "20-30mm"];
    expect(sizes.sort(inOrder)).toEqual(["<5mm", "5-10mm", "10-15mm", "20-30mm", ">30mm"]);
    expect(["b", "a"].sort(inOrder)).toEqual(["a", "b"]);
  });
  it("say a number that is missing with its reason", () => {
    const none = {
      stratum: "all",
      reader: "blob",
      source: "real",
      metric: "auc",
      estimate: null,
      low: null,
      high: null,
    };
    expect(said({ ...none, n_slices: 4, flag: "no negatives" } as Metric)).toBe(
      "all cases, blob, real: auc none; no interval; 4 slices; no negatives",
    );
  });
});

describe("a mark moved by keys", () => {
  it("goes one pixel, or ten, and stays on the picture", () => {
    expect(moved({ x: 3, y: 3 }, "ArrowRight", false, 8, 6)).toEqual({ x: 4, y: 3 });
    expect(moved({ x: 3, y: 3 }, "ArrowUp", true, 8, 6)).toEqual({ x: 3, y: 0 });
    expect(moved({ x: 3, y: 3 }, "ArrowDown", true, 8, 6)).toEqual({ x: 3, y: 5 });
    expect(moved({ x: 3, y: 3 }, "Enter", false, 8, 6)).toBeUndefined();
  });
});
