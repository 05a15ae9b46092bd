"""What the original wrote is taken as it is: places and donors of its manifests, its audits with their masks, its
command's options."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.cli.insertion import insert_app
from itrialspace_assets.imaging.anatomy import NODULE
from itrialspace_assets.imaging.geometry import Volume, read_labels
from itrialspace_assets.imaging.lesions import Lesion, cut_lesion
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.insertion.audit_check import check_audit
from itrialspace_assets.insertion.manifest_run import Inserted, insert_manifests
from itrialspace_assets.profiles.measure import nodules_in

from ..conftest import small_chest
from .shapes import chest_with_specks

#: Where the original ran: no folder of the machine that reads its files.
THERE = "/another/masks/machine/data"
SLUG = "mode1_controlled_prevalence"


class _Quiet:
    """A progress bar that shows nothing."""

    def __init__(self, _title: str, _total: int) -> None: ...

    def __enter__(self) -> Any:
        return lambda _done: None

    def __exit__(self, *_: object) -> None: ...


def original_row(case: int, lesion: Lesion, grid: Volume, **more: Any) -> dict[str, Any]:
    """A row as the original writes it for a nodule and its own scan: no column of ours, percentages far off."""
    x, y, z = grid.to_world(lesion.centroid)
    return {
        "case_id": case,
        "nodule_idx": 0,
        "trial_name": "NLST_cohort",
        "host_patient_id": "P1",
        "host_dataset": "DLCS24",
        "donor_patient_id": "P1",
        "donor_dataset": "DLCS24",
        "donor_annotation_id": "N1",
        "host_ct_path": f"{THERE}/raw_ct/DLCS24/s.nii.gz",
        "donor_ct_path": f"{THERE}/raw_ct/DLCS24/s.nii.gz",
        "host_organ_seg_path": "masks/DLCS24/refined_seg/s_seg.nii.gz",
        "donor_nodule_mask_path": "masks/DLCS24/nodule_seg/N1.nii.gz",
        "insertion_coord_x": x,
        "insertion_coord_y": y,
        "insertion_coord_z": z,
        "insertion_lobe": "right_lung_lower_lobe",
        "insertion_lobe_cc_pct": 95,
        "insertion_lobe_ml_pct": 5,
        "insertion_lobe_ap_pct": 95,
        "scale_factor": 0.9,  # not voxel for voxel: placed by the rules
    } | more


def insert(settings: Settings, rows: list[dict[str, Any]]) -> Inserted:
    folder = settings.data / "manifests" / SLUG
    folder.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows, infer_schema_length=None).write_csv(folder / "NLST_cohort.csv")
    (result,) = insert_manifests([folder / "NLST_cohort.csv"], settings, settings.data, _Quiet)
    return result


def centre_of(settings: Settings, record: dict[str, Any]) -> np.ndarray:
    """World mm of the nodule in a written mask, from its voxels."""
    mask = read_labels(settings.output / record["output_combined_path"])
    return mask.to_world(np.argwhere(mask.array == NODULE).mean(axis=0))


@pytest.fixture
def root(tmp_path: Path) -> tuple[Settings, Lesion, Volume]:
    """A data root with one host whose lower lobe has a speck far away, and a nodule of its own."""
    host = chest_with_specks()
    own = np.zeros(host.array.shape, np.uint8)
    own[26:31, 12:17, 7:10] = 1
    assert (host.array[own == 1] == 32).all()
    write_volume(tmp_path / "data/masks/DLCS24/refined_seg/s_seg.nii.gz", host, orientation="LAS")
    write_volume(tmp_path / "data/masks/DLCS24/nodule_seg/N1.nii.gz", Volume(own, host.affine))
    settings = load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out", workers=1)
    return settings, cut_lesion(own > 0), host


def test_world_coordinates_win_in_the_donors_own_scan(root: tuple[Settings, Lesion, Volume]) -> None:
    """docs/facts/insertion.md#places-of-a-manifest."""
    settings, lesion, host = root
    maps = {"donor_refined_seg_path": "masks/DLCS24/refined_seg/s_seg.nii.gz", "host_ct_path": "", "donor_ct_path": ""}
    rows = [
        original_row(0, lesion, host),
        original_row(1, lesion, host, **maps),
        original_row(2, lesion, host, **maps | {"donor_refined_seg_path": ""}),  # one person, one grid
        original_row(3, lesion, host, donor_ct_path=f"{THERE}/raw_ct/DLCS24/other.nii.gz"),
        original_row(4, lesion, host, insertion_coord_x=0, insertion_coord_y=0, insertion_coord_z=0),
        original_row(5, lesion, host, donor_patient_id="P2", **maps | {"donor_refined_seg_path": ""}),
        original_row(6, lesion, host, scale_factor=1.0),
    ]
    records = insert(settings, rows).records
    assert [r["place_from"] for r in records] == ["coordinates"] * 3 + ["percentages"] * 3 + ["coordinates"]
    stated = host.to_world(lesion.centroid)
    for record in records:
        away = math.dist(centre_of(settings, record), stated)
        if record["place_from"] == "coordinates":
            assert record["shift_mm"] == pytest.approx(away, abs=1e-3)
            assert away < float(host.spacing.max()), "within a voxel"
        else:
            assert away > 10
    assert records[6]["shift_mm"] == pytest.approx(0, abs=1e-3), "its own voxels"


