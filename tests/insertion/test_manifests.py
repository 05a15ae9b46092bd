"""Manifest files in, masks and audits out, as a user runs it; every wrong file is a row that says why."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import polars as pl
import pydicom
import pytest
from typer.testing import CliRunner

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.cli.insertion import insert_app
from itrialspace_assets.imaging.anatomy import NODULE
from itrialspace_assets.imaging.dicom import as_frames, segmentation
from itrialspace_assets.imaging.geometry import Volume, read_labels, read_volume
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.insertion.audit_check import check_audit
from itrialspace_assets.insertion.manifests import manifests_among, published_folders, read_manifest
from itrialspace_assets.records.layout import case_key, compact_id

from ..conftest import small_chest
from .shapes import ball


def row(case: int, host: str = "host.nii.gz", donor: str = "donor.nii.gz", **more: Any) -> dict[str, Any]:
    return {
        "case_id": case,
        "nodule_idx": 0,
        "trial_name": "size_<5mm",
        "host_patient_id": "P1",
        "host_dataset": "D",
        "donor_dataset": "E",
        "donor_annotation_id": "N1",
        "host_ct_path": "none.nii.gz",
        "donor_ct_path": "",
        "host_organ_seg_path": host,
        "donor_nodule_mask_path": donor,
        "insertion_lobe": "RLL",
        "insertion_lobe_cc_pct": 50,
        "insertion_lobe_ml_pct": 50,
        "insertion_lobe_ap_pct": 50,
        "scale_factor": 1.0,
    } | more


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Good and bad inputs in one folder; no CT anywhere."""
    folder = tmp_path / "data"
    chest = small_chest()
    write_volume(folder / "host.nii.gz", chest, orientation="LAS")
    mask = np.zeros((40, 40, 30), np.uint8)
    shape = ball(4, (1, 1, 1.5))
    mask[10 : 10 + shape.shape[0], 5 : 5 + shape.shape[1], 8 : 8 + shape.shape[2]] = shape
    grid = np.diag([1, 1, 1.5, 1.0])
    write_volume(folder / "donor.nii.gz", Volume(mask, grid))
    write_volume(folder / "empty.nii.gz", Volume(mask * 0, grid))
    write_volume(folder / "huge.nii.gz", Volume(np.ones((40, 40, 30), np.uint8), grid))
    data = (folder / "host.nii.gz").read_bytes()
    (folder / "truncated.nii.gz").write_bytes(data[: len(data) // 2])
    (folder / "text.nii.gz").write_text("no image")
    write_volume(folder / "bare.nii.gz", Volume((chest.array > 0).astype(np.uint8), chest.affine))
    write_volume(folder / "fractions.nii.gz", Volume(chest.array.astype(np.float32) + 0.5, chest.affine))
    turned = chest.affine.copy()
    turned[0, 1] = 0.4
    nib.save(nib.Nifti1Image(chest.array, turned), folder / "oblique.nii.gz")
    write_volume(folder / "other.nii.gz", Volume(chest.array[:, :, 1:].copy(), chest.affine))
    return folder


def run(base: Path, rows: list[dict[str, Any]], *options: str, name: str = "m.csv") -> tuple[Any, list[dict[str, Any]]]:
    manifest = base / name
    pl.DataFrame(rows, infer_schema_length=None).write_csv(manifest)
    done = CliRunner().invoke(
        insert_app,
        ["run", str(manifest), "--dir", str(base.parent), "--base-dir", str(base), "--workers", "1", *options],
    )
    folder = base.parent / "out" / "inserted_masks" / "own" / "m"
    return done, json.loads((folder / "audit.json").read_text())["records"] if (folder / "audit.json").exists() else []


def test_good_rows_without_any_ct_and_a_second_run_that_does_nothing(base: Path) -> None:
    rows = [row(0), row(1), row(1, nodule_idx=1, insertion_lobe="LLL"), row(2, insertion_lobe="rul", scale_factor=0.8)]
    done, records = run(base, rows)
    assert done.exit_code == 0, done.output
    assert [r["status"] for r in records] == ["success"] * 4
    assert "4 of 4 nodules" in done.output
    folder = base.parent / "out"
    mask = read_labels(folder / records[1]["output_combined_path"])
    assert "nod-Nnod2_mask" in records[1]["output_combined_path"]
    assert "<" not in records[0]["output_combined_path"]
    assert (mask.array == NODULE).sum() == records[1]["resampled_mask_voxels"] + records[2]["resampled_mask_voxels"]
    donor = int((nib.load(base / "donor.nii.gz").get_fdata() > 0).sum())
    assert records[0]["donor_mask_voxels"] == donor
    assert records[0]["resampled_mask_voxels"] == round(donor * 1.5 / 7.5), "same volume in voxels of 7.5 mm3"
    before = {p: p.read_bytes() for p in folder.rglob("inserted_masks/**/*") if p.is_file()}
    again, _ = run(base, rows)
    assert "0 cases computed" in again.output
    assert {p: p.read_bytes() for p in before} == before
    checked = CliRunner().invoke(
        insert_app, ["verify", str(folder / "inserted_masks/own/m"), "--dir", str(base.parent)]
    )
    assert checked.exit_code == 0, checked.output
    path = folder / records[0]["output_combined_path"]
    path.unlink()
    write_volume(path, small_chest())
    assert (
        CliRunner()
        .invoke(insert_app, ["verify", str(folder / "inserted_masks/own/m"), "--dir", str(base.parent)])
        .exit_code
        == 1
    )


BAD = {
    "truncated host": (row(1, "truncated.nii.gz"), "unreadable_volume"),
    "host that is text": (row(1, "text.nii.gz"), "unreadable_volume"),
    "host without a lobe": (row(1, "bare.nii.gz"), "no_lobe"),
    "host of fractions": (row(1, "fractions.nii.gz"), "not_a_label_map"),
    "oblique host": (row(1, "oblique.nii.gz"), "oblique_volume"),
    "missing host": (row(1, "none.nii.gz"), "missing_file"),
    "path that climbs out": (row(1, "../../etc/passwd"), "missing_file"),
    "missing donor": (row(1, donor="none.nii.gz"), "missing_file"),
    "donor that is text": (row(1, donor="text.nii.gz"), "unreadable_volume"),
    "empty donor": (row(1, donor="empty.nii.gz"), "empty_lesion"),
    "donor larger than the lobe": (row(1, donor="huge.nii.gz"), "does_not_fit"),
    "position not a number": (row(1, insertion_lobe_cc_pct="nan"), "bad_position"),
    "position in words": (row(1, insertion_lobe_ml_pct="middle"), "bad_position"),
    "scale not a number": (row(1, scale_factor="nan"), "bad_position"),
    "scale below zero": (row(1, scale_factor=-1), "bad_position"),
    "margin in words": (row(1, margin_mm="wide"), "bad_position"),
    "turn in words": (row(1, rotation_z_deg="half"), "bad_position"),
    "turn with a decimal comma": (row(1, rotation_x_deg="30,5"), "bad_position"),
    "turn that R left out": (row(1, rotation_x_deg="NA"), "bad_position"),
    "margin that R left out": (row(1, margin_mm="NA"), "bad_position"),
    "seed that a spreadsheet rounded": (row(1, seed="6.2E+14"), "bad_position"),
    "diameter in words": (row(1, effective_diam_mm="8 mm"), "bad_position"),
    "no lobe": (row(1, insertion_lobe="brain"), "no_lobe"),
    "position without end": (row(1, insertion_lobe_ap_pct="inf"), "bad_position"),
    "scale without bounds": (row(1, scale_factor=100), "does_not_fit"),
    "host that is a folder": (row(1, "."), "unreadable_volume"),
    "host below a file": (row(1, "host.nii.gz/x"), "unreadable_volume"),
    "native, of another grid": (row(1, host_ct_path="a", donor_ct_path="a"), "grid_mismatch"),
}


def test_every_bad_row_says_why_and_the_good_ones_are_done(base: Path) -> None:
    bad = [r | {"case_id": i + 1} for i, (r, _) in enumerate(BAD.values())]
    series = [row(90), row(90, "other.nii.gz", nodule_idx=1)]
    done, records = run(base, [row(0), *bad, *series, row(99)])
    assert done.exit_code == 0, done.output
    got = {r["case_id"]: r for r in records}
    for i, (name, (_, reason)) in enumerate(BAD.items()):
        assert got[str(i + 1)]["reason"].startswith(f"{reason}: "), (name, got[str(i + 1)]["reason"])
        assert str(base) not in got[str(i + 1)]["reason"]
        assert got[str(i + 1)]["output_combined_path"] == ""
    assert [r["reason"].split(":")[0] for r in records if r["case_id"] == "90"] == ["grid_mismatch"] * 2
    assert (got["0"]["status"], got["99"]["status"]) == ("success", "success")
    assert len(records) == len(BAD) + 4
    nothing, _ = run(base, [row(0, donor="empty.nii.gz")])
    assert nothing.exit_code == 1, "nothing could be done"


def test_a_run_that_was_killed_in_the_middle_of_a_line_goes_on(base: Path) -> None:
    rows = [row(i) for i in range(4)]
    _, whole = run(base, rows)
    (journal,) = (base.parent / "out/work/insert-manifest").rglob("*.jsonl")
    data = journal.read_bytes()
    journal.write_bytes(data[: len(data) - 200])
    again, records = run(base, rows)
    assert again.exit_code == 0, again.output
    assert "1 cases computed" in again.output
    assert records == whole


def test_the_inputs_may_move_and_ids_may_hold_a_slash(base: Path, tmp_path: Path) -> None:
    rows = [row(0, donor="huge.nii.gz") | {"case_id": "arm/1"}, row(0) | {"case_id": "arm/2"}]
    _, before = run(base, rows)
    moved = tmp_path / "moved"
    shutil.copytree(base, moved)
    done = CliRunner().invoke(
        insert_app, ["run", str(base / "m.csv"), "--dir", str(tmp_path), "--base-dir", str(moved), "--workers", "1"]
    )
    assert done.exit_code == 0, done.output
    after = json.loads((tmp_path / "out/inserted_masks/own/m/audit.json").read_text())["records"]
    assert after == before
    assert [r["status"] for r in after] == ["failed", "success"]


def test_a_mask_that_the_audit_no_longer_knows_is_gone(base: Path) -> None:
    _, first = run(base, [row(0), row(1)])
    _, second = run(base, [row(0), row(1, insertion_lobe_cc_pct=500)])
    left = {p.name for p in (base.parent / "out/inserted_masks/own/m").glob("*.nii.gz")}
    assert left == {Path(second[0]["output_combined_path"]).name}
    assert Path(first[1]["output_combined_path"]).name not in left


def test_flags_as_other_programs_write_them(base: Path) -> None:
    _, records = run(base, [row(0, present="True"), row(1, present="False"), row(2, present=0)])
    assert [r["case_id"] for r in records] == ["0"]
    with pytest.raises(ConfigError, match="expected true or false, got 'maybe'"):
        read_manifest(_saved(base, [row(0, mirrored="maybe")]))
    for index in ("0.5", "-1", "inf", "x"):
        with pytest.raises(ConfigError, match="whole number as nodule_idx"):
            read_manifest(_saved(base, [row(0, nodule_idx=index)]))


def _saved(base: Path, rows: list[dict[str, Any]]) -> Path:
    pl.DataFrame(rows, infer_schema_length=None).write_csv(base / "odd.csv")
    return base / "odd.csv"


def test_a_number_is_read_whole_or_named(base: Path) -> None:
    quoted = "\n".join(",".join(f'"{v}"' for v in line) for line in (row(0, seed="").keys(), row(0, seed="").values()))
    (base / "q.csv").write_text(quoted.replace('"scale_factor"', '"rotation_x_deg"').replace('"1.0"', '""'))
    (blank,) = read_manifest(base / "q.csv")
    assert (blank["rotation_x_deg"], blank["scale_factor"], blank["seed"], blank["unreadable"]) == (0.0, 1.0, None, "")
    more = {"seed": "6228001428610368519", "label": "NA", "effective_diam_mm": "", "rotation_x_deg": " 30 "}
    (fine,) = read_manifest(_saved(base, [row(0, **more)]))
    assert (fine["seed"], fine["label"], fine["rotation_x_deg"]) == (6228001428610368519, None, 30.0)
    assert fine["unreadable"] == ""
    for column, text in (
        ("seed", "1e3"),
        ("seed", "9223372036854775808"),
        ("seed", "-1"),
        ("rotation_y_deg", "1_0"),
        ("scale_factor", "1e999"),
    ):
        (odd,) = read_manifest(_saved(base, [row(0, **{column: text})]))
        assert odd["unreadable"].startswith(f"{column}: expected a ") and repr(text) in odd["unreadable"]
    (base / "x.json").write_text(json.dumps([row(0, seed=2**53 + 1), row(1, seed=1.5)]))
    whole, part = read_manifest(base / "x.json")
    assert whole["seed"] == 2**53 + 1, "a float in another row does not round it"
    assert "seed" in part["unreadable"]


def test_a_manifest_is_read_from_the_file_of_its_own_name(base: Path) -> None:
    for name, case in (("m[1].csv", 1), ("m1.csv", 2)):
        pl.DataFrame([row(case)]).write_csv(base / name)
    assert [r["case_id"] for r in read_manifest(base / "m[1].csv")] == ["1"]
    (base / "m1.csv").write_text("case_id;nodule_idx\n1;0\n")
    with pytest.raises(ConfigError, match="separated by commas, got ';'"):
        read_manifest(base / "m1.csv")


def test_verify_compares_size_and_shape_with_the_donor(base: Path) -> None:
    rows = [row(0, rotation_x_deg=40), row(1, scale_factor=0.8), row(2), row(2, nodule_idx=1, insertion_lobe="LLL")]
    run(base, rows)
    folder, out = base.parent / "out/inserted_masks/own/m", base.parent / "out"
    clean = check_audit(folder / "audit.json", out, base)
    assert (clean.wrong, clean.records, clean.inserted, clean.compared) == ([], 4, 4, 4)
    record = json.loads((folder / "audit.json").read_text())["records"][0]
    mask = read_labels(out / record["output_combined_path"])
    slab = np.where(mask.array == NODULE, 200, mask.array).astype(np.uint8)
    assert record["resampled_mask_voxels"] == 36
    slab[27, 10:22, 5:8] = NODULE  # as many voxels, in one plane
    (out / record["output_combined_path"]).unlink()
    write_volume(out / record["output_combined_path"], Volume(slab, mask.affine))
    found = check_audit(folder / "audit.json", out, base).wrong
    assert len(found) == 1 and "expected its donor's shape at scale 1, axes of" in found[0]
    write_volume(base / "donor.nii.gz", read_volume(base / "huge.nii.gz"))
    assert sum("expected its donor's volume" in w for w in check_audit(folder / "audit.json", out, base).wrong) == 4
    (base / "donor.nii.gz").unlink()
    assert check_audit(folder / "audit.json", out, base).compared == 0
    (folder / "audit.json").write_text('{"records": [{}]}')
    with pytest.raises(ConfigError, match="expected an audit with records, got KeyError"):
        check_audit(folder / "audit.json", out, base)


def test_a_donor_in_two_pieces_keeps_its_volume_and_says_so(base: Path) -> None:
    mask = np.zeros((40, 40, 30), np.uint8)
    mask[5:12, 5:12, 5:10], mask[20:26, 20:26, 12:17] = 1, 1
    write_volume(base / "two.nii.gz", Volume(mask, np.diag([1, 1, 1.5, 1.0])))
    _, (record,) = run(base, [row(0, donor="two.nii.gz")])
    assert record["resampled_mask_voxels"] == round(mask.sum() * 1.5 / 7.5)
    assert "in 2 pieces" in record["placement_warnings"][0]


def test_a_companion_that_cannot_be_leaves_the_case_and_is_named(base: Path) -> None:
    _, records = run(base, [row(0), row(0, donor="empty.nii.gz", nodule_idx=1)])
    assert [r["status"] for r in records] == ["success", "failed"]
    assert records[1]["reason"].startswith("empty_lesion")


def test_a_nodule_of_the_hosts_own_ct_goes_back_voxel_for_voxel(base: Path) -> None:
    own = np.zeros((40, 36, 30), np.uint8)
    own[24:28, 12:17, 6:9] = 1
    write_volume(base / "own.nii.gz", Volume(own, small_chest().affine), orientation="LPS")
    _, records = run(base, [row(0, donor="own.nii.gz", host_ct_path="a.nii.gz", donor_ct_path="a.nii.gz")])
    mask = read_labels(base.parent / "out" / records[0]["output_combined_path"])
    np.testing.assert_array_equal(mask.array == NODULE, own == 1)


def test_wrong_manifests_are_refused_before_any_work(base: Path, tmp_path: Path) -> None:
    pl.DataFrame([row(0)]).drop("insertion_lobe").write_csv(base / "short.csv")
    with pytest.raises(ConfigError, match="insertion_lobe missing"):
        read_manifest(base / "short.csv")
    pl.DataFrame([row(0), row(0)]).write_csv(base / "twice.csv")
    with pytest.raises(ConfigError, match="once"):
        read_manifest(base / "twice.csv")
    (base / "x.json").write_text("{")
    with pytest.raises(ConfigError, match="expected a manifest"):
        read_manifest(base / "x.json")
    with pytest.raises(ConfigError, match="found none"):
        read_manifest(base / "none.csv")
    for way in ([row(0)], {"cases": [row(0)]}):
        (base / "x.json").write_text(json.dumps(way))
        assert read_manifest(base / "x.json")[0]["insertion_lobe_cc_pct"] == 50.0
    other = tmp_path / "b"
    other.mkdir()
    for folder in (base, other):
        pl.DataFrame([row(0)]).write_csv(folder / "same.csv")
    both = CliRunner().invoke(
        insert_app, ["run", str(base / "same.csv"), str(other / "same.csv"), "--dir", str(tmp_path)]
    )
    assert isinstance(both.exception, ConfigError)
    assert "same folder" in str(both.exception)


def test_what_lies_beside_manifests_is_none(tmp_path: Path) -> None:
    beside = ["_run_config.json", "datasets.yaml", "README.md", "arms.csv", "x_audit.json", "._a.csv"]
    names = [*beside, "a.csv", "a.json", "b.json", "prologue.csv", "trial.json"]
    assert [p.name for p in manifests_among([Path(n) for n in names])] == ["a.csv", "b.json", "prologue.csv"]
    with pytest.raises(ConfigError, match=r"expected a manifest, got _run_config\.json, datasets\.yaml"):
        manifests_among([Path(n) for n in beside])
    for name in [*beside, "D/s.csv", "t.csv"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert manifests_among([tmp_path, tmp_path / "t.csv"]) == [tmp_path / "D/s.csv", tmp_path / "t.csv"]


def test_names_of_the_published_layout() -> None:
    """docs/facts/insertion.md#names-and-audit."""
    assert case_key("t<5mm", 7, "P", "D", ["N1"]) == "iTS--t_5mm--C0007--host-P--src-D--nod-N1"
    assert case_key("t", "12345", "P", "D", ["N1", "N2", "N3"]).endswith("--nod-Nnod3")
    long = "1.3.6.1.4.1.14519.5.2.1.6279"
    assert compact_id(long) == compact_id(long)
    assert len(compact_id(long)) == 8
    assert published_folders(Path("/x/manifests/mode4_demographic_strat/old/s.csv")) == (
        "mode4_demographic_strat",
        "old/s",
    )
    assert published_folders(Path("/x/s.csv")) == ("own", "s")


def test_a_dicom_segmentation_holds_the_voxels_in_world_coordinates() -> None:
    chest = small_chest()
    lesions = [np.zeros(chest.array.shape, bool) for _ in range(2)]
    lesions[0][8:11, 12:16, 8:10] = True  # in the left lung
    lesions[1][26:30, 14:18, 6:9] = True
    data = segmentation(chest, lesions, ["nodule 0", "nodule 1"], "mask", "host", "P1", procedural=True)
    assert data == segmentation(chest, lesions, ["nodule 0", "nodule 1"], "mask", "host", "P1", procedural=True)
    found = pydicom.dcmread(io.BytesIO(data))
    assert "procedural" in found.SeriesDescription
    got: dict[int, set[tuple[float, ...]]] = {1: set(), 2: set()}
    row_step, column_step = (
        float(v) for v in found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    )
    for frame, about in zip(found.pixel_array, found.PerFrameFunctionalGroupsSequence, strict=True):
        x, y, z = (float(v) for v in about.PlanePositionSequence[0].ImagePositionPatient)
        number = int(about.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        for r, c in np.argwhere(
            frame
        ):  # columns run to the patient's left, rows to the back: LPS, so RAS is its negative
            got[number].add((round(-(x + c * column_step), 3), round(-(y + r * row_step), 3), round(z, 3)))
    for number, lesion in enumerate(lesions, start=1):
        assert got[number] == {tuple(round(float(v), 3) for v in chest.to_world(p)) for p in np.argwhere(lesion)}
    assert all(p[0] < 0 for p in got[1]), "left in world coordinates"
    assert as_frames(chest.array).shape == (30, 36, 40)


def test_dry_run_writes_nothing(base: Path) -> None:
    done, records = run(base, [row(0)], "--dry-run")
    assert "1 cases, 1 nodules, 1 hosts" in done.output
    assert not records
    assert not (base.parent / "out").exists()
