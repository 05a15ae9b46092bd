"""The demo as a user runs it: whole, again, killed, and looked at."""

import html
import json
import os
import shutil
import signal
import time
from pathlib import Path

import duckdb
import nibabel as nib
import numpy as np
import polars as pl
import pytest

from itrialspace_assets.analysis.protocol.files import study_files
from itrialspace_assets.analysis.protocol.study import load_study, lock_state
from itrialspace_assets.analysis.reports.report import build_mode, build_real
from itrialspace_assets.analysis.reports.study_report import build_study
from itrialspace_assets.base.errors import CatalogBusy
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.catalog.rebuild import questions, rebuilding
from itrialspace_assets.imaging.anatomy import LOBES, NODULE, SIZE_BUCKETS
from itrialspace_assets.records.layout import MANIFEST_COLUMNS, OWN_COLUMNS
from itrialspace_assets.records.store import read_all
from itrialspace_assets.records.tables import TABLES

from ..support import warm
from .conftest import ITS, SMALL, apart, download, fingerprint, here, with_no_settings

pytestmark = pytest.mark.slow


def of(folder: Path) -> Settings:
    return load_settings(data_dir=folder / "data", output_dir=folder / "out")


def test_what_it_prints_and_leaves(demo: Path) -> None:
    text = (demo / "stdout.txt").read_text()
    for word in (
        "synthesise",
        "s a case",
        "auc [95 % interval]",
        "plan: 2 partitions made",
        "cases m02_size_detection_curve: 7 partitions made",
        "PROCEDURAL",
        "reports",
        "itrialspace.duckdb",
        "make ui",
    ):
        assert word in text, word
    tables = [line for line in text.splitlines() if line[:1] in "┏┡│┃└"]
    assert len(tables) > 20
    assert max(map(len, tables)) <= 100, "fits a terminal"
    out = demo / "out"
    for name in (
        "reports/m02_size_detection_curve/report.html",
        "reports/study/report.html",
        "quality/index.html",
        "vlm_dataset/splits/splits.json",
    ):
        assert (out / name).exists(), name
    assert "PROCEDURAL" in (out / "reports/m11_digital_twin_isolation/report.html").read_text().split("<h1>")[0]
    assert lock_state(of(demo), load_study(of(demo))).status == "locked", "before readers were asked"
    notes = (out / "partitions.json").read_text()
    assert "names no slice" not in notes, "tables of answers were looked up before all slices were cut"
    assert "not estimable by construction" in (out / "reports/study/report.html").read_text()


def test_every_shipped_study_forms_its_reports(demo: Path, tmp_path: Path) -> None:
    """Of a mode, of real slices and over all; a study that was not locked before readers were asked is exploratory."""
    own = tmp_path / "own"
    shutil.copytree(demo, own, copy_function=os.link)  # files are replaced by renaming, never written into
    names = set(study_files(of(own)))
    assert names == {"demo", "reader_trust", "virtual_lesion_study"}
    for name in sorted(names):
        settings = of(own).model_copy(update={"study": name})
        build_mode(settings, {"mode": "m11_digital_twin_isolation"})
        build_real(settings, {"dataset": "LUNA16"})
        build_study(settings, {})
        for report in ("m11_digital_twin_isolation", "real-LUNA16", "study"):
            page = (own / "out/reports" / report / "report.html").read_text()
            assert f"study {name} (" in page, report
            assert ("everything here is exploratory" in page) == (name != "demo"), report
        assert load_study(settings).question in html.unescape((own / "out/reports/study/report.html").read_text())


def test_every_size_bucket_and_lobe_occurs_and_everything_is_marked(demo: Path) -> None:
    nodules = read_all(demo / "out", "nodules")
    assert set(nodules["size_bucket"]) == set(SIZE_BUCKETS)
    assert set(nodules["lobe_name"]) == set(LOBES)
    for name, table in TABLES.items():
        if "anatomy" in table.schema:
            assert set(read_all(demo / "out", name)["anatomy"]) <= {"procedural"}, name
    for path in (*(demo / "data").rglob("*.nii.gz"), *(demo / "out" / "store").rglob("*.nii.gz")):
        assert "procedural" in str(nib.load(path).header["descrip"]), path


def test_inserted_masks_equal_the_host_but_for_the_nodule(demo: Path) -> None:
    out = demo / "out"
    for row in read_all(out, "insertions").iter_rows(named=True):
        mask = nib.load(out / row["mask_path"])
        host = nib.load(out / "store" / "hosts" / row["host_map_sha256"][:2] / f"{row['host_map_sha256']}.nii.gz")
        labels, under = np.asarray(mask.dataobj), np.asarray(host.dataobj)
        here = labels == NODULE
        np.testing.assert_array_equal(labels[~here], under[~here])
        assert np.isin(under[here], range(28, 33)).all(), "a nodule lies wholly inside the lung"
        np.testing.assert_allclose(mask.affine, host.affine)