def test_coordinates_in_another_scan_are_a_place_only_if_they_are_not_the_donors(
    root: tuple[Settings, Lesion, Volume],
) -> None:
    settings, lesion, host = root
    x, y, z = host.to_world(lesion.centroid)
    other = {"donor_ct_path": f"{THERE}/raw_ct/DLCS24/other.nii.gz", "donor_patient_id": "P2"}

    def at(place: tuple[float, float, float]) -> dict[str, Any]:
        return other | {f"insertion_coord_{a}": float(v) for a, v in zip("xyz", place, strict=True)}

    moved = host.to_world(np.array([29.0, 20, 9]))
    assert math.dist(moved, (x, y, z)) > 10
    rows = [
        original_row(0, lesion, host, **at((x + 3, y, z))),  # the centre of the donor's box
        original_row(1, lesion, host, **at((-x, -y, z))),  # the same in LPS
        original_row(2, lesion, host, **at(tuple(moved))),
        original_row(3, lesion, host, **at(tuple(host.to_world(np.array([2.0, 2, 2]))))),  # in no lobe's box
    ]
    records = insert(settings, rows).records
    assert [r["place_from"] for r in records] == ["percentages", "percentages", "coordinates", "percentages"]
    assert math.dist(centre_of(settings, records[2]), moved) == pytest.approx(records[2]["shift_mm"], abs=1e-3)
    assert records[2]["shift_mm"] < float(np.linalg.norm(host.spacing))


def test_paths_of_the_machine_that_planned_are_found_below_the_data_root(root: tuple[Settings, Lesion, Volume]) -> None:
    settings, lesion, host = root
    there = {
        c: f"{THERE}/{original_row(0, lesion, host)[c]}" for c in ("host_organ_seg_path", "donor_nodule_mask_path")
    }
    rows = [
        original_row(0, lesion, host, **there),
        original_row(
            1, lesion, host, **there | {"donor_nodule_mask_path": f"{THERE}/masks/DLCS24/nodule_seg/no.nii.gz"}
        ),
        original_row(2, lesion, host, **there | {"donor_nodule_mask_path": f"{THERE}/masks/../../secret.nii.gz"}),
    ]
    records = insert(settings, rows).records
    assert [r["status"] for r in records] == ["success", "failed", "failed"]
    assert records[1]["reason"].startswith("missing_file") and f"{THERE}/masks/DLCS24" in records[1]["reason"]


