"""Time to measure all profiles of a 512x512x256 map, against reading it and one nearest-distance pass on crops.

The baseline is the least that any measuring must do: read the map, and one exact distance transform on a crop of
40 mm around each nodule. Peak memory is measured in a process of its own.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import edt
import numpy as np

from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.demo.phantom import draw_anatomy, draw_body
from itrialspace_assets.imaging.anatomy import NODULE
from itrialspace_assets.imaging.geometry import Volume, box_around, read_labels
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.profiles.case import MeasureCase
from itrialspace_assets.profiles.masks import measure_case
from itrialspace_assets.profiles.measure import INSIDE_LUNG, nodules_in

REPEATS = 5


def make(path: Path) -> None:
    """A procedural chest on 512x512x256 with four nodules, written as float32 like the published maps."""
    rng = np.random.default_rng(3)
    spacing = np.array([0.7, 0.7, 1.25])
    anatomy = draw_anatomy(draw_body(rng), rng, spacing)
    labels = np.zeros((512, 512, 256), np.uint8)
    corner = [min(a, b) for a, b in zip(anatomy.array.shape, labels.shape, strict=True)]
    labels[: corner[0], : corner[1], : corner[2]] = anatomy.array[: corner[0], : corner[1], : corner[2]]
    for lobe, radius in ((28, 6), (30, 4), (32, 8), (29, 3)):
        at = np.argwhere(labels == lobe)
        middle = at[len(at) // 2]
        box = box_around(middle, radius, labels.shape)
        grid = np.ogrid[box]
        labels[box][sum((g - m) ** 2 for g, m in zip(grid, middle, strict=True)) <= radius**2] = NODULE
    write_volume(path, Volume(labels.astype(np.float32), np.diag([*spacing, 1.0])))


def ours(path: Path) -> int:
    return len(measure_case(MeasureCase(ct_id="x", organ=path), load_settings()).rows["measured"])


def baseline(path: Path) -> None:
    labels = read_labels(path)
    for lesion in nodules_in(labels):
        box = box_around(lesion.centroid, np.ceil(40 / labels.spacing), labels.array.shape)
        edt.edt(np.isin(labels.array[box], INSIDE_LUNG), anisotropy=tuple(labels.spacing))


def main() -> None:
    if len(sys.argv) > 1:  # a process of its own, for its peak memory
        ours(Path(sys.argv[1]))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x_seg.nii.gz"
        make(path)
        count = ours(path)
        times: dict[str, list[float]] = {"ours": [], "baseline": []}
        for _ in range(REPEATS):
            for name, call in (("ours", ours), ("baseline", baseline)):
                started = time.perf_counter()
                call(path)
                times[name].append(time.perf_counter() - started)
        peak = subprocess.run(
            [sys.executable, __file__, str(path)], check=True, capture_output=True, text=True
        ).stdout.strip()
    a, b = (statistics.median(times[n]) for n in ("ours", "baseline"))
    print(f"512x512x256 float32 map, {count} nodules, medians of {REPEATS} in turn")
    print(f"ours {a:.2f} s, read + one distance pass {b:.2f} s, ratio {a / b:.2f}; peak memory {peak} MiB")


if __name__ == "__main__":
    main()