def test_twins_are_put_back_voxel_for_voxel(demo: Path) -> None:
    donors = read_all(demo / "out", "donors").select("nodule_uid", pl.col("lesion").alias("native"))
    twins = read_all(demo / "out", "insertions", mode="m11_digital_twin_isolation").join(
        donors, left_on="donor_nodule_uid", right_on="nodule_uid"
    )
    assert twins.height
    assert (twins["lesion"] == twins["native"]).all()
    assert twins["cleared_site"].all()


def test_a_slice_and_its_twin_differ_only_around_the_lesion(demo: Path) -> None:
    from PIL import Image

    slices = read_all(demo / "out", "slices", source="tissue").filter(pl.col("condition") == "plain")
    decoys = slices.filter(pl.col("guidance_site").is_in(["cleared", "never"]))
    assert not decoys["paired"].any() and decoys["presence"].unique().to_list() == ["absent"]
    slices = slices.filter("paired")
    assert slices["pair_uid"].n_unique() > 5
    assert slices.group_by("pair_uid").n_unique()["slice_z"].max() == 1, "the same plane of image and twin"
    assert slices.group_by("pair_uid").n_unique()["guidance_site"].min() == 2
    for pair in slices.partition_by("pair_uid"):
        images = {
            r["presence"]: np.asarray(Image.open(demo / "out" / r["path"])).astype(int)
            for r in pair.iter_rows(named=True)
        }
        changed = np.argwhere(images["present"] != images["absent"])
        row = pair.row(0, named=True)
        reach = (np.ptp(changed, axis=0) + 1) * [row["pixel_y_mm"], row["pixel_x_mm"]]
        assert len(changed)
        assert reach.max() < 60, "the change is as large as a nodule, not as a chest"


def test_marks_of_whole_scans_are_reported(demo: Path) -> None:
    """Every inserted nodule counts and every lesion-free twin once; a nodule is found if a mark lies within it."""
    out, mode = demo / "out", "m02_size_detection_curve"
    found = read_all(out, "metrics", analysis=mode).filter(pl.col("task") == "detection")
    value = {(r["stratum"], r["metric"]): r for r in found.to_dicts()}
    cts = read_all(out, "cts", mode=mode)
    nodules = read_all(out, "insertions", mode=mode).filter("present")
    of_case = cts.filter(~pl.col("is_lesion_free")).select("case_uid", "image_uid")
    marks = read_all(out, "detections", mode=mode).select("image_uid", *(pl.col(f"world_{a}").alias(a) for a in "xyz"))
    squares = sum((pl.col(f"world_{a}") - pl.col(a)) ** 2 for a in "xyz")
    radius = pl.max_horizontal("diameter_mm", pl.lit(5.0)) / 2
    hit = nodules.join(of_case, on="case_uid").join(marks, on="image_uid").filter(squares.sqrt() <= radius)
    most = hit.select("case_uid", "nodule_idx").unique().height
    rates = [value["all", f"froc_{rate}"] for rate in ("0.125", "0.25", "0.5", "1", "2", "4", "8")]
    assert rates[0]["k"] <= rates[-1]["k"] <= most <= nodules.height
    assert rates[-1]["k"] > 0
    assert [r["k"] / nodules.height for r in rates] == pytest.approx([r["estimate"] for r in rates])
    assert value["all", "cpm"]["estimate"] == pytest.approx(np.mean([r["estimate"] for r in rates]))
    assert value["all", "wafroc"]["n_negatives"] == cts.filter("is_lesion_free")["image_uid"].n_unique()
    sizes = [r for (stratum, _), r in value.items() if stratum.startswith("size_bucket=")]
    assert sum(r["k"] for r in sizes) == value["all", "sensitivity_at_1_fp_per_lesion_free_scan"]["k"]
    assert (out / f"reports/{mode}/figures/froc_tissue.png").exists()


