"""A DICOM series in place of a NIfTI file: the same volume, the same slices of the real arm; what is wrong with it is
said."""

from pathlib import Path

import numpy as np
import pytest

import itrialspace_assets.hosts.build as hosts
import itrialspace_assets.index.build as index
import itrialspace_assets.profiles.build as profiles
import itrialspace_assets.slices.build as slicing
from itrialspace_assets.base.errors import CaseRejected
from itrialspace_assets.base.fingerprints import FileHashes
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.imaging.dicom import ct_series
from itrialspace_assets.imaging.geometry import Volume, read_volume
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.profiles.cts import ct_hash, ct_source, real_ct
from itrialspace_assets.records.store import read_all

from ..conftest import small_chest


def as_series(file: Path) -> Path:
    """The CT of a file as a DICOM series in the folder of its name, the file gone."""
    folder = file.with_name(file.name.removesuffix(".nii.gz"))
    folder.mkdir()
    for name, data in ct_series(read_volume(file), "image", "frame", "P1", "test"):
        (folder / name).write_bytes(data)
    file.unlink()
    return folder


def chest_ct(data: Path) -> Path:
    labels = small_chest()
    ct = np.random.default_rng(0).integers(-1000, 900, labels.array.shape).astype(np.int16)
    path = data / "raw_ct/MINE/s1.nii.gz"
    write_volume(path, Volume(np.asfortranarray(ct), labels.affine))
    return path


def test_a_series_is_the_volume_that_the_file_was(tmp_path: Path) -> None:
    """Asymmetric numbers on an asymmetric grid: a flipped axis would show."""
    path = chest_ct(tmp_path)
    wanted = real_ct(tmp_path, "MINE/s1.nii.gz")
    folder = as_series(path)
    found = real_ct(tmp_path, "MINE/s1.nii.gz")
    np.testing.assert_array_equal(found.array, wanted.array)
    np.testing.assert_allclose(found.affine, wanted.affine, atol=1e-5)
    assert ct_source(tmp_path, "MINE/s1.nii.gz") == folder


def test_hashes_follow_the_slices_and_nothing_has_none(tmp_path: Path) -> None:
    folder = as_series(chest_ct(tmp_path))
    with FileHashes(tmp_path / "h.sqlite") as hashes:
        first = ct_hash(hashes, tmp_path, "MINE/s1.nii.gz")
        assert first == ct_hash(hashes, tmp_path, "MINE/s1.nii.gz")
        one = sorted(folder.iterdir())[3]
        one.write_bytes(one.read_bytes() + b" ")
        assert ct_hash(hashes, tmp_path, "MINE/s1.nii.gz") not in (first, None)
        assert ct_hash(hashes, tmp_path, "MINE/none.nii.gz") is None


def test_a_missing_slice_is_named(tmp_path: Path) -> None:
    folder = as_series(chest_ct(tmp_path))
    sorted(folder.iterdir())[7].unlink()
    with pytest.raises(CaseRejected, match="a slice is missing or there twice"):
        real_ct(tmp_path, "MINE/s1.nii.gz")
    with pytest.raises(CaseRejected, match="found none"):
        real_ct(tmp_path, "MINE/s2.nii.gz")


@pytest.mark.slow
def test_the_real_arm_cuts_the_same_slices_from_a_series(own_root: Path, tmp_path: Path) -> None:
    cut = []
    for kind in ("file", "series"):
        if kind == "series":
            for file in sorted((own_root / "raw_ct/LUNA25").glob("*.nii.gz")):
                as_series(file)
        settings = load_settings(data_dir=own_root, output_dir=tmp_path / kind, workers=1)
        profiles.build(settings, {"dataset": "LUNA25"})
        hosts.build(settings, {"dataset": "LUNA25"}, "r")
        index.build(settings, {})
        made = slicing.build(settings, "real", {"dataset": "LUNA25"}, "r")
        assert made.rejected == 0 and made.tables["slices"] > 0
        assert read_all(settings.output, "nodules")["has_ct"].all()
        cut.append(read_all(settings.output, "slices").sort("case_uid", "presence", "condition"))
    for column in ("sha256", "slice_z", "pixel_x_mm", "target_pixels"):
        assert cut[0][column].to_list() == cut[1][column].to_list(), column