def test_the_audit_states_the_whole_way_from_the_stated_place(root: tuple[Settings, Lesion, Volume]) -> None:
    settings, lesion, host = root
    far = host.to_world(np.array([37.0, 5, 25]))  # outside the lobe's box, where no nodule may go
    coords = {f"insertion_coord_{a}": float(v) for a, v in zip("xyz", far, strict=True)}
    (record,) = insert(settings, [original_row(0, lesion, host, **coords)]).records
    away = math.dist(centre_of(settings, record), far)
    assert away > 20
    assert record["shift_mm"] == pytest.approx(away, abs=1e-3)


def test_the_originals_rules_and_our_own_manifests_read_percentages(root: tuple[Settings, Lesion, Volume]) -> None:
    settings, lesion, host = root
    (ours,) = insert(settings, [original_row(0, lesion, host, placement="profile")]).records
    assert (ours["place_from"], ours["shift_mm"] < 20) == ("percentages", True)
    (theirs,) = insert(settings.model_copy(update={"placement": "compat"}), [original_row(0, lesion, host)]).records
    assert theirs["place_from"] == "percentages"


def test_both_names_of_a_donor_mean_one_nodule(root: tuple[Settings, Lesion, Volume]) -> None:
    settings, lesion, host = root
    names = ("IMDCT_IMDCT-0649_648", "IMDCT-0649")
    rows = [original_row(i, lesion, host, donor_dataset="IMDCT", donor_annotation_id=n) for i, n in enumerate(names)]
    result = insert(settings, rows)
    assert [r["donor_nodule_uid"] for r in result.rows] == ["IMDCT/IMDCT-0649"] * 2
    assert [r["donor_annotation_id"] for r in result.records] == list(names), "as the manifest has it"
    swapped = [row | {"donor_annotation_id": n} for row, n in zip(rows, reversed(names), strict=True)]
    manifest = settings.data / "swapped.csv"
    pl.DataFrame(swapped).write_csv(manifest)
    options = ["--manifest", str(manifest), "--dir", str(settings.data.parent)]
    done = CliRunner().invoke(insert_app, ["verify", "--output-dir", str(result.folder), *options])
    assert done.exit_code == 0, done.output
    assert "2 of 2 nodules of swapped.csv are inserted (100.0%)" in done.output
    pl.DataFrame([rows[0] | {"donor_annotation_id": "IMDCT-0001"}, rows[1], original_row(7, lesion, host)]).write_csv(
        manifest
    )
    done = CliRunner().invoke(insert_app, ["verify", "-o", str(result.folder), *options])
    assert done.exit_code == 1
    assert "case 0, nodule 0: expected donor IMDCT-0001, got IMDCT_IMDCT-0649_648" in done.output
    assert "2 of 3 nodules" in done.output


def test_the_originals_options_of_run(root: tuple[Settings, Lesion, Volume], tmp_path: Path) -> None:
    settings, lesion, host = root
    folder = settings.data / "manifests" / SLUG
    insert(settings, [original_row(0, lesion, host)])
    (folder / "_run_config.json").write_text("{}")
    (folder / "datasets.yaml").write_text("datasets: {}")
    flat = tmp_path / "flat"
    common = ["--dir", str(tmp_path), "--workers", "1"]
    done = CliRunner().invoke(
        insert_app, ["run", "--manifest", str(folder / "NLST_cohort.csv"), "--output-dir", str(flat), *common]
    )
    assert done.exit_code == 0, done.output
    assert f"Result: {flat}" in done.output
    assert sorted(p.suffix for p in flat.iterdir()) == [".gz", ".json"]
    shutil.rmtree(settings.output)
    assert check_audit(flat / "audit.json", settings.output, settings.data).wrong == [], "masks lie beside the audit"
    done = CliRunner().invoke(insert_app, ["run", *(str(p) for p in sorted(folder.iterdir())), "--dry-run", *common])
    assert done.output.count("1 cases, 1 nodules") == 1, done.output
    (folder / "b.csv").write_bytes((folder / "NLST_cohort.csv").read_bytes())
    two = CliRunner().invoke(insert_app, ["run", str(folder), "-o", str(flat), *common])
    assert isinstance(two.exception, ConfigError)
    assert "expected one manifest, got 2" in str(two.exception)
    none = CliRunner().invoke(insert_app, ["verify", "--dir", str(tmp_path)])
    assert "expected a folder with an audit.json" in str(none.exception)


