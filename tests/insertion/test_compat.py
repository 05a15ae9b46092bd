"""Compat positions against a plain whole-volume reading of docs/facts/insertion.md#published-placement.

On phantoms and real maps.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import KDTree

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.hosts.store import clear_nodules
from itrialspace_assets.imaging.geometry import Volume, read_labels
from itrialspace_assets.insertion.compat import find_position_compat, prepare_compat, target_of

from .shapes import ball, chest_with_specks

SIDES = {28: (28, 29), 29: (28, 29), 30: (30, 31, 32), 31: (30, 31, 32), 32: (30, 31, 32)}


@dataclass(frozen=True)
class Plain:
    """The published placement as it is written: whole volumes, no crops.

    The nearest voxel outside the lungs of one inside touches the lungs, so those that do are all that is asked.
    """

    labels: np.ndarray
    spacing: np.ndarray

    @cached_property
    def outside(self) -> KDTree:
        lung = (self.labels >= 28) & (self.labels <= 32)
        return KDTree(np.argwhere(ndimage.binary_dilation(lung) & ~lung) * self.spacing)

    def depth(self, points: np.ndarray) -> np.ndarray:
        """Distances (n,), mm, of voxels (n, 3) of the lungs to the nearest voxel outside of them."""
        return np.asarray(self.outside.query(points * self.spacing)[0])

    def target(self, label: int) -> np.ndarray:
        """Voxels (n, 3) of a lobe, else of its side, else of both lungs, in C order."""
        wanted = ((label,), SIDES[label], (28, 29, 30, 31, 32))
        return next(v for allowed in wanted if len(v := np.argwhere(np.isin(self.labels, allowed))))

    def position(self, voxels: np.ndarray, cc: float, ml: float, ap: float) -> tuple | None:
        """Where a nodule is put that is aimed at some voxels.

        Returns (ijk, snapped, distance to non-lung), or None where there is nothing to snap to.
        """
        slices = np.unique(voxels[:, 2])
        k = slices[round(min(100, max(0, cc)) / 100 * (len(slices) - 1))]
        slab = voxels[np.abs(voxels[:, 2] - k) <= 5]
        if 0 <= ml <= 100 and 0 <= ap <= 100:
            low, high = voxels.min(axis=0)[:2], voxels.max(axis=0)[:2]
            raw = low + np.array([ml, ap]) / 100 * (high - low)
        else:
            raw = slab[:, :2].mean(axis=0)
        i, j = slab[((slab[:, :2] - raw) ** 2).sum(axis=1).argmin()][:2]
        at, snapped = np.array([i, j, k]), False
        near = voxels[np.abs(voxels - at).max(axis=1) <= 25]
        square = ((near - at) ** 2).sum(axis=1)
        if not len(near) or square.min() > 25**2:
            return None
        if square.min() > 0:
            at, snapped = near[square.argmin()], True
        if self.depth(at[None])[0] < 2.0:
            cube = voxels[np.abs(voxels - at).max(axis=1) <= 15]
            depths = self.depth(cube)
            deep = cube[depths >= 2.0]
            if len(deep):
                at = deep[((deep - at) ** 2).sum(axis=1).argmin()]
            elif len(cube):
                at = cube[depths.argmax()]
        return tuple(int(v) for v in at), snapped, float(self.depth(at[None])[0])


def compare(host: Volume, asks: list[tuple], around: tuple[slice, ...] = (slice(None),) * 3) -> int:
    """Ask both for each position; the plain reading sees a part of the host that holds both lungs and their rim."""
    plain = Plain(np.ascontiguousarray(host.array[around]), host.spacing)
    offset = np.array([s.start or 0 for s in around])
    moved = 0
    for label, of_label in groupby(sorted(asks, key=itemgetter(0)), itemgetter(0)):
        target, voxels = target_of(host, label), plain.target(label)
        for _, cc, ml, ap in of_label:
            wanted = plain.position(voxels, cc, ml, ap)
            if wanted is None:
                with pytest.raises(CaseRejected, match="snap"):
                    find_position_compat(host, target, cc, ml, ap)
                continue
            found = find_position_compat(host, target, cc, ml, ap)
            assert (tuple(np.array(found.ijk) - offset), found.snapped) == wanted[:2], (label, cc, ml, ap)
            assert found.pleural_mm == pytest.approx(wanted[2], abs=1e-4)
            moved += found.snapped or bool(found.warnings)
    return moved


def asks(seed: int, n: int) -> list[tuple]:
    rng = np.random.default_rng(seed)
    inside = [(int(rng.integers(28, 33)), *rng.uniform(0, 100, 3)) for _ in range(n)]
    return [*inside, (32, 0, 0, 0), (28, 100, 100, 100), (30, -5, 50, 50), (29, 50, 140, 50), (31, 50, 3, -20)]


def test_a_phantom_with_specks_and_without_a_lobe_gives_the_same_positions() -> None:
    assert compare(chest_with_specks(), asks(0, 60))


def test_numbers_that_are_none_are_refused_rather_than_misplaced() -> None:
    host = chest_with_specks()
    with pytest.raises(CaseRejected) as nan:
        find_position_compat(host, target_of(host, 32), float("nan"), 10, 10)
    assert nan.value.reason is Reason.BAD_POSITION
    host.array[host.array >= 28] = np.where(host.array[host.array >= 28] <= 32, 0, host.array[host.array >= 28])
    with pytest.raises(CaseRejected) as bare:
        target_of(host, 32)
    assert bare.value.reason is Reason.NO_LOBE


def test_the_corner_aligned_zoom_misses_the_size_as_the_published_table_says() -> None:
    """docs/facts/insertion.md#published-placement: achieved over requested diameter of balls on the published grid."""
    spacing = np.array([0.703, 0.703, 1.25])
    host = Volume(np.zeros((90, 90, 60), np.uint8), np.diag([*spacing, 1.0]))
    for diameter, zoom, ratio in ((8, 0.75, 0.96), (12, 0.5, 0.98), (20, 0.9, 0.97), (12, 1.5, 1.00), (20, 1.25, 1.02)):
        donor = ball(diameter / 2, tuple(spacing))
        got = prepare_compat(donor, spacing, host, (45, 45, 30), zoom).mask.sum()
        asked = donor.sum() * zoom**3
        assert (got / asked) ** (1 / 3) == pytest.approx(ratio, abs=0.025)
    with pytest.raises(CaseRejected) as gone:
        prepare_compat(ball(2, tuple(spacing)), spacing, host, (45, 45, 30), 0.3)
    assert gone.value.reason is Reason.EMPTY_LESION


@pytest.mark.real
@pytest.mark.slow
def test_the_real_maps_give_the_same_positions(real_data: Path) -> None:
    for path in sorted((real_data / "masks").glob("*.nii.gz")):
        host, _ = clear_nodules(read_labels(path))
        (box,) = ndimage.find_objects(((host.array >= 28) & (host.array <= 32)).astype(np.uint8))
        assert compare(host, asks(1, 6), tuple(slice(max(0, s.start - 1), s.stop + 1) for s in box))