def test_the_published_layout(demo: Path) -> None:
    out = demo / "out"
    manifest = pl.read_csv(out / "manifests/mode11_digital_twin_isolation/DLCS24/digital_twin_isolation_DLCS24.csv")
    assert len(manifest.columns) == 54 + len(OWN_COLUMNS), "44, ten of isolation, ours"
    plain = pl.read_csv(out / "manifests/mode2_size_detection_curve/size_curve_10-15mm.csv").columns
    assert plain == [*MANIFEST_COLUMNS, *OWN_COLUMNS]
    assert len(MANIFEST_COLUMNS) == 44
    audit = json.loads((out / "inserted_masks/mode2_size_detection_curve/size_curve_10-15mm/audit.json").read_text())
    assert audit["n_success"] == audit["n_total"] == 5
    assert all((out / r["output_combined_path"]).exists() for r in audit["records"])
    case = next((out / "generated_cts_tissue/mode2_size_detection_curve/size_curve_10-15mm").iterdir())
    assert {p.name for p in case.iterdir()} == {
        "synthetic_ct.nii.gz",
        "lesion_free_ct.nii.gz",
        "input_mask.nii.gz",
        "render_audit.json",
    }
    table = pl.read_csv(out / "vlm_dataset/synthetic_tissue/lung_axial/eval_dataset.csv")
    for column in ("png_path", "png_bbox_path", "png_contour_path", "png_bbox_contour_path"):
        assert all((out / p).exists() for p in table[column])
    assert set(table["ground_truth_presence"]) == {"present"}


def test_questions_and_views_answer(demo: Path) -> None:
    of_number = ("--set", "analysis=m02_size_detection_curve", "--set", "metric=sensitivity")
    values = {"cases_of": of_number, "numbers_that_differ": of_number[:2]}
    for name in questions():
        done = here("sql", "-q", name, "--dir", str(demo), *values.get(name, ()))
        assert done.returncode == 0, done.stderr
    assert len(questions()) >= 6
    with duckdb.connect(str(demo / "out/itrialspace.duckdb"), read_only=True) as db:
        assert db.execute("SELECT planned = inserted AND rendered = sliced FROM flow").fetchall() == [(True,)] * 2
        assert (
            db.execute(
                "SELECT comment FROM duckdb_columns() WHERE table_name = 'insertions' AND column_name = 'shift_mm'"
            )
            .fetchone()[0]
            .endswith("[mm]")
        )


def test_a_second_run_starts_nothing_and_changes_no_byte(demo: Path) -> None:
    before = fingerprint(demo)
    done = here("demo", "--dir", str(demo), "--workers", "2", *SMALL)
    assert done.returncode == 0, done.stderr
    rows = [line.split("│")[1:] for line in done.stdout.splitlines() if line.startswith("│")][:12]
    assert len(rows) == 12, "a row a stage"
    assert all(row[1].strip() == "0" for row in rows), "no partition ran"
    assert fingerprint(demo) == before


def test_status_and_case_page(demo: Path) -> None:
    done = here("status", "--dir", str(demo))
    assert "mode_report" in done.stdout
    shown = here("case", "show", "size_detection_curve/10_15mm/00001", "--dir", str(demo))
    page = Path(shown.stdout.split(": ", 1)[1].strip()).read_text()
    pictures = page.count('src="data:image/png')  # the viewer has one of its own, where it is built
    assert pictures == 4 + 3 * 4, "host, mask, CT, twin; four of nodule, its place, empty place"
    for word in ("lesion-free twin", "Asked and got", "Answers", "PROCEDURAL"):
        assert word in page
    wrong = here("case", "show", "none/such/1", "--dir", str(demo))
    assert (wrong.returncode, "Traceback" in wrong.stderr) == (2, False)
    assert "for example" in wrong.stderr


def test_the_forecast_of_what_is_rendered_is_nothing(demo: Path) -> None:
    done = here("synth", "--modes", "2,11", "--dry-run", "--dir", str(demo))
    assert done.returncode == 0, done.stderr
    assert "tissue (trained on nothing (procedural)): 0 cases left on 0 hosts" in done.stdout
    none = here("synth", "--modes", "3", "--dry-run", "--dir", str(demo))
    assert (none.returncode, "run the stages up to insert first" in none.stderr) == (2, True)


def test_two_rebuilds_at_once_name_the_first(demo: Path) -> None:
    settings = of(demo)
    with rebuilding(settings):
        with pytest.raises(CatalogBusy, match=str(os.getpid())), rebuilding(settings):
            pass
        (demo / "out/itrialspace.duckdb").unlink()  # losing the file loses nothing
        done = apart("run", "--only", "catalog", "--dir", str(demo))
    assert done.returncode == 1
    assert str(os.getpid()) in done.stderr
    assert "Traceback" not in done.stderr
    assert here("run", "--only", "catalog", "--dir", str(demo)).returncode == 0
    assert (demo / "out/itrialspace.duckdb").exists()


