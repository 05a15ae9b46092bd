"""The evaluation set of an image source in the published layout, from a table of two slices."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from itrialspace_assets.analysis.frozen import ListKey, freeze
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.imaging.anatomy import ANSWER_SIZES
from itrialspace_assets.records.layout import list_sha256
from itrialspace_assets.records.store import read_all, write_table
from itrialspace_assets.release.slice_sets import PlannedCase, RealFinding, slice_set, split_files


def slice_row(uid: str, condition: str, presence: str, **other: Any) -> dict[str, Any]:
    """A row of ``slices`` whose picture is ``store/<uid>_<condition>.png``."""
    return {
        "slice_uid": uid,
        "target_uid": f"{uid}_target",
        "condition": condition,
        "control": "none",
        "source": "tissue",
        "mode": "m02_size_detection_curve",
        "dataset": "LUNGx",
        "case_uid": "size/5_10mm/00001",
        "image_uid": "i",
        "published_id": f"mode2_size_detection_curve/size__C0001_{uid}",
        "path": f"store/{uid}_{condition}.png",
        "sha256": "s",
        "profile": "lung_axial",
        "affine": [0.0] * 12,
        "slice_z": 7,
        "z_offset": 0,
        "pixel_x_mm": 1.0,
        "pixel_y_mm": 1.0,
        "width": 8,
        "height": 8,
        "presence": presence,
        "target_pixels": 4,
        "guidance_site": "lesion",
        "guidance_covers_target": False,
        "pair_uid": "p",
        "paired": True,
        "other_lesions_in_slice": False,
        "host_person_uid": "LUNGx/h",
        "anatomy": "procedural",
    } | other


MODE = "m02_size_detection_curve"
CASE = PlannedCase(
    number=1,
    place="generated_cts_tissue/mode2_size_detection_curve/size/iTS--size--C0001--x",
    donor_dataset="DLCS24",
    insertion_mode="profile_faithful",
    population_type="screening",
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    truth = {"size_class": ANSWER_SIZES[1], "lobe": "left_lung_upper_lobe", "diameter_mm": 6.25}
    rows = [
        slice_row("a", "plain", "present", **truth),
        slice_row("a", "bbox", "present", **truth),
        slice_row("a", "contour_published", "present", **truth),
        slice_row("a", "bbox", "present", control="box_only", **truth),
        slice_row(
            "a2", "bbox", "present", z_offset=-1, published_id="mode2_size_detection_curve/size__C0001_a", **truth
        ),
        slice_row("b", "plain", "absent", negative_type="twin"),
        slice_row("gone", "plain", "present", case_uid="size/5_10mm/00009", **truth),
    ]
    write_table(tmp_path, "slices", rows, source="tissue", mode=MODE, dataset="LUNGx")
    for row in rows:
        path = tmp_path / row["path"]
        path.parent.mkdir(exist_ok=True)
        path.write_text(row["path"])
    return load_settings(data_dir=tmp_path / "data", output_dir=tmp_path)


def test_pictures_and_tables_of_a_rendered_source(settings: Settings) -> None:
    files = slice_set(settings, "tissue", "synthetic_tissue", {"size/5_10mm/00001": CASE})
    base = "vlm_dataset/synthetic_tissue/lung_axial"
    top = f"{base}/slices/mode2_size_detection_curve"
    assert (settings.output / f"{top}/bbox/size__C0001_a.png").read_text() == "store/a_bbox.png"
    assert set(files) == {
        f"{top}/size__C0001_a.png",
        f"{top}/bbox/size__C0001_a.png",
        f"{top}/bbox/size__C0001_a_z-1.png",
        f"{top}/size__C0001_b.png",
        f"{base}/eval_dataset.csv",
        f"{base}/eval_dataset_negatives.csv",
    }
    (row,) = csv.DictReader(io.StringIO((settings.output / f"{base}/eval_dataset.csv").read_text()))
    assert list(row)[:25] == PUBLISHED_SYNTHETIC
    assert (row["case_id"], row["trial_name"], row["mode"]) == ("1", "size", "mode2_size_detection_curve")
    assert (row["png_path"], row["png_bbox_path"], row["png_contour_path"]) == (
        f"{top}/size__C0001_a.png",
        f"{top}/bbox/size__C0001_a.png",
        "",
    )
    assert (row["ground_truth_lobe"], row["effective_diam_mm"]) == ("left_lung_upper_lobe", "6.25")
    assert row["ct_path"] == f"{CASE.place}/synthetic_ct.nii.gz"
    assert row["inserted_mask_path"] == (
        "inserted_masks/mode2_size_detection_curve/size/iTS--size--C0001--x_mask.nii.gz"
    )
    assert (row["donor_dataset"], row["population_type"]) == ("DLCS24", "screening")
    (absent,) = csv.DictReader(io.StringIO((settings.output / f"{base}/eval_dataset_negatives.csv").read_text()))
    assert (absent["slice_uid"], absent["ground_truth_lobe"], absent["effective_diam_mm"]) == ("b", "N/A", "")
    assert absent["ct_path"] == f"{CASE.place}/lesion_free_ct.nii.gz"


def test_cases_that_share_a_slice_each_have_their_row_and_their_files(tmp_path: Path) -> None:
    """Two cases of one mode, and one of another, whose target is the same."""
    places = {"c1": ("mode2_x", "a__C0001"), "c2": ("mode2_x", "b__C0001"), "c3": ("mode8_y", "a__C0001")}
    rows = [
        slice_row("s", condition, "present", case_uid=case, published_id="/".join(place), size_class=ANSWER_SIZES[1])
        for case, place in places.items()
        for condition in ("plain", "bbox")
    ]
    for row in rows:
        (tmp_path / row["path"]).parent.mkdir(exist_ok=True)
        (tmp_path / row["path"]).touch()
    write_table(tmp_path, "slices", rows, source="tissue", mode=MODE, dataset="LUNGx")
    slice_set(load_settings(output_dir=tmp_path), "tissue", "synthetic_tissue", dict.fromkeys(places, CASE))
    base = "vlm_dataset/synthetic_tissue/lung_axial"
    table = csv.DictReader(io.StringIO((tmp_path / f"{base}/eval_dataset.csv").read_text()))
    assert [(r["mode"], r["trial_name"], r["png_path"], r["png_bbox_path"]) for r in table] == [
        (mode, stem[0], f"{base}/slices/{mode}/{stem}.png", f"{base}/slices/{mode}/bbox/{stem}.png")
        for mode, stem in places.values()
    ]


#: docs/facts/evaluation.md: columns of ``eval_dataset.csv`` in order.
PUBLISHED_SYNTHETIC = [
    "case_id",
    "mode",
    "trial_name",
    "dataset_name",
    "donor_dataset",
    "ct_path",
    "input_mask_path",
    "inserted_mask_path",
    "png_path",
    "png_bbox_path",
    "png_contour_path",
    "png_bbox_contour_path",
    "slice_z",
    "slice_method",
    "preprocess_profile",
    "ground_truth_presence",
    "ground_truth_lobe",
    "ground_truth_size_bucket",
    "effective_diam_mm",
    "insertion_lobe",
    "label",
    "population_type",
    "insertion_mode",
    "image_source",
    "anatomy",
]
PUBLISHED_REAL = [
    "case_id",
    "dataset",
    "ct_path",
    "nodule_mask_path",
    "png_path",
    "png_bbox_path",
    "png_contour_path",
    "png_bbox_contour_path",
    "slice_z",
    "slice_method",
    "preprocess_profile",
    "ground_truth_presence",
    "ground_truth_lobe",
    "ground_truth_size_bucket",
    "nodule_mean_diam_mm",
    "lobe_name",
]


def test_the_real_set_has_columns_of_its_own(tmp_path: Path) -> None:
    row = slice_row("r", "plain", "present", case_uid="real/LUNGx/A-1", published_id="LUNGx/A-1") | {
        "source": "real",
        "mode": "real",
    }
    write_table(tmp_path, "slices", [row], source="real", mode="real", dataset="LUNGx")
    (tmp_path / "store").mkdir()
    (tmp_path / row["path"]).write_text("x")
    finding = RealFinding(
        annotation_id="A-1",
        ct_path="raw_ct/LUNGx/1.nii.gz",
        nodule_mask_path="masks/LUNGx/nodule_seg/A-1.nii.gz",
        nodule_mean_diam_mm=7.5,
        lobe_name="right_lung_lower_lobe",
    )
    found = load_settings(data_dir=tmp_path / "data", output_dir=tmp_path)
    slice_set(found, "real", "real", {"real/LUNGx/A-1": finding})
    (shown,) = csv.DictReader(io.StringIO((tmp_path / "vlm_dataset/real/lung_axial/eval_dataset.csv").read_text()))
    assert list(shown)[:16] == PUBLISHED_REAL
    assert (shown["case_id"], shown["nodule_mean_diam_mm"], shown["ground_truth_lobe"]) == ("A-1", "7.5", "N/A")


def test_a_source_without_slices_has_no_files(settings: Settings) -> None:
    assert slice_set(settings, "nodmaisi", "synthetic", {}) == {}


def test_published_lists_hold_positives_alone_and_stay_as_they_were_frozen(settings: Settings) -> None:
    """docs/facts/evaluation.md#frozen-lists: keys of an entry in their order, ids sorted, one a line."""
    slices = read_all(settings.output, "slices")
    key = ListKey("v1", "tissue", MODE)
    lock = freeze(settings, key, slices.filter(pl.col("slice_uid") != "gone"), "all", "for a test")
    files = split_files(settings)
    assert set(files) == {"vlm_dataset/splits/v1.synthetic_tissue.txt", "vlm_dataset/splits/splits.json"}
    ids = ["mode2_size_detection_curve/size__C0001_a"]
    assert (settings.output / "vlm_dataset/splits/v1.synthetic_tissue.txt").read_text().splitlines() == ids
    entry = json.loads((settings.output / "vlm_dataset/splits/splits.json").read_text())["v1"]["synthetic_tissue"]
    keys = ["n", "sha256", "set", "file", "source_globs", "description", "created_at", "git_commit"]
    assert list(entry) == keys
    assert (entry["n"], entry["sha256"], entry["created_at"]) == (1, list_sha256(ids), lock.created_at)
    assert split_files(settings) == files