def original_audit(
    folder: Path, mask: Volume, nodules: list[tuple[tuple[int, int, int], int]], host: str = "s_seg.nii.gz"
) -> Path:
    """An audit as the original writes it, with its mask: absolute paths of another machine, and none of our keys."""
    name = "iTS--NLST_cohort--C0000--host-P1--src-DLCS24--nod-N1_mask.nii.gz"
    write_volume(folder / name, Volume(mask.array.astype(np.int16), mask.affine))
    records = [
        {
            "case_id": "0",
            "nodule_idx": idx,
            "is_primary": idx == 0,
            "companion_group_id": "0",
            "status": "success",
            "reason": "",
            "host_ct_path": f"{THERE}/raw_ct/DLCS24/s.nii.gz",
            "host_organ_seg_path": f"{THERE}/masks/DLCS24/refined_seg/{host}",
            "donor_nodule_mask_path": f"{THERE}/masks/DLCS24/nodule_seg/N1.nii.gz",
            "insertion_lobe": "right_lung_lower_lobe",
            "cc_pct": 50.0,
            "ml_pct": 50.0,
            "ap_pct": 50.0,
            "target_ijk": list(at),
            "target_world_mm": [0.0, 0.0, 0.0],
            "snapped": False,
            "snap_distance_vox": 0.0,
            "pleural_dist_mm": float("inf"),
            "overlap_fraction": 1.0 if idx else 0.0,
            "placement_warnings": [],
            "scale_factor": 1.0,
            "donor_mask_voxels": voxels,
            "resampled_mask_voxels": voxels,
            "output_mask_path": "",
            "output_combined_path": f"{THERE}/inserted_masks/{SLUG}/NLST_cohort/{name}",
            "host_id_compact": "P1",
            "nodule_label_value": NODULE,
            "elapsed_sec": 1.5,
        }
        for idx, (at, voxels) in enumerate(nodules)
    ]
    audit = {"trial_name": SLUG, "manifest_path": THERE, "n_total": len(records), "n_success": len(records)}
    path = folder / "audit.json"
    path.write_text(json.dumps(audit | {"n_failed": 0, "records": records}))
    assert "Infinity" in path.read_text()
    return path


A, B = (slice(26, 31), slice(12, 17), slice(7, 10)), (slice(7, 11), slice(12, 15), slice(8, 11))
NATIVE = (slice(26, 31), slice(20, 23), slice(7, 10))
TOUCHING = (slice(29, 33), slice(12, 17), slice(7, 10))


def with_nodules(*boxes: tuple[slice, ...]) -> Volume:
    chest = small_chest()
    for box in boxes:
        chest.array[box] = NODULE
    return chest


@pytest.mark.parametrize(
    ("native", "stated", "inserted", "wrong", "note"),
    [
        ((), [((28, 14, 8), 75)], [A], "", ""),
        ((), [((28, 14, 8), 75), ((9, 13, 9), 36)], [A, B], "", ""),
        ((NATIVE,), [((28, 14, 8), 75)], [A], "", "45 voxels of label 23 are the host's own nodules"),
        ((TOUCHING,), [((28, 14, 8), 75)], [A], "", "60 voxels of label 23 are the host's own"),
        ((), [((28, 14, 8), 75), ((30, 14, 8), 60)], [A, TOUCHING], "", ""),  # pasted over one another
        ((), [((28, 14, 8), 74)], [A], "nodule 0: expected 74 voxels of label 23 at [28, 14, 8], got 75", ""),
        ((), [((28, 14, 8), 75)], [], "got 0", ""),
        ((NATIVE,), [((28, 14, 8), 75)], [], "got 0", "45 voxels of label 23 are the host's own"),
        ((), [((9, 13, 9), 75)], [A], "got 0", ""),  # in the other lung
        ((), [((28, 14, 8), 75)], [A, B], "36 voxels of label 23 are neither inserted nor the host's own", ""),
        ((), [((28, 14, 8), 75), ((9, 13, 9), 0)], [A], "nodule 1: a success without a voxel", ""),
    ],
)
def test_the_originals_audits(
    tmp_path: Path,
    native: tuple[Any, ...],
    stated: list[Any],
    inserted: list[Any],
    wrong: str,
    note: str,
) -> None:
    write_volume(tmp_path / "data/masks/DLCS24/refined_seg/s_seg.nii.gz", with_nodules(*native), orientation="LAS")
    path = original_audit(tmp_path, with_nodules(*native, *inserted), stated)
    found = check_audit(path, tmp_path / "out", tmp_path / "data")
    assert (len(found.wrong) > 0) == bool(wrong), found.wrong
    assert wrong in " ".join(found.wrong)
    assert note in " ".join(found.notes)
    assert bool(found.notes) == bool(note)
    done = CliRunner().invoke(insert_app, ["verify", "--output-dir", str(tmp_path), "--dir", str(tmp_path)])
    assert done.exit_code == bool(wrong)
    assert note in done.output


