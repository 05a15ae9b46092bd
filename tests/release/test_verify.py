"""What a small, handmade release holds, and what is wrong in it, row by row of ``released``."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import hash_file
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.demo.paper import make_profiles
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.profiles.load import load_profiles
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.records.layout import MANIFEST_COLUMNS, MODES, list_sha256
from itrialspace_assets.records.store import read_all
from itrialspace_assets.release.parts import SUMS
from itrialspace_assets.release.verify import ReleasedRow, mode_of, record_release, verify_release

STEM = "manifests/mode2_size_detection_curve/size_5_10mm.csv"
MASK = "inserted_masks/mode2_size_detection_curve/size_5_10mm/a--src-LUNGx--C0000_mask.nii.gz"
CT = "generated_cts/mode2_size_detection_curve/size_5_10mm/a--src-LUNGx--C0000/synthetic_ct.nii.gz"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """One manifest of one case, its mask with an audit, its CT, one picture and one split."""
    root = tmp_path / "release"
    row = dict.fromkeys(MANIFEST_COLUMNS, "x") | {"case_id": "0", "nodule_idx": "0", "host_dataset": "LUNGx"}
    write(root / STEM, ",".join(row) + "\n" + ",".join(row.values()) + "\n")
    volume = Volume(np.zeros((4, 5, 6), np.int16), np.eye(4))
    for name in (MASK, CT):
        write_volume(root / name, volume)
    record = {"status": "success", "output_combined_path": f"/another/machine/{Path(MASK).name}"}
    audit = {"records": [record], "n_total": 1, "n_success": 1, "n_failed": 0}
    write(root / MASK.replace(Path(MASK).name, "audit.json"), json.dumps(audit))
    picture = "vlm_dataset/real/lung_axial/slices/LUNGx/a.png"
    write(root / picture, "picture")
    columns = "case_id,dataset,png_path,ground_truth_presence,mode"
    write(root / "vlm_dataset/real/lung_axial/eval_dataset.csv", f"{columns}\na,LUNGx,{picture},present,LUNGx\n")
    write(root / "vlm_dataset/splits/s.real.txt", "LUNGx/a\n")
    entry = {"file": "s.real.txt", "n": 1, "sha256": list_sha256(["LUNGx/a"])}
    write(root / "vlm_dataset/splits/splits.json", json.dumps({"s": {"real": entry}}))
    files = sorted(p for p in root.rglob("*") if p.is_file())
    write(root / SUMS, "".join(f"{hash_file(p)}  {p.relative_to(root)}\n" for p in files))
    return root


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out")


def wrong(found: list[ReleasedRow]) -> dict[str, tuple[str, str]]:
    return {row.path: (row.status, str(row.detail)) for row in found if row.status != "ok"}


def test_a_whole_release_is_ok_and_recorded(release: Path, settings: Settings) -> None:
    found = verify_release(settings, release, hashes=True)
    assert wrong(found) == {}
    assert {row.kind for row in found} == {"manifests", "inserted_masks", "generated_cts", "slices", "splits"}
    by_path = {row.path: row for row in found}
    assert (by_path[STEM].mode, by_path[STEM].dataset, by_path[STEM].rows) == (MODES[1], "LUNGx", 1)
    assert (by_path[MASK].dataset, by_path[CT].dataset) == ("LUNGx", "LUNGx")
    frames = record_release(settings, found)
    assert read_all(settings.output, "released").height == len(found) == sum(f.height for f in frames.values())


@pytest.mark.parametrize(
    ("name", "data", "status", "says"),
    [
        (MASK, None, "missing", "named by its audit"),
        (MASK, b"no volume", "damaged", "expected a NIfTI volume"),
        (CT, None, "missing", "planned in its manifest"),
        (STEM, b"case_id\n0\n", "damaged", "expected 44 columns"),
        ("vlm_dataset/splits/s.real.txt", b"LUNGx/b\n", "contradicts", "expected 1 ids"),
        ("vlm_dataset/splits/splits.json", b"[", "damaged", "expected splits"),
        ("vlm_dataset/real/lung_axial/slices/LUNGx/a.png", None, "missing", "1 of 1 pictures"),
        ("inserted_masks/mode2_size_detection_curve/size_5_10mm/audit.json", b"{}", "damaged", "expected an audit"),
    ],
)
def test_what_is_wrong_is_named(
    release: Path, settings: Settings, name: str, data: bytes | None, status: str, says: str
) -> None:
    path = release / name
    if data is not None:
        path.write_bytes(data)
    elif name == CT:
        path.unlink()
        path.parent.rmdir()
    else:
        path.unlink()
    found = wrong(verify_release(settings, release))
    assert any(got == status and says in detail for got, detail in found.values()), found


def test_a_truncated_volume_is_damaged(release: Path, settings: Settings) -> None:
    whole = (release / CT).read_bytes()
    (release / CT).write_bytes(whole[:-20])
    assert wrong(verify_release(settings, release))[CT][0] == "damaged"


def test_a_changed_picture_is_found_by_its_hash_alone(release: Path, settings: Settings) -> None:
    name = "vlm_dataset/real/lung_axial/slices/LUNGx/a.png"
    (release / name).write_text("another")
    assert wrong(verify_release(settings, release)) == {}
    assert wrong(verify_release(settings, release, hashes=True))[name][0] == "damaged"


def test_a_release_of_links_as_a_hub_keeps_it(release: Path, settings: Settings, tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for number, path in enumerate(sorted(p for p in release.rglob("*") if p.is_file() and p.name != SUMS)):
        path.rename(blobs / str(number))
        path.symlink_to(os.path.relpath(blobs / str(number), path.parent))
    assert wrong(verify_release(settings, release, hashes=True)) == {}
    (blobs / "0").write_bytes(b"changed")
    assert len(wrong(verify_release(settings, release, hashes=True))) >= 1


def test_a_table_that_is_read_is_compared_without_being_asked(release: Path, settings: Settings) -> None:
    text = (release / STEM).read_text()
    (release / STEM).write_text(text.replace(",x\n", ",y\n"))
    status, detail = wrong(verify_release(settings, release))[STEM]
    assert (status, "expected SHA-256" in detail) == ("damaged", True)


def test_what_nothing_looks_at_is_named(release: Path, settings: Settings) -> None:
    for name in ("figures/a.png", "profiles/OTHER_nodule_profiles.csv", "inserted_masks/mode1_x/y/z_mask.nii.gz"):
        write(release / name, "")
    for name in ("README.md", "manifests/mode2_size_detection_curve/._size_5_10mm.csv", "masks/LUNGx/x.nii.gz"):
        write(release / name, "")
    write(release / "manifests/mode2_size_detection_curve/prologue.csv", "case_id\n0\n")
    found = wrong(verify_release(settings, release))
    assert {path: status for path, (status, _) in found.items()} == {
        "figures": "unexpected",
        "profiles/OTHER_nodule_profiles.csv": "unexpected",
        "inserted_masks/mode1_x/y/z_mask.nii.gz": "unexpected",
        "manifests/mode2_size_detection_curve/prologue.csv": "damaged",
        "generated_cts/mode2_size_detection_curve/prologue": "missing",
    }


def test_hashes_must_stay_inside_the_release(release: Path, settings: Settings) -> None:
    (release / SUMS).write_text("0" * 64 + "  ../outside\n")
    with pytest.raises(ConfigError, match="a path inside the release"):
        verify_release(settings, release, hashes=True)
    (release / SUMS).unlink()
    with pytest.raises(ConfigError, match="leave out --hashes"):
        verify_release(settings, release, hashes=True)


def test_an_empty_folder_is_no_release(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(ConfigError, match="expected a folder"):
        verify_release(settings, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="expected at least one of"):
        verify_release(settings, tmp_path / "empty")


def test_the_published_release_has_its_counts(release: Path, settings: Settings) -> None:
    found = wrong(verify_release(settings, release, published=True))
    assert found["generated_cts/"] == ("contradicts", "expected 44174 in the published release, got 1")


def test_folders_name_modes() -> None:
    assert mode_of("mode2_size_detection_curve") == MODES[1]
    assert [mode_of(f) for f in ("mode14_x", "mode0", "size", "modeX")] == [None] * 4


RESULTS = "case_id,mode,image_path,task,prediction,ground_truth,correct,score_present\n"


def test_results_of_models_are_named_and_counted(release: Path, settings: Settings) -> None:
    """docs/facts/published-release.md#results-of-models."""
    top = "vlm_dataset/synthetic/lung_axial/biomedclip"
    row = "0,mode1_x,/there/slices/mode1_x/a.png,{task},present,present,True,20.5\n"
    for condition, task, text in (
        ("plain", "presence", RESULTS + 2 * row.format(task="presence")),
        ("bbox", "lobe", RESULTS + row.format(task="size")),
        ("bbox", "size", "case_id\n0\n"),
        ("arrow", "size", RESULTS),
    ):
        write(release / top / condition / f"{task}_results.csv", text)
    for copy in ("plain/aggregate", "plain/mode1_x"):
        write(release / top / copy / "presence_results.csv", RESULTS)
    write(release / "vlm_eval_demo/lung_axial/llava_med/plain/size_results.csv", RESULTS + row.format(task="size"))
    rows = {r.path: r for r in verify_release(settings, release) if r.kind == "results"}
    told = rows[f"{top}/plain/presence_results.csv"]
    assert (told.rows, told.status, told.detail) == (2, "ok", "model biomedclip, condition plain, task presence")
    assert {path: row.status for path, row in rows.items()} == {
        f"{top}/plain/presence_results.csv": "ok",
        f"{top}/bbox/lobe_results.csv": "contradicts",
        f"{top}/bbox/size_results.csv": "damaged",
        f"{top}/arrow/size_results.csv": "unexpected",
        "vlm_eval_demo/lung_axial/llava_med/plain/size_results.csv": "ok",
    }
    record_release(settings, list(rows.values()))
    assert read_all(settings.output, "released", kind="results").height == 5


