"""The clearance map of a host against brute force over every voxel of an asymmetric chest."""

from pathlib import Path

import numpy as np
import pytest

from itrialspace_assets.base.errors import TableError
from itrialspace_assets.hosts.clearance import lobe_distance, measure_clearance, read_clearance, write_clearance
from itrialspace_assets.hosts.depth import lung_depth
from itrialspace_assets.imaging.anatomy import LUNG
from itrialspace_assets.imaging.geometry import Box

from ..insertion.shapes import chest_with_specks

LUNGS: Box = (slice(5, 37), slice(8, 32), slice(4, 28))


def nearest(labels: np.ndarray, spacing: np.ndarray, wrong: np.ndarray) -> float:
    points = np.argwhere(wrong)
    return float(np.sqrt((((points - labels) * spacing) ** 2).sum(axis=1)).min())


def test_every_distance_is_that_of_brute_force(tmp_path: Path) -> None:
    chest = chest_with_specks()
    depth = lung_depth(chest, LUNGS).array
    write_clearance(tmp_path / "c.npz", measure_clearance(chest, LUNGS, depth, lobe_distance(chest, LUNGS)))
    clearance = read_clearance(tmp_path / "c.npz")
    labels, step = chest.array, chest.spacing
    inside = np.isin(labels, LUNG)
    assert set(clearance.label) == set(np.unique(labels[inside])) - {32} | {32}
    np.testing.assert_array_equal(labels[tuple(clearance.voxel.T)], clearance.label)
    assert len(clearance.voxel) > 400
    for i in range(0, len(clearance.voxel), 7):
        at = clearance.voxel[i]
        for got, wrong in (
            (clearance.free, ~inside),
            (clearance.own, labels != clearance.label[i]),
            (clearance.airway, labels == 57),
        ):
            want = nearest(at, step, wrong)
            assert want - 0.25 - 1e-4 <= got[i] <= want + 1e-4
        outline = nearest(at, step, ~np.isin(labels, [*LUNG, 132, 119, 23]))
        assert outline - 0.25 - 1e-4 <= clearance.pleura[i] <= outline + 1e-4


def test_a_host_without_an_airway_is_infinitely_far_from_one(tmp_path: Path) -> None:
    chest = chest_with_specks()
    chest.array[chest.array == 57] = 200
    depth = lung_depth(chest, LUNGS).array
    write_clearance(tmp_path / "c.npz", measure_clearance(chest, LUNGS, depth, lobe_distance(chest, LUNGS)))
    assert np.isinf(read_clearance(tmp_path / "c.npz").airway).all()


@pytest.mark.parametrize("data", [None, b"", b"PK\x03\x04 cut off"])
def test_a_missing_or_damaged_file_names_itself_and_the_stage(tmp_path: Path, data: bytes | None) -> None:
    if data is not None:
        (tmp_path / "c.npz").write_bytes(data)
    with pytest.raises(TableError, match=r"c\.npz: expected the clearance map of a host .* run the stage hosts again"):
        read_clearance(tmp_path / "c.npz")
