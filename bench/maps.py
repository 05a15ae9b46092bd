"""Layouts, neighbours and edges of 13,140 procedural nodules, and the map of one million.

The baseline of edges is scikit-learn's brute-force search with the same metric. Times are of the processor, over all
threads; imports and the first call (which compiles UMAP) are left out.

    python -m bench.maps           all but UMAP and t-SNE
    python -m bench.maps --slow    with them (minutes)

Run it as a module: beside it lies coverage.py, which numba would take for the package of that name.
"""

import os
import platform
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.demo.paper import write_root
from itrialspace_assets.explorer.layouts.nodule_map import NeighbourSearch, NoduleMap, Reach
from itrialspace_assets.explorer.layouts.presets import PRESETS
from itrialspace_assets.explorer.layouts.reduce import reduce
from itrialspace_assets.explorer.layouts.slices import place
from itrialspace_assets.explorer.layouts.table import Held
from itrialspace_assets.explorer.server.arrow import arrow
from itrialspace_assets.imaging.anatomy import LOBES
from itrialspace_assets.index import build as index_build
from itrialspace_assets.index.query import open_index
from itrialspace_assets.profiles import build as profiles_build
from itrialspace_assets.profiles.registry import datasets

MILLION = 1_000_000
SPACES = (NeighbourSearch("weighted"), NeighbourSearch("feature_l2"), NeighbourSearch("embedding", layout="PCA_2D"))


def seconds(call: Callable[..., object], *given: object) -> float:
    started = time.process_time()
    call(*given)
    return time.process_time() - started


def p95(calls: list[float]) -> str:
    return f"median {1000 * statistics.median(calls):7.1f} ms, p95 {1000 * float(np.quantile(calls, 0.95)):7.1f} ms"


def peak() -> int:
    """Greatest memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def neighbours(seen: NoduleMap, count: int) -> None:
    """Ten neighbours of ``count`` nodules in every space, plain and balanced."""
    rows = np.random.default_rng(1).integers(0, seen.nodules.height, count)
    for search in SPACES:
        for reach in (Reach(), Reach(balance=True)):
            seen.neighbours(0, 10, search, reach)
            times = [seconds(seen.neighbours, int(r), 10, search, reach) for r in rows]
            print(f"  10 neighbours, {search.space:10} {'balanced' if reach.balance else 'plain':9} {p95(times)}")


def baseline(seen: NoduleMap) -> None:
    """scikit-learn's brute-force search over all nodules, beside our edges."""
    from sklearn.neighbors import NearestNeighbors

    for search in SPACES:
        space = seen.space(search)
        fresh = NoduleMap(seen.settings, seen.nodules)
        ours = seconds(fresh.edges, 10, "closest", "all_datasets", search)
        found = NearestNeighbors(n_neighbors=11, algorithm="brute", metric=space.metric).fit(space.points)
        theirs = seconds(found.kneighbors, space.points)
        print(f"  edges, k = 10, {search.space:10} ours {ours:6.2f} s, scikit-learn {theirs:6.2f} s")


def paper(slow: bool) -> pl.DataFrame:
    """The index of the published size; its nodules."""
    folder = Path(tempfile.mkdtemp())
    settings = load_settings(data_dir=folder / "data", output_dir=folder / "out", workers=1)
    write_root(settings.data)
    for name in datasets(settings):
        profiles_build.build(settings, {"dataset": name})
    index_build.build(settings, {})
    nodules = open_index(settings).nodules
    print(f"{nodules.height} nodules")
    seen = NoduleMap(settings, Held(nodules))
    print(f"  features core {seconds(lambda: seen.features('reinsertion_core')):.2f} s", end="")
    print(f", core_53 {seconds(lambda: seen.features('core_53')):.2f} s")
    matrix = seen.features("reinsertion_core").matrix
    for one in PRESETS.values():
        if one.algorithm == "pca":
            print(f"  {one.name:8} {seconds(reduce, matrix, one):8.2f} s")
        elif slow:
            reduce(matrix[:200], one)  # compiled, imported
            print(f"  {one.name:8} {seconds(reduce, matrix, one):8.2f} s")
    neighbours(seen, 200)
    baseline(seen)
    print(f"  peak memory {peak()} MiB")
    shutil.rmtree(folder)
    return nodules


def million(nodules: pl.DataFrame) -> None:
    """One million nodules: those of the index drawn again with noise, and as many slices."""
    rng = np.random.default_rng(3)
    names = ("dataset", "person_uid", "reinsertion_lobe", "reinsertion_lung_side", "reinsertion_lung_zone")
    numbers = [c for c in nodules.columns if c.startswith("reinsertion_") and nodules.schema[c] == pl.Float64]
    many = nodules.select("nodule_uid", *names, *numbers)[rng.integers(0, nodules.height, MILLION)]
    noise = (pl.Series(c, rng.normal(1, 0.1, MILLION)) for c in numbers)
    many = many.with_columns(*(pl.col(s.name) * s for s in noise))
    uids = pl.concat_str("dataset", pl.lit("/n"), pl.int_range(pl.len()).cast(pl.String).str.zfill(7))
    many = many.with_columns(nodule_uid=uids).sort("nodule_uid").rechunk()
    seen = NoduleMap(load_settings(output_dir=Path(tempfile.gettempdir()) / "no-output"), Held(many))
    print(f"{MILLION} nodules; peak memory before {peak()} MiB")
    print(f"  features {seconds(lambda: seen.features('reinsertion_core')):.2f} s")
    print(f"  PCA_2D   {seconds(lambda: seen.layout('reinsertion_core', 'PCA_2D')):.2f} s (with the hash of its file)")
    points = seen.layout("reinsertion_core", "PCA_2D")
    streamed = seconds(lambda: arrow(pl.DataFrame({"x": points[:, 0], "y": points[:, 1]})))
    print(f"  as Arrow {streamed:.3f} s")
    neighbours(seen, 20)
    shown = pl.DataFrame(
        {
            **{c: rng.gamma(2, 8, MILLION) for c in ("diameter_mm", "area_mm2", "pleural_mm")},
            **{c: rng.normal(500, 100, MILLION) for c in ("contrast_hu", "cc_pct", "ml_pct", "ap_pct")},
            "lobe": rng.choice(LOBES, MILLION),
        }
    )
    print(f"  places of {MILLION} slices {seconds(lambda: place(shown)):.2f} s")
    print(f"  peak memory {peak()} MiB")


def main() -> None:
    model = next((x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")), "")
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {model.partition(':')[2].strip()}"
    print(f"{machine}; load {os.getloadavg()[0]:.1f}")
    million(paper("--slow" in sys.argv))


if __name__ == "__main__":
    main()
