"""Images of a case: the twin is rendered once, a lesion's file is the twin's but for what the lesion changed."""

import io
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image

from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.casework.cases import payload_hash
from itrialspace_assets.hosts.store import prepare_host
from itrialspace_assets.imaging.dicom import ct_series
from itrialspace_assets.imaging.geometry import Volume, read_volume
from itrialspace_assets.imaging.lesions import Lesion, pack_bits
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.records.tables import TABLES
from itrialspace_assets.synthesis import rendering, sheet
from itrialspace_assets.synthesis.acquisition import STANDARD, ScanAcquisition
from itrialspace_assets.synthesis.case import RenderCase
from itrialspace_assets.synthesis.images import image_path, open_ct
from itrialspace_assets.synthesis.rendering import render_case
from itrialspace_assets.synthesis.rows import CtRow, FidelityRow, HostOverlapRow, NoduleFidelityRow

from ..conftest import small_chest
from ..insertion.shapes import ball


@pytest.fixture
def small_members(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members of four slices, so that a small lesion leaves most of a small file alone."""
    monkeypatch.setattr("itrialspace_assets.imaging.geometry._SLAB_BYTES", 4 * 40 * 36 * 2)


def case_of(map_sha256: str, lesion: Lesion, attenuation: str, acquisition: ScanAcquisition) -> RenderCase:
    return RenderCase(
        case_uid="t/a/00000",
        source="tissue",
        mode="x_t",
        dataset="D",
        map_sha256=map_sha256,
        lesions=(pack_bits(lesion),),
        anatomy="procedural",
        attenuation=attenuation,
        acquisition=acquisition,
        seed=42,
    )


def rendered(
    out: Path, cts: str = "nifti", attenuation: str = "solid", acquisition: ScanAcquisition = STANDARD
) -> tuple[Any, list[dict[str, Any]]]:
    settings = load_settings(data_dir=out, output_dir=out / cts, cts=cts, workers=1)
    made = prepare_host(settings, small_chest(), "D/s", "procedural")
    lesion = Lesion((25, 14, 6), ball(5, tuple(small_chest().spacing)))
    case = case_of(made.columns["map_sha256"], lesion, attenuation, acquisition)
    rendering._TWINS.clear()
    return settings, render_case(case, settings).rows["cts"]


@pytest.mark.parametrize("acquisition", [STANDARD, ScanAcquisition(0.3, 0.25, 7.5)])
def test_a_case_comes_back_from_json_as_it_was(acquisition: ScanAcquisition) -> None:
    case = case_of("m", Lesion((1, 2, 3), np.ones((2, 2, 1), bool)), "solid", acquisition)
    again = RenderCase.model_validate(json.loads(json.dumps(case.model_dump(mode="json"))))
    assert again == case
    assert again.acquisition.name == acquisition.name
    assert payload_hash(["1"], again) == payload_hash(["1"], case)


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("cts", CtRow),
        ("fidelity", FidelityRow),
        ("host_overlaps", HostOverlapRow),
        ("nodule_fidelity", NoduleFidelityRow),
    ],
)
def test_a_row_has_the_columns_of_its_table(table: str, row: type) -> None:
    assert {f.name for f in fields(row)} == set(TABLES[table].schema)


@pytest.mark.usefixtures("small_members")
def test_a_file_put_together_from_parts_is_the_file_written_whole(tmp_path: Path) -> None:
    settings, (with_lesion, free) = rendered(tmp_path)
    ct, twin = open_ct(settings, with_lesion), open_ct(settings, free)
    write_volume(
        tmp_path / "whole.nii.gz",
        Volume(ct.array, ct.affine),
        "rendered by tissue; procedural anatomy; not a clinical image",
    )
    assert (settings.output / with_lesion["path"]).read_bytes() == (tmp_path / "whole.nii.gz").read_bytes()
    changed = np.argwhere(ct.array != twin.array)
    assert len(changed)
    assert np.ptp(changed, axis=0).max() < 16
    for row, volume in ((with_lesion, ct), (free, twin)):
        assert (row["low_hu"], row["high_hu"]) == (volume.array.min(), volume.array.max())
    assert with_lesion["lesion_hu"] > with_lesion["background_hu"] + 400


@pytest.mark.usefixtures("small_members")
def test_patches_and_whole_files_open_alike(tmp_path: Path) -> None:
    whole, patch = rendered(tmp_path), rendered(tmp_path, "delta")
    assert (whole[1][0]["kept"], patch[1][0]["kept"]) == ("nifti", "patch")
    np.testing.assert_array_equal(open_ct(whole[0], whole[1][0]).array, open_ct(patch[0], patch[1][0]).array)
    for name in ("low_hu", "high_hu", "lesion_hu", "background_hu", "image_uid"):
        assert whole[1][0][name] == patch[1][0][name], name


def test_a_damaged_twin_is_made_anew_to_the_same_bytes(tmp_path: Path) -> None:
    settings, (_, free) = rendered(tmp_path)
    path = settings.output / free["path"]
    data = path.read_bytes()
    path.write_bytes(data[:100])
    rendered(tmp_path)
    assert path.read_bytes() == data
    assert read_volume(path).array.dtype == np.int16


def test_a_dicom_series_reads_back_with_equal_values_and_geometry(tmp_path: Path) -> None:
    """Read by SimpleITK, which knows nothing of how it was written; left is left in world coordinates."""
    settings, (row, _) = rendered(tmp_path)
    ct = open_ct(settings, row)
    files = ct_series(ct, row["image_uid"], "D/s", "P1", "synthetic, rendered by tissue; procedural anatomy")
    assert files == ct_series(ct, row["image_uid"], "D/s", "P1", "synthetic, rendered by tissue; procedural anatomy")
    for name, data in files:
        (tmp_path / name).write_bytes(data)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()
    assert image.GetSize() == ct.array.shape
    np.testing.assert_allclose(image.GetSpacing(), ct.spacing)
    array = sitk.GetArrayFromImage(image)  # z, y, x
    rng = np.random.default_rng(0)
    for ijk in rng.integers(0, ct.array.shape, (200, 3)):
        x, y, z = ct.to_world(ijk)
        at = image.TransformPhysicalPointToIndex((-x, -y, z))  # RAS to LPS
        assert array[at[2], at[1], at[0]] == ct.array[tuple(ijk)]
    first = pydicom.dcmread(tmp_path / files[0][0])
    assert (first.SyntheticData, first.PatientName) == ("YES", "Synthetic^Case")
    assert "rendered by tissue" in first.SeriesDescription
    assert len({pydicom.dcmread(tmp_path / n, stop_before_pixels=True).SOPInstanceUID for n, _ in files}) == len(files)


def test_another_attenuation_is_another_image_of_the_same_twin(tmp_path: Path) -> None:
    (solid, free), (glass, free_too) = rendered(tmp_path)[1], rendered(tmp_path, attenuation="ground_glass")[1]
    assert solid["image_uid"] != glass["image_uid"]
    assert free == free_too
    assert (solid["attenuation"], glass["attenuation"], free["attenuation"]) == ("solid", "ground_glass", None)
    assert solid["lesion_hu"] > glass["lesion_hu"] + 300


def test_another_acquisition_is_another_twin_and_lesion_image_on_the_same_grid(tmp_path: Path) -> None:
    how = ScanAcquisition(0.3, 0.25, 7.5)
    (lesion, free), (other, other_free) = rendered(tmp_path)[1], rendered(tmp_path, "delta", acquisition=how)[1]
    assert len({r["image_uid"] for r in (lesion, free, other, other_free)}) == 4
    assert (other["acquisition"], other["slice_mm"], free["slice_mm"]) == (
        "MTF50 0.3/mm, dose 0.25, 7.5 mm slices",
        7.5,
        None,
    )
    settings = load_settings(data_dir=tmp_path, output_dir=tmp_path / "delta", cts="delta")
    assert open_ct(settings, other).same_grid(open_ct(settings, other_free))
    assert other["lesion_hu"] < lesion["lesion_hu"], "a thick slice shows less of a small lesion"


def test_a_small_hazy_nodule_in_thick_slices_is_no_fault_of_the_renderer(tmp_path: Path) -> None:
    """The asked scan leaves little of it: that is what the trial is about, not a reason to reject it."""
    how = ScanAcquisition(0.2, 1.0, 20.0)
    settings = load_settings(data_dir=tmp_path, output_dir=tmp_path / "out", workers=1)
    made = prepare_host(settings, small_chest(), "D/s", "procedural")
    speck = Lesion((28, 16, 9), np.ones((2, 2, 1), bool))
    case = case_of(made.columns["map_sha256"], speck, "ground_glass", how)
    rendering._TWINS.clear()
    row = render_case(case, settings).rows["cts"][0]
    free = read_volume(settings.output / image_path("tissue", row["twin_uid"])).array[speck.box][speck.mask].mean()
    assert 0 < row["lesion_hu"] - free < 50


def test_the_hosts_ct_is_shown_on_its_own_grid_alone(tmp_path: Path) -> None:
    settings, (row, _) = rendered(tmp_path)
    sha = prepare_host(settings, small_chest(), "D/s", "procedural").columns["map_sha256"]
    about, lesion = row | {"host_map_sha256": sha}, Lesion((25, 14, 6), np.ones((2, 2, 2), bool))
    for number, spacing, shown in ((1, 1.0, True), (2, 2.0, False)):
        chest = small_chest()
        affine = chest.affine @ np.diag([1, 1, spacing, 1])
        write_volume(settings.data / f"raw_ct/D/s{number}.nii.gz", Volume(chest.array.astype(np.int16), affine))
        assert sheet._host_tile(settings, about | {"ct_path": f"D/s{number}.nii.gz"}, lesion).any() == shown
    assert not sheet._host_tile(settings, about | {"ct_path": "D/none.nii.gz"}, lesion).any()


def test_the_sheet_has_a_row_a_case_and_marks_what_it_shows(tmp_path: Path) -> None:
    """Host CT (none here: black), mask with the outline, CT, twin, difference: five tiles beside each other."""
    settings, rows = rendered(tmp_path)
    sha = prepare_host(settings, small_chest(), "D/s", "procedural").columns["map_sha256"]
    lesion = pack_bits(Lesion((25, 14, 6), ball(5, tuple(small_chest().spacing))))
    cts = pl.DataFrame([r | {"host_map_sha256": sha, "lesion": lesion, "ct_path": None} for r in rows])
    made = sheet.contact_sheet(settings, cts)
    assert made is not None
    picture = np.asarray(Image.open(io.BytesIO(made)).convert("RGB")).astype(int)
    tiles = np.split(picture[sheet._TEXT : sheet._TEXT + sheet._TILE], 5, axis=1)
    red = [(tile[..., 0] > tile[..., 1] + 60).any() for tile in tiles]
    assert red == [False, True, False, False, False]
    assert [tile.max() > 60 for tile in tiles] == [False, True, True, True, True]
    assert tiles[4].max() > 250, "the lesion is what differs"
    assert sheet.contact_sheet(settings, cts[1:]) is None, "a clean case alone"
