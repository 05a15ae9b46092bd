"""An exported cohort: read back by our own intake it is what was rendered, and what must not leave is refused."""

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pydicom
import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.care.cohort import ExportedCohort, cohort, export
from itrialspace_assets.imaging.anatomy import NODULE
from itrialspace_assets.imaging.geometry import read_volume
from itrialspace_assets.imaging.lesions import unpack_bits
from itrialspace_assets.profiles.dicom.regions import RegionChoice
from itrialspace_assets.profiles.dicom.seg import read_seg
from itrialspace_assets.profiles.dicom.series import read_ct_series
from itrialspace_assets.records.store import read_table, write_table
from itrialspace_assets.synthesis import build
from itrialspace_assets.synthesis.images import open_ct
from tests.synthesis.test_build import PAIR
from tests.synthesis.test_build import store as _store  # a fixture of three inserted cases

store = _store


@pytest.fixture
def rendered(store: Settings) -> Settings:
    for key in build.plan(store, "tissue", PAIR, "r"):
        build.work(store, "tissue", PAIR, "r", key)
    build.collect(store, "tissue", PAIR, "r")
    manifest = store.output / "manifests" / "x_t" / "a.csv"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("case_id\n")
    return store


def written(settings: Settings, to: Path, how: str) -> ExportedCohort:
    found = cohort(settings, ["x_t"], "tissue")
    assert export(settings, found, to, how, lambda n: None) == 3
    return found


def sums(folder: Path) -> dict[str, str]:
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != "SHA256SUMS")
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.slow  # highdicom is loaded
def test_dicom_comes_back_with_its_voxels_its_place_and_its_truth(rendered: Settings, tmp_path: Path) -> None:
    to = tmp_path / "cohort"
    found = written(rendered, to, "dicom")
    for ct in found.cts.iter_rows(named=True):
        name = ct["case_uid"].replace("/", "_")
        original, (volume, identity) = open_ct(rendered, ct), read_ct_series(to / "ct" / name)
        assert not ct["is_lesion_free"]
        assert np.array_equal(volume.array, np.rint(original.array))
        assert np.allclose(volume.affine, original.affine, atol=1e-5)
        truth = found.insertions.row(by_predicate=pl.col("case_uid") == ct["case_uid"], named=True)
        ((_, lesion),) = read_seg(to / "seg" / f"{name}.dcm", volume, identity, RegionChoice()).lesions
        planned = unpack_bits(truth["lesion"])
        assert lesion.box == planned.box
        assert np.array_equal(lesion.mask, planned.mask)
        report = pydicom.dcmread(to / "truth" / f"{name}.dcm")
        assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
        numbers = [
            float(i.MeasuredValueSequence[0].NumericValue) for i in _items(report) if "MeasuredValueSequence" in i
        ]
        assert numbers == pytest.approx([truth["diameter_mm"], truth["volume_mm3"]])
        segments = [i.ReferencedSOPSequence[0] for i in _items(report) if "ReferencedSOPSequence" in i]
        seg = pydicom.dcmread(to / "seg" / f"{name}.dcm", stop_before_pixels=True)
        assert {s.ReferencedSOPInstanceUID for s in segments} == {seg.SOPInstanceUID}
        one = pydicom.dcmread(to / "ct" / name / "0001.dcm", stop_before_pixels=True)
        assert list(one.ImageType[:2]) == ["DERIVED", "SECONDARY"]
        for part in (one, report):
            assert "synthetic, rendered by tissue" in part.SeriesDescription
    again = tmp_path / "again"
    written(rendered, again, "dicom")
    assert sums(again) == sums(to), "equal cohorts have equal bytes"


def _items(item: pydicom.Dataset) -> list[pydicom.Dataset]:
    return [inner for child in item.get("ContentSequence", []) for inner in (child, *_items(child))]


def test_nifti_comes_back_and_every_file_has_its_hash(rendered: Settings, tmp_path: Path) -> None:
    to = tmp_path / "cohort"
    found = written(rendered, to, "nifti")
    for ct in found.cts.iter_rows(named=True):
        name = ct["case_uid"].replace("/", "_")
        original, volume = open_ct(rendered, ct), read_volume(to / "ct" / f"{name}.nii.gz")
        assert np.array_equal(volume.array, original.array)
        assert np.allclose(volume.affine, original.affine)
        truth = found.insertions.row(by_predicate=pl.col("case_uid") == ct["case_uid"], named=True)
        labels = read_volume(to / "seg" / f"{name}.nii.gz").array
        assert np.count_nonzero(labels == NODULE) == np.count_nonzero(unpack_bits(truth["lesion"]).mask)
    listed = dict(line.split("  ")[::-1] for line in (to / "SHA256SUMS").read_text().splitlines())
    assert listed == sums(to)
    assert {"TERMS.md", "truth.csv", "manifests/x_t/a.csv"} <= listed.keys()
    with pytest.raises(ConfigError, match="expected an empty folder"):
        export(rendered, found, to, "nifti", lambda n: None)


def test_what_must_not_leave_is_refused_by_name(rendered: Settings) -> None:
    with pytest.raises(ConfigError, match="real pixels are never exported"):
        cohort(rendered, ["x_t"], "real")
    rows = read_table(rendered.output, "insertions", **PAIR)
    for donor, said in (
        ("DLCS24/a", r"got D \(terms not stated\), DLCS24 \(CC BY-NC-ND 4\.0\);"),
        ("LUNA16/a", "got D "),
    ):
        changed = rows.with_columns(anatomy=pl.lit("real"), donor_nodule_uid=pl.lit(donor))
        write_table(rendered.output, "insertions", changed, **PAIR)
        with pytest.raises(ConfigError, match=said) as refused:
            cohort(rendered, ["x_t"], "tissue")
        assert "LUNA16" not in str(refused.value), "its terms allow it"
