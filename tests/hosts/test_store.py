"""Hosts are nodule-free and canonical; donors keep their voxels; a bad scan is rejected alone."""

from pathlib import Path

import numpy as np
import pytest

from itrialspace_assets.base.errors import CaseRejected
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.casework import steps
from itrialspace_assets.hosts import build as hosts
from itrialspace_assets.hosts.paths import map_path
from itrialspace_assets.hosts.shapes import describe
from itrialspace_assets.hosts.store import clear_nodules, content_hash
from itrialspace_assets.imaging.anatomy import NODULE
from itrialspace_assets.imaging.geometry import Volume, read_labels, read_volume
from itrialspace_assets.imaging.lesions import Lesion, pack_bits, unpack_bits
from itrialspace_assets.profiles import build as profiles
from itrialspace_assets.profiles.masks import find_lesion
from itrialspace_assets.profiles.measure import nodules_in
from itrialspace_assets.profiles.registry import dataset
from itrialspace_assets.records.schema import Table
from itrialspace_assets.records.store import read_table
from itrialspace_assets.records.tables import TABLES

from ..conftest import change, small_chest


def test_a_nodule_on_a_fissure_is_divided_as_the_fissure_runs() -> None:
    before = small_chest()
    chest = Volume(before.array.copy(), before.affine)
    chest.array[26:30, 14:18, 13:19] = NODULE  # the fissure lies between z = 15 and 16
    free, cleared = clear_nodules(chest)
    np.testing.assert_array_equal(free.array, before.array)
    assert cleared is not None
    assert cleared.sum() == 4 * 4 * 6


def test_bits_travel_as_text() -> None:
    mask = np.random.default_rng(0).random((5, 3, 7)) > 0.6
    back = unpack_bits(pack_bits(Lesion((2, 4, 6), mask)))
    assert back.offset == (2, 4, 6)
    np.testing.assert_array_equal(back.mask, mask)
    with pytest.raises(ValueError, match="packed lesion"):
        unpack_bits("[1,2]")


def test_a_ball_is_rounder_than_a_rod() -> None:
    x, y, z = np.ogrid[-8:9, -8:9, -8:9]
    ball = Lesion((0, 0, 0), x**2 + y**2 + z**2 <= 49)
    rod = Lesion((0, 0, 0), np.ones((17, 3, 3), bool))
    round_, long_ = (describe(x.mask, np.ones(3)) for x in (ball, rod))
    assert round_["sphericity"] > 0.9 > long_["sphericity"]
    assert (round_["elongation"], long_["elongation"]) == (pytest.approx(1), pytest.approx(17 / 3, abs=1e-4))
    assert long_["solidity"] == pytest.approx(1)
    assert long_["longest_mm"] == pytest.approx(np.sqrt(17**2 + 3**2 + 3**2), abs=1e-3)


def test_the_store_holds_what_the_tables_say(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    profiles.build(settings, {"dataset": "DLCS24"})
    result = hosts.build(settings, {"dataset": "DLCS24"}, "run")
    assert (result.rejected, result.tables["host_lobes"]) == (0, 10)
    entry = dataset(settings, "DLCS24")
    donors = read_table(settings.output, "donors", dataset="DLCS24")
    for host in read_table(settings.output, "hosts", dataset="DLCS24").iter_rows(named=True):
        free = read_labels(map_path(settings.output, host["map_sha256"]))
        assert content_hash(free) == host["map_sha256"]
        assert not (free.array == NODULE).any()
        native = read_labels(entry.organ_map(settings.data, host["scan_uid"].split("/")[1]))
        np.testing.assert_array_equal(free.array[native.array != NODULE], native.array[native.array != NODULE])
    for donor in donors.iter_rows(named=True):
        scan, annotation = donor["scan_uid"].split("/")[1], donor["nodule_uid"].split("/")[1]
        mask = read_volume(entry.nodule_mask(settings.data, scan, annotation)).array > 0
        lesion = unpack_bits(donor["lesion"])
        np.testing.assert_array_equal(np.argwhere(mask), lesion.indices)
    reads = {"profiles|DLCS24": "as they were"}
    steps.record(settings, hosts.STEP, {"dataset": "DLCS24"}, reads, result)
    assert steps.is_current(settings, hosts.STEP, {"dataset": "DLCS24"}, reads)
    old = TABLES["donors"]
    changed = Table(old.name, old.description, old.partition, old.key, old.columns[:-1])
    monkeypatch.setitem(TABLES, "donors", changed)  # type: ignore[arg-type]
    assert not steps.is_current(settings, hosts.STEP, {"dataset": "DLCS24"}, reads), "accepted under another contract"


def test_a_truncated_mask_is_rejected_and_the_others_go_on(own_root: Path, tmp_path: Path) -> None:
    settings = load_settings(data_dir=own_root, output_dir=tmp_path / "out", workers=2)
    profiles.build(settings, {"dataset": "LUNA25"})
    bad = own_root / "masks/LUNA25/refined_seg/DEMO_LUNA25_0001_seg.nii.gz"
    change(bad, bad.read_bytes()[: bad.stat().st_size // 2])
    result = hosts.build(settings, {"dataset": "LUNA25"}, "run")
    assert (result.tables["hosts"], result.rejected) == (1, 1)
    (row,) = read_table(settings.output, "rejected_cases", stage="hosts", partition="LUNA25").to_dicts()
    assert (row["case_uid"], row["reason"]) == ("LUNA25/DEMO_LUNA25_0001", "unreadable_volume")
    assert str(own_root) not in row["detail"]


def test_a_nodule_without_voxels_is_rejected_alone(own_root: Path, tmp_path: Path) -> None:
    settings = load_settings(data_dir=own_root, output_dir=tmp_path / "out", workers=1)
    profiles.build(settings, {"dataset": "DLCS24"})
    mask = own_root / "masks/DLCS24/nodule_seg/DEMO_DLCS24_0002_N1.nii.gz"
    change(mask, b"")
    result = hosts.build(settings, {"dataset": "DLCS24"}, "run")
    assert result.tables["hosts"] == 2
    assert result.tables["donors"] == 2
    assert result.rejected == 1


def test_a_donor_without_a_mask_of_its_own_is_the_component_at_its_centre(tmp_path: Path) -> None:
    chest = small_chest()
    chest.array[23:34, 10:21, 5:7] = NODULE  # a large ring-like neighbour whose box holds the small one
    chest.array[26:31, 13:18, 5:7] = 32
    chest.array[28:30, 15:17, 5:7] = NODULE
    native = nodules_in(chest)
    assert [int(n.mask.sum()) for n in native] == [2 * (11 * 11 - 25), 8]
    found, source = find_lesion(chest, tmp_path / "none.nii.gz", [28.5, 15.5, 5.5], native, "row 0")
    assert (int(found.mask.sum()), source) == (8, "organ_map")
    with pytest.raises(CaseRejected):
        find_lesion(chest, tmp_path / "none.nii.gz", [8, 12, 22], native, "row 1")


def test_a_centre_outside_the_volume_is_named_with_its_row(tmp_path: Path) -> None:
    chest = small_chest()
    with pytest.raises(CaseRejected, match=r"bad_position: row 17: expected a centre within \(.*\) mm, got \(45\.0, "):
        find_lesion(chest, tmp_path / "none.nii.gz", [50.0, 10.0, 10.0], [], "row 17")
