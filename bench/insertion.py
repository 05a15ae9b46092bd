"""Placing and measuring one nodule: on crops as the platform does, against whole-volume transforms.

The baseline does what the original does for every nodule (spec 02, part E): a distance transform of
the whole lung union, the target's voxel list from the whole volume, hole filling on the whole grid.
"""

import statistics
import time

import numpy as np
from scipy import ndimage

from itrialspace_assets.anatomy import lung_mask
from itrialspace_assets.demo.phantom import draw_anatomy, draw_body
from itrialspace_assets.geometry import Volume
from itrialspace_assets.insertion.place import place
from itrialspace_assets.profiles.lobes import lobes_of
from itrialspace_assets.profiles.measure import pleural_distance

REPEATS = 5


def ours(host: Volume, ball: np.ndarray, wanted: np.ndarray) -> None:
    found = place(host, ball, 30, wanted)
    pleural_distance(host, found.lesion.centroid)


def baseline(host: Volume, ball: np.ndarray, wanted: np.ndarray) -> None:
    np.argwhere(host.array == 30)
    field = ndimage.distance_transform_edt(lung_mask(host.array), sampling=host.spacing)
    field[tuple(np.rint(wanted).astype(int))]
    whole = np.zeros(host.array.shape, bool)
    corner = np.rint(wanted).astype(int) - np.array(ball.shape) // 2
    whole[tuple(slice(c, c + n) for c, n in zip(corner, ball.shape, strict=True))] = ball
    ndimage.binary_fill_holes(whole)


def main() -> None:
    rng = np.random.default_rng(0)
    host = draw_anatomy(draw_body(rng), rng, np.array([1.36, 1.36, 1.75]))
    wanted = lobes_of(host.array)["right_lung_upper_lobe"].position(50, 50, 50)
    grid = np.meshgrid(*(np.arange(-6, 7) * s for s in host.spacing), indexing="ij")
    ball = sum(g**2 for g in grid) <= 5.0**2
    times: dict[str, list[float]] = {"ours": [], "baseline": []}
    for _ in range(REPEATS):
        for name, call in (("ours", ours), ("baseline", baseline)):
            started = time.perf_counter()
            call(host, ball, wanted)
            times[name].append(time.perf_counter() - started)
    middle = {name: statistics.median(values) for name, values in times.items()}
    print(f"host {host.array.shape}, nodule of 10 mm, {REPEATS} pairs")
    print(
        f"ours {middle['ours'] * 1000:.1f} ms, whole-volume baseline {middle['baseline'] * 1000:.1f} ms, ratio {middle['baseline'] / middle['ours']:.0f}"
    )


if __name__ == "__main__":
    main()
