"""Volumes of nodules and cases: the same whichever way images are kept, and what is said where they are not."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.base.errors import NotFound, TableError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.images.volumes import read, volumes_of
from itrialspace_assets.imaging.geometry import Volume, read_volume
from itrialspace_assets.imaging.lesions import unpack_bits
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.index import build as index
from itrialspace_assets.profiles import build as profiles
from itrialspace_assets.records.store import read_all, table_path, write_table
from itrialspace_assets.synthesis.images import image_path

from ..conftest import small_chest
from .small_case import PAIR, write_case


def keep_slices(settings: Settings, row: dict[str, Any], levels: slice) -> None:
    """Keep the CT of a row as some slices along z, as ITRIALSPACE_CTS=slices does of a renderer without patches."""
    whole = read_volume(settings.output / row["path"])
    path = image_path(row["source"], row["image_uid"], "planes")
    write_volume(settings.output / path, whole.crop((slice(0, 40), slice(0, 36), levels)))
    (settings.output / row["path"]).unlink()
    cts = read_all(settings.output, "cts").to_dicts()
    kept = [r | {"kept": "planes", "path": path} if r["image_uid"] == row["image_uid"] else r for r in cts]
    write_table(settings.output, "cts", kept, source="tissue", **PAIR)


def test_whole_files_patches_and_slices_give_the_same_volumes(tmp_path: Path) -> None:
    whole, got = None, {}
    for cts in ("nifti", "delta", "slices"):
        settings, uid = write_case(tmp_path / cts, "nifti" if cts == "slices" else cts)
        row = read_all(settings.output, "cts").filter(~pl.col("is_lesion_free")).row(0, named=True)
        if cts == "nifti":
            whole = read_volume(settings.output / row["path"])
        if cts == "slices":
            keep_slices(settings, row, slice(8, 13))
        entries = volumes_of(settings, uid, "case")
        assert [e.what for e in entries] == ["ct", "lesion_free", "difference", "host", "mask"]
        got[cts] = {e.what: read(settings, uid, "case", e.what) for e in entries}
        for entry in entries:
            volume = got[cts][entry.what]
            assert entry.shape == volume.array.shape
            assert np.allclose(entry.spacing, volume.spacing) and np.allclose(entry.origin, volume.affine[:3, 3])
            assert "PROCEDURAL" in entry.mark
            assert bool(entry.note) == (cts == "slices" and entry.what in ("ct", "difference"))
    for cts in ("nifti", "delta"):
        assert np.array_equal(got[cts]["ct"].array, whole.array)
        assert got[cts]["ct"].same_grid(whole)
    kept = got["slices"]["ct"]
    assert np.array_equal(kept.array, whole.array[..., 8:13])
    assert np.allclose(kept.affine[:3, 3], whole.to_world([0, 0, 8]))
    free = got["delta"]["lesion_free"].array
    for cts, levels in (("nifti", slice(0, 30)), ("delta", slice(0, 30)), ("slices", slice(8, 13))):
        wanted = whole.array[..., levels].astype(int) - free[..., levels]
        assert np.array_equal(got[cts]["difference"].array, wanted)
    lesion = unpack_bits(read_all(settings.output, "insertions")["lesion"][0])
    assert got["nifti"]["difference"].array[lesion.box][lesion.mask].mean() > 300
    mask = got["nifti"]["mask"].array
    assert mask.sum() == lesion.mask.sum() == mask[lesion.box][lesion.mask].sum()
    assert np.array_equal(got["nifti"]["host"].array, small_chest().array)


def test_a_case_of_a_host_with_a_real_ct_and_one_that_cannot_be_read(tmp_path: Path) -> None:
    settings, uid = write_case(tmp_path)
    real = Volume(small_chest().array.astype(np.int16) - 500, small_chest().affine)
    write_volume(settings.data / "raw_ct" / "D" / "s.nii.gz", real, orientation="SLP")
    assert volumes_of(settings, uid, "case")[-1].what == "real_ct"
    assert volumes_of(settings, uid, "case")[-1].shape == real.array.shape
    assert volumes_of(settings, uid, "case")[-1].spacing == (1.5, 2.0, 2.5)
    assert np.array_equal(read(settings, uid, "case", "real_ct").array, real.array)
    (settings.data / "raw_ct" / "D" / "s.nii.gz").write_bytes(b"no image")
    broken = volumes_of(settings, uid, "case")[-1]
    assert (broken.shape, broken.spacing) == (None, None)
    assert broken.note.startswith("s.nii.gz: expected a NIfTI file")
    assert str(settings.data) not in broken.note


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    settings, uid = write_case(tmp_path)
    with pytest.raises(NotFound, match=f"near: {uid}"):
        volumes_of(settings, uid[:-1] + "9", "case")
    with pytest.raises(NotFound, match="for example ct, lesion_free, difference"):
        read(settings, uid, "case", "../../etc/passwd")
    with pytest.raises(TableError, match="its run --only index"):
        volumes_of(settings, "D/n1", "nodule")
    table_path(settings.output, "cases", mode="x_t").unlink()
    with pytest.raises(TableError, match="make them with `its run`"):
        volumes_of(settings, uid, "case")


def test_a_nodule_has_its_scan_its_organs_and_itself(settings: Settings) -> None:
    profiles.build(settings, {"dataset": "LUNA16"})
    index.build(settings, {})
    row = read_all(settings.output, "nodules").row(0, named=True)
    uid = row["nodule_uid"]
    entries = volumes_of(settings, uid, "nodule")
    assert [e.what for e in entries] == ["real_ct", "host", "mask"]
    got = {e.what: read(settings, uid, "nodule", e.what) for e in entries}
    assert len({(e.shape, e.spacing) for e in entries}) == 1
    mask = got["mask"]
    assert mask.array.sum() * mask.voxel_mm3 == pytest.approx(row["nodule_vol_mm3"], rel=1e-3)
    centre = mask.to_world(np.argwhere(mask.array).mean(axis=0))
    assert centre == pytest.approx([row["coordX"], row["coordY"], row["coordZ"]], abs=0.01)
    assert set(got["host"].array[mask.array == 1]) == {23}