def test_a_manifest_names_donors_that_its_profiles_hold(release: Path, settings: Settings) -> None:
    """Both names of an IMDCT donor; one that no profile has is named."""
    table = "profiles/IMDCT_nodule_profiles.csv"
    entry = datasets(settings)["IMDCT"]
    write(release / table, make_profiles("IMDCT", entry).head(3).write_csv())
    (release / SUMS).unlink()
    ids = load_profiles(release / table, entry, "real").profiles["annotation_id"].to_list()
    base = dict.fromkeys(MANIFEST_COLUMNS, "x") | {"host_dataset": "LUNGx", "nodule_idx": "0"}
    named = [("IMDCT", f"IMDCT_{ids[0]}_648"), ("IMDCT", ids[1]), ("LUNGx", "any"), ("", "")]

    def status(donors: list[tuple[str, str]]) -> ReleasedRow:
        rows = [
            base | {"case_id": str(i), "donor_dataset": d, "donor_annotation_id": a} for i, (d, a) in enumerate(donors)
        ]
        write(release / STEM, "\n".join(",".join(r) for r in [base, *(r.values() for r in rows)]) + "\n")
        return next(r for r in verify_release(settings, release) if r.path == STEM)

    assert status(named).status == "ok"
    lost = status([*named, ("IMDCT", "IMDCT_none_1"), ("IMDCT", "IMDCT_none_1")])
    assert (lost.status, lost.detail) == (
        "contradicts",
        "2 of 6 rows name a donor that its profiles lack, first IMDCT/IMDCT_none_1",
    )