def test_without_the_hosts_map_its_nodules_are_told_by_place(tmp_path: Path) -> None:
    path = original_audit(tmp_path, with_nodules(NATIVE, A), [((28, 14, 8), 75)])
    found = check_audit(path, tmp_path / "out", tmp_path / "data")
    assert found.wrong == []
    assert "masks/DLCS24/refined_seg/s_seg.nii.gz is not here" in found.notes[0]
    assert "45 voxels of label 23 elsewhere are taken for the host's own nodules" in found.notes[1]
    path = original_audit(tmp_path, with_nodules(TOUCHING, A), [((28, 14, 8), 75)])
    (line,) = check_audit(path, tmp_path / "out", tmp_path / "data").wrong
    assert "got 105" in line and "told by the host's map" in line
    write_volume(tmp_path / "data/masks/DLCS24/refined_seg/s_seg.nii.gz", Volume(small_chest().array[1:], np.eye(4)))
    assert "has another grid" in check_audit(path, tmp_path / "out", tmp_path / "data").notes[0]
    (tmp_path / "audit.json").write_text(path.read_text().replace("[28, 14, 8]", "null").replace("[\n", "["))
    with pytest.raises(ConfigError, match="expected an audit with records, got TypeError"):
        check_audit(path, tmp_path / "out", tmp_path / "data")


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("case", ["0001", "0002"])
def test_real_nodules_land_where_the_manifest_says(real_data: Path, tmp_path: Path, case: str) -> None:
    """The centres are those of shared/real/README.md; the percentages of the row are far off."""
    source = real_data / "masks" / f"DLCS_{case}_seg_sh.nii.gz"
    labels = read_labels(source)
    settings = load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out", workers=1, masks="nifti")
    target = settings.data / "masks/DLCS24/refined_seg/s_seg.nii.gz"
    target.parent.mkdir(parents=True)
    target.symlink_to(source)
    lobes = {"0001": ["left_lung_lower_lobe", "right_lung_middle_lobe"], "0002": ["right_lung_lower_lobe"]}[case]
    rows = []
    for number, (lesion, lobe) in enumerate(zip(nodules_in(labels), lobes, strict=True)):
        own = np.zeros(labels.array.shape, np.uint8)
        own[lesion.box][lesion.mask] = 1
        name = f"masks/DLCS24/nodule_seg/N{number}.nii.gz"
        write_volume(settings.data / name, Volume(own, labels.affine))
        rows.append(original_row(number, lesion, labels, insertion_lobe=lobe, donor_nodule_mask_path=name))
    records = insert(settings, rows).records
    diagonal = float(np.linalg.norm(labels.spacing))
    for row, record in zip(rows, records, strict=True):
        assert record["status"] == "success", record["reason"]
        stated = [row[f"insertion_coord_{a}"] for a in "xyz"]
        away = math.dist(centre_of(settings, record), stated)
        assert record["shift_mm"] == pytest.approx(away, abs=1e-3)
        assert away < diagonal, f"{away:.2f} mm"
