"""Masks that others inserted, in the original's published layout, become CTs of our own; a part that disagrees with its
manifest is refused by name."""

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import hash_file
from itrialspace_assets.cli.synthesis import app
from itrialspace_assets.imaging.anatomy import NODULE
from itrialspace_assets.imaging.geometry import read_volume
from itrialspace_assets.imaging.lesions import cut_lesion
from itrialspace_assets.imaging.packing import write_volume

from ..insertion.test_originals import NATIVE, SLUG, A, original_audit, original_row, with_nodules

PART = f"{SLUG}/NLST_cohort"
NAME = "iTS--NLST_cohort--C0000--host-P1--src-DLCS24--nod-N1"
HOST = "masks/DLCS24/refined_seg/s_seg.nii.gz"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A release of one case, whose host has a nodule of its own that the original left in its mask."""
    root = tmp_path / "release"
    (root / "inserted_masks" / PART).mkdir(parents=True)
    (root / "manifests" / SLUG).mkdir(parents=True)
    mask = with_nodules(NATIVE, A)
    original_audit(root / "inserted_masks" / PART, mask, [((28, 14, 8), 75)])
    write_volume(root / HOST, with_nodules(NATIVE))
    row = original_row(0, cut_lesion(with_nodules(A).array == NODULE), mask)
    pl.DataFrame([row]).write_csv(root / "manifests" / f"{PART}.csv")
    return root


def render(release: Path) -> Result:
    done = CliRunner().invoke(app, ["render", str(release), "--dir", str(release.parent / "own"), "--workers", "1"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_a_released_mask_is_rendered_with_its_lesion_alone(release: Path) -> None:
    done = render(release)
    assert done.exit_code == 0, done.output
    assert f"{PART}: 1 of 1 cases rendered (1 now)\n" in done.output
    folder = release.parent / "own/out/generated_cts_tissue" / PART / NAME
    audit = json.loads((folder / "render_audit.json").read_text())
    assert audit["masks_from"] == "a release: made by others, not inserted here"
    assert audit["mask_sha256"] == hash_file(release / "inserted_masks" / PART / f"{NAME}_mask.nii.gz")
    assert (audit["host_from"], audit["host_nodule_voxels"], audit["anatomy"]) == ("label map", 45, "real")
    ct = read_volume(folder / "synthetic_ct.nii.gz").array
    lesion, own = (with_nodules(box).array == NODULE for box in (A, NATIVE))
    assert ct[lesion].mean() == pytest.approx(audit["lesion_hu"], abs=0.01)
    assert ct[lesion].mean() > ct[own].mean() + 300, "the host's own nodule was cleared"
    before = hash_file(folder / "synthetic_ct.nii.gz")
    assert "1 of 1 cases rendered (0 now)" in render(release).output
    assert hash_file(folder / "synthetic_ct.nii.gz") == before


def test_without_the_hosts_map_the_mask_is_cleared_and_that_is_said(release: Path) -> None:
    (release / HOST).unlink()
    done = render(release)
    assert "1 of 1 cases rendered (1 now); host from the mask itself in 1" in done.output
    audit = release.parent / "own/out/generated_cts_tissue" / PART / NAME / "render_audit.json"
    assert json.loads(audit.read_text())["host_from"] == "mask"


def test_a_mask_that_is_not_its_hosts_is_rejected(release: Path) -> None:
    host = with_nodules(NATIVE)
    host.array[5:15, 8:28, 4:6] = 28
    write_volume(release / HOST, host)
    done = render(release)
    assert done.exit_code == 1
    assert f"rejected {PART}/0: grid_mismatch" in done.output
    assert "got 400 voxels of other labels" in done.output


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"case_id": 4}, "case 0, nodule 0: inserted, and in no row of NLST_cohort.csv"),
        (
            {"host_patient_id": "P2"},
            "expected a mask of C0000--host-P2--src-DLCS24, got iTS--NLST_cohort--C0000--host-P1",
        ),
        (
            {"host_organ_seg_path": "masks/DLCS24/refined_seg/t_seg.nii.gz"},
            "in the host t_seg.nii.gz, got s_seg.nii.gz",
        ),
        (None, "expected its manifest manifests/mode1_controlled_prevalence/NLST_cohort.csv, found none"),
    ],
)
def test_a_part_that_disagrees_with_its_manifest_is_refused_by_name(
    release: Path, change: dict[str, object] | None, said: str
) -> None:
    manifest = release / "manifests" / f"{PART}.csv"
    rows = pl.read_csv(manifest)
    manifest.unlink()
    if change is not None:
        rows.with_columns(**{name: pl.lit(value) for name, value in change.items()}).write_csv(manifest)
    with pytest.raises(ConfigError, match=f"nothing was rendered: {PART}: ") as refused:
        render(release)
    assert said in str(refused.value)
    assert not (release.parent / "own/out/generated_cts_tissue").exists()


def test_masks_that_differ_from_their_audit_are_refused(release: Path) -> None:
    file = release / "inserted_masks" / PART / f"{NAME}_mask.nii.gz"
    empty = with_nodules(NATIVE)
    write_volume(file, empty)
    write_volume(file.with_name("iTS--x--C0009--host-P1--src-DLCS24--nod-N1_mask.nii.gz"), empty)
    with pytest.raises(ConfigError) as refused:
        render(release)
    assert "nodule 0: expected 75 voxels of label 23 at [28, 14, 8], got 0" in str(refused.value)
    assert "C0009--host-P1--src-DLCS24--nod-N1_mask.nii.gz: in no record of audit.json" in str(refused.value)