def test_killed_again_and_again_it_ends_with_the_same_bytes(demo: Path, tmp_path: Path) -> None:
    command = [*ITS[1:], "demo", "--dir", str(tmp_path), "--workers", "2", *SMALL]
    for reached in ("data/raw_ct/*/*.nii.gz", "out/store/cts/**/*.nii.gz"):  # in the data root, among images
        process = warm.Process(command, with_no_settings())
        while process.poll() is None and not any(tmp_path.glob(reached)):
            time.sleep(0.1)
        assert process.poll() is None, f"it ended before there was any {reached}"
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = apart("demo", "--dir", str(tmp_path), "--workers", "1", *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert fingerprint(tmp_path) == fingerprint(demo)


def test_deltas_give_the_same_slices_and_answers(demo: Path, tmp_path: Path) -> None:
    """Of a mode that was planned in the demo; of all tables that are compared none is released."""
    release, root = download(demo / "out", tmp_path / "release"), tmp_path / "new"
    shutil.copytree(demo / "data/readers", root / "data/readers")
    shutil.copyfile(demo / "data/readers.yaml", root / "data/readers.yaml")
    parts = "profiles,hosts,index,manifests"
    assert here("import-release", str(release), "--use", parts, "--dir", str(root)).returncode == 0
    compared, mode = ("slices", "generations", "answers"), "m11_digital_twin_isolation"
    assert not any(read_all(root / "out", name).height for name in compared)
    asked = {"ITRIALSPACE_MASKS": "delta", "ITRIALSPACE_CTS": "delta", "ITRIALSPACE_WORKERS": "1"}
    done = here("run", "--modes", "11", "--to", "read", "--dir", str(root), **asked)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in compared:
        made = read_all(root / "out", name, mode=mode)
        assert made.height and made.equals(read_all(demo / "out", name, mode=mode)), name
    assert not (root / "out/store/masks").exists()
    whole, patch = (sum(f.stat().st_size for f in (x / "out/store/cts").rglob("*.nii.gz")) for x in (demo, root))
    assert 0 < patch < whole


def test_another_manifest_makes_what_follows_stale_and_is_not_frozen(demo: Path, tmp_path: Path) -> None:
    """Planned again with another seed: nothing crashes, nothing old is frozen or reported as new."""
    shutil.copytree(
        demo / "out", tmp_path / "out", copy_function=os.link, ignore=shutil.ignore_patterns("dagster", "*.sqlite*")
    )
    (tmp_path / "data").symlink_to(demo / "data")
    for path in (tmp_path / "out").rglob("*.jsonl"):  # hard links to journals must not be appended to
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)
    changed = {"ITRIALSPACE_SEED": "7", "ITRIALSPACE_SPLIT": "v2"}
    assert here("run", "--modes", "2", "--only", "plan", "--dir", str(tmp_path), **changed).returncode == 0
    status = here("status", "--dir", str(tmp_path), **changed)
    assert status.returncode == 0, status.stderr
    assert here("run", "--modes", "2", "--only", "splits", "--dir", str(tmp_path), **changed).returncode == 0
    frozen = {p.stem for p in (tmp_path / "out/splits/v2/tissue").glob("*.txt")}
    assert "m02_size_detection_curve" not in frozen
    done = here("run", "--modes", "2", "--only", "report", "--dir", str(tmp_path), **changed)
    assert "left out" in done.stdout


def test_reports_of_an_edited_list_are_refused(demo: Path) -> None:
    """Up to date as they are: the list is looked at whenever reports are asked for."""
    path = demo / "out/splits/demo_v1/tissue/m02_size_detection_curve.csv"
    data = path.read_bytes()
    try:
        path.write_bytes(b"".join(data.splitlines(keepends=True)[:-20]))
        done = here("run", "--modes", "2", "--only", "report", "--dir", str(demo))
        assert done.returncode == 1
        assert "m02_size_detection_curve: expected the" in done.stderr and "changed after freezing" in done.stderr
        assert here("splits", "verify", "--dir", str(demo)).returncode == 1
    finally:
        path.write_bytes(data)
    assert here("run", "--modes", "2", "--only", "report", "--dir", str(demo)).returncode == 0


def test_slices_are_counted_before_they_are_cut(demo: Path) -> None:
    """What is cut already is not counted again; a blank is one more picture of each of the three targets of a case."""
    out = demo / "out"
    cases = read_all(out, "slices", source="tissue", mode="m02_size_detection_curve")["case_uid"].n_unique()
    done = here("slices", "--modes", "2", "--source", "tissue", "--dry-run", "--dir", str(demo))
    assert done.returncode == 0, done.stderr
    assert f"tissue: {cases} cases" in done.stdout and "0 left, at most 0 pictures" in done.stdout
    more = here("slices", "--modes", "2", "--source", "tissue", "--controls", "blank", "--dry-run", "--dir", str(demo))
    assert f"{cases} left, at most {cases * 3 * 5} pictures" in more.stdout
    assert "Nothing was cut" in more.stdout
    wrong = here("slices", "--modes", "2", "--profile", "lung", "--dry-run", "--dir", str(demo))
    assert wrong.returncode == 2 and "lung_axial" in wrong.stderr
