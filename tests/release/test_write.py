"""The evaluation set of an image source in the published layout, from a table of two slices."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.imaging.anatomy import ANSWER_SIZES
from itrialspace_assets.records.layout import list_sha256
from itrialspace_assets.records.store import write_table
from itrialspace_assets.release.write import _slice_set


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


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    rows = [
        slice_row("a", "plain", "present", size_class=ANSWER_SIZES[1], lobe="left_lung_upper_lobe", diameter_mm=6.25),
        slice_row("a", "bbox", "present", size_class=ANSWER_SIZES[1], lobe="left_lung_upper_lobe", diameter_mm=6.25),
        slice_row("b", "plain", "absent"),
    ]
    write_table(tmp_path, "slices", rows, source="tissue", mode="m02_size_detection_curve", dataset="LUNGx")
    split = {"split": "default", "source": "tissue", "mode": "m02_size_detection_curve", "list_sha256": "l"}
    write_table(tmp_path, "splits", [split | {"slice_uid": "a"}])
    for row in rows:
        path = tmp_path / row["path"]
        path.parent.mkdir(exist_ok=True)
        path.write_text(row["path"])
    return load_settings(data_dir=tmp_path / "data", output_dir=tmp_path)


def test_pictures_tables_and_split_of_a_source(settings: Settings) -> None:
    files = _slice_set(settings, "tissue", "synthetic_tissue")
    base = "vlm_dataset/synthetic_tissue/lung_axial"
    top = f"{base}/slices/mode2_size_detection_curve"
    assert (settings.output / f"{top}/bbox/size__C0001_a.png").read_text() == "store/a_bbox.png"
    assert set(files) == {
        f"{top}/size__C0001_a.png",
        f"{top}/bbox/size__C0001_a.png",
        f"{top}/size__C0001_b.png",
        f"{base}/eval_dataset.csv",
        f"{base}/eval_dataset_negatives.csv",
        f"vlm_dataset/splits/{settings.split}.synthetic_tissue.txt",
        "vlm_dataset/splits/splits.json",
    }
    (row,) = csv.DictReader(io.StringIO((settings.output / f"{base}/eval_dataset.csv").read_text()))
    assert list(row)[:6] == ["case_id", "mode", "trial_name", "dataset_name", "donor_dataset", "png_path"]
    assert (row["case_id"], row["trial_name"], row["mode"]) == ("0001", "size", "mode2_size_detection_curve")
    assert (row["png_path"], row["png_bbox_path"], row["png_contour_path"]) == (
        f"{top}/size__C0001_a.png",
        f"{top}/bbox/size__C0001_a.png",
        "",
    )
    assert (row["ground_truth_lobe"], row["effective_diam_mm"]) == ("left_lung_upper_lobe", "6.25")
    (absent,) = csv.DictReader(io.StringIO((settings.output / f"{base}/eval_dataset_negatives.csv").read_text()))
    assert (absent["slice_uid"], absent["ground_truth_lobe"], absent["effective_diam_mm"]) == ("b", "N/A", "")
    entry = json.loads((settings.output / "vlm_dataset/splits/splits.json").read_text())[settings.split]
    ids = ["mode2_size_detection_curve/size__C0001_a"]
    assert (entry["synthetic_tissue"]["n"], entry["synthetic_tissue"]["sha256"]) == (1, list_sha256(ids))


def test_a_source_without_slices_has_no_files(settings: Settings) -> None:
    assert _slice_set(settings, "nodmaisi", "synthetic") == {}
