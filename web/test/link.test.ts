import { describe, expect, it } from "vitest";
import { checkOf, filtersOf, namesFrom, namesOf, packed, paramsOf, unpacked } from "../src/state/link";
import type { Filter } from "../src/state/selection";

const back = (filters: Filter[], text = "") => {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(paramsOf(filters, text))) if (value) query.set(name, value);
  const address = new URLSearchParams(query.toString());
  return { address: query.toString(), filters: filtersOf(address), text: address.get("q") ?? "" };
};

describe("a selection in the address", () => {
  it("comes back as it was, whatever stands in it", () => {
    const filters: Filter[] = [
      { column: "dataset", any: ["LUNA16", "a*b", "50%", "12", ".5", "true", "ü &=#?/"] },
      { column: "label", any: [0, 1] },
      { column: "is_calcified", any: [true, false] },
      { column: "nodule_mean_diam_mm", low: 6, high: 15.25 },
      { column: "coordX", low: -120.5 },
      { column: "reinsertion_pleural_dist_mm", high: 1e-7 },
      { column: "patient_id", contains: "a*b &c" },
      { column: "nearest_nodule_dist_mm", missing: true },
      { column: "airway_distance_mm", missing: false },
    ];
    const restored = back(filters, "left upper & more");
    expect(restored.filters).toEqual(filters);
    expect(restored.text).toBe("left upper & more");
  });

  it("is short and readable in the common case", () => {
    const { address } = back([
      { column: "dataset", any: ["LUNA16", "DLCS24"] },
      { column: "nodule_mean_diam_mm", low: 6, high: 15 },
    ]);
    expect(address).toBe("in.dataset=LUNA16*DLCS24&within.nodule_mean_diam_mm=6*15");
  });

  it("leaves out what is no filter", () => {
    expect(filtersOf(new URLSearchParams("within.a=x*y&uid=1&q=2&layout=PCA_2D"))).toEqual([]);
  });

  it("keeps rows of a lasso in about a byte each", () => {
    const rows = [0, 1, 2, 130, 131, 5000, 5127, 5255, 999_999];
    expect(unpacked(packed(rows))).toEqual(rows);
    expect(unpacked(packed([]))).toEqual([]);
    const many = Array.from({ length: 3000 }, (_, i) => i * 4 + (i % 3));
    expect(unpacked(packed(many))).toEqual(many);
    expect(packed(many).length).toBeLessThan(4100);
  });

  it("notices that the names behind the rows have changed", () => {
    expect(checkOf(["a", "bc"])).toBe(checkOf(["a", "bc"]));
    expect(checkOf(["ab", "c"])).not.toBe(checkOf(["a", "bc"]));
    expect(checkOf(["a", "bd"])).not.toBe(checkOf(["a", "bc"]));
  });

  it("keeps single names", () => {
    const names = ["LUNA16/a*b", "X/50%", "Y/ü"];
    expect(namesFrom(namesOf(names))).toEqual(names);
  });
});
