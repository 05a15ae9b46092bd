"""The catalog, a release and the index commands over one whole demo."""

import json
import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.catalog.questions import ready
from itrialspace_assets.catalog.rebuild import build, connect, views
from itrialspace_assets.catalog.references import orphans
from itrialspace_assets.records.store import read_all, write_table

from .conftest import apart, download, here

pytestmark = pytest.mark.slow


@pytest.fixture
def done(demo: Path) -> Settings:
    return load_settings(data_dir=demo / "data", output_dir=demo / "out")


def test_every_view_and_question_answers(done: Settings) -> None:
    with connect(done) as db:
        for name in views():
            assert db.sql(f'SELECT * FROM "{name}" LIMIT 1').description, name
        for name, question in ready().items():
            assert question.sql.startswith("-- "), f"{name} begins with what it asks"
            values = question.bound(
                [f"{v.name}=m02_size_detection_curve" for v in question.values if v.default is None]
            )
            assert db.sql(question.sql, params=values or None) is not None, name


def test_a_hundred_numbers_are_computed_again_by_sql(done: Settings) -> None:
    """Random rows of ``metrics`` from ``metric_cases``: the estimate to 1e-9, successes and counts exactly."""
    kinds = ("accuracy", "sensitivity", "specificity", "balanced_accuracy", "ppv", "npv", "macro_recall", "auc")
    key = "analysis, split, source, reader, task, condition, stratum, metric"
    with connect(done) as db:
        rows = db.sql(
            f"SELECT m.*, r.estimate AS again, r.k AS k_again, r.n_slices AS n_again, r.n_pictures AS pictures_again "
            f"FROM metrics m LEFT JOIN recomputed_metrics r USING ({key}) WHERE m.metric IN {kinds}"
        ).pl()
        differ = ready()["numbers_that_differ"]
        for name in rows["analysis"].unique().sort().head(3):
            assert db.sql(differ.sql, params=differ.bound([f"analysis={name}"])).fetchall() == []
    hundred = rows.filter(pl.col("estimate").is_not_null()).sample(100, seed=7)
    assert (hundred["estimate"] - hundred["again"]).abs().max() < 1e-9  # type: ignore[operator]
    for column, again in (("k", "k_again"), ("n_slices", "n_again"), ("n_pictures", "pictures_again")):
        assert hundred[column].to_list() == hundred[again].to_list()
    assert rows.filter(pl.col("estimate").is_null())["again"].drop_nulls().is_empty()


def test_two_readers_of_the_demo_are_compared(done: Settings, demo: Path) -> None:
    run = here("compare", "blob", "table_example", "--metric", "accuracy", "--json", "--dir", str(demo))
    got = json.loads(run.stdout)
    (real,) = got["sources"]
    keys = ["slice_uid", "condition", "source", "mode", "dataset"]
    said = [
        read_all(done.output, "answers", source="real", reader=reader)
        .filter(pl.col("task") == "presence", pl.col("condition") == "plain", pl.col("control") == "none")
        .join(read_all(done.output, "slices", source="real").filter(pl.col("control") == "none"), on=keys)
        .with_columns(right=(pl.col("answer") == pl.col("presence")).fill_null(False))
        .select("published_id", "right")
        for reader in ("blob", "table_example")
    ]
    both = said[0].join(said[1], on="published_id", suffix="_b")
    assert real["n"] == both.height > 0
    assert real["improved"] == both.filter(~pl.col("right"), pl.col("right_b")).height
    assert real["regressed"] == both.filter(pl.col("right"), ~pl.col("right_b")).height
    assert len(got["flips"]) == real["improved"] + real["regressed"]


def test_lineage_leads_from_a_nodule_to_its_answers(done: Settings) -> None:
    with connect(done) as db:
        uid, cases, answers = db.execute(
            "SELECT nodule_uid, count(DISTINCT case_uid), count(answer) FROM case_lineage WHERE source <> "
            "'real' GROUP BY 1 ORDER BY 3 DESC LIMIT 1"
        ).fetchone()  # type: ignore[misc]
    plan = read_all(done.output, "case_nodules").filter(pl.col("donor_nodule_uid") == uid)
    assert cases == plan["case_uid"].n_unique()
    slices = read_all(done.output, "slices", source="tissue").filter(
        pl.col("case_uid").is_in(plan["case_uid"].to_list()), pl.col("presence") == "present"
    )
    predictions = read_all(done.output, "answers", source="tissue").filter(pl.col("answer").is_not_null())
    keys = ["slice_uid", "condition", "mode", "dataset"]
    assert answers == slices.join(predictions, on=keys, how="inner").height > 0


def test_published_columns_come_first_in_the_view_of_answers(done: Settings) -> None:
    with connect(done) as db:
        view = db.sql("SELECT * FROM predictions").pl()
    published = ["case_id", "mode", "image_path", "task", "prompt", "raw_output", "prediction", "parse_status"]
    assert view.columns[:10] == [*published, "ground_truth", "correct"]
    assert view.height == read_all(done.output, "answers").join(
        read_all(done.output, "slices"), on=["slice_uid", "condition", "source", "mode", "dataset"]
    ).height  # fmt: skip


def test_references_hold_and_a_broken_one_is_named(done: Settings, tmp_path: Path) -> None:
    assert orphans(done) == []
    out = tmp_path / "out"
    shutil.copytree(done.output / "tables", out / "tables", copy_function=os.link)
    spoiled = load_settings(data_dir=done.data, output_dir=out)
    donors = read_all(out, "donors", dataset="DLCS24")
    path = out / "tables/donors/DLCS24/part.parquet"
    path.unlink()
    write_table(out, "donors", donors.head(0), dataset="DLCS24")
    build(spoiled, {})
    used = read_all(out, "case_nodules").filter(pl.col("donor_dataset") == "DLCS24").height
    (found,) = orphans(spoiled)
    assert (found.table, found.target, found.rows) == ("case_nodules", "donors", used)


def test_a_rebuild_is_seen_while_a_reader_is_connected(done: Settings, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(done.output / "tables", out / "tables", copy_function=os.link)
    own = load_settings(data_dir=done.data, output_dir=out)
    build(own, {})
    with connect(own) as before:
        rows = before.execute("SELECT count(*) FROM reviews").fetchone()
        review = {"case_uid": "a/b/00000", "reviewer": "me", "verdict": "accept", "reason": None, "number": 1}
        write_table(out, "reviews", [review])
        build(own, {})
        with connect(own) as after:
            assert after.execute("SELECT count(*) FROM reviews").fetchone() == (1,)
        assert before.execute("SELECT count(*) FROM reviews").fetchone() == rows == (0,)
    assert '<h2 id="nodules">' in (out / "dictionary.html").read_text()


def test_quality_page_tells_tables_and_severity(done: Settings) -> None:
    page = (done.output / "quality/index.html").read_text()
    assert "Anatomy: <b>procedural</b>" in page
    assert "expectations held over" in page
    assert "http" not in page, "the page loads nothing"


@pytest.fixture
def release(done: Settings, tmp_path: Path) -> Path:
    """The demo's own published layout, as if it had been downloaded."""
    return download(done.output, tmp_path / "release")


def importing(root: Path, out: Path, *more: str) -> tuple[int, str]:
    run = here("import-release", str(root), *more, ITRIALSPACE_DATA_DIR=str(out), ITRIALSPACE_OUTPUT_DIR=str(out))
    return run.returncode, run.stdout + run.stderr


def test_a_whole_release_is_registered_without_recomputing(release: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, text = importing(release, out, "--hashes")
    assert code == 0, text
    found = read_all(out, "released")
    assert set(found["status"]) == {"ok"}
    assert set(found["kind"]) == {"profiles", "manifests", "inserted_masks", "generated_cts", "slices", "splits"}
    assert not (out / "tables" / "cts").exists(), "nothing was computed"
    import dagster as dg

    with dg.DagsterInstance.from_config(str(out / "dagster")) as instance:
        for kind in ("manifests", "inserted_masks", "generated_cts", "slices"):
            parts = instance.get_materialized_partitions(dg.AssetKey(["released", kind]))
            assert parts == {"m02_size_detection_curve", "m11_digital_twin_isolation"}, kind
        assert len(instance.get_materialized_partitions(dg.AssetKey(["released", "profiles"]))) == 7
        assert instance.get_latest_materialization_event(dg.AssetKey(["released", "splits"])) is not None


def test_what_is_wrong_in_a_release_is_named_by_path(release: Path, tmp_path: Path) -> None:
    def spoil(pattern: str, data: bytes | None) -> str:
        path = sorted(release.rglob(pattern))[0]
        path.unlink()
        if data is not None:
            path.write_bytes(data)
        return str(path.relative_to(release))

    missing = spoil("inserted_masks/mode11*/**/*_mask.nii.gz", None)
    damaged = spoil("inserted_masks/mode2*/**/*_mask.nii.gz", b"no volume")
    split = spoil("vlm_dataset/splits/*.real.txt", b"another\n")
    picture = spoil("vlm_dataset/real/**/bbox/*.png", None)
    gone = sorted((release / "generated_cts_tissue/mode2_size_detection_curve").glob("*/*"))[-1]
    shutil.rmtree(gone)
    manifest = next(iter(sorted(release.glob("manifests/mode2*/size_*.csv"))))
    text = manifest.read_text().replace("insertion_lobe,", "lobe,", 1)
    manifest.unlink()
    manifest.write_text(text)
    code, told = importing(release, tmp_path / "out")
    assert code == 1
    found = read_all(tmp_path / "out", "released").filter(pl.col("status") != "ok")
    by_path = {r["path"]: r for r in found.iter_rows(named=True)}
    assert by_path[missing]["status"] == "missing"
    assert by_path[damaged]["status"] == "damaged"
    assert by_path[split]["status"] == "contradicts"
    assert "missing insertion_lobe" in by_path[str(manifest.relative_to(release))]["detail"]
    assert any(r["kind"] == "generated_cts" and r["status"] == "missing" for r in by_path.values())
    assert any(
        picture.split("/slices/")[1].split("/")[-1] in (r["detail"] or "")
        for r in by_path.values()
        if r["kind"] == "slices"
    )
    assert "Missing, damaged or wrong" in told


def test_the_published_release_has_its_counts(release: Path, tmp_path: Path) -> None:
    code, told = importing(release, tmp_path / "out", "--published")
    assert code == 1
    details = read_all(tmp_path / "out", "released").filter(pl.col("status") != "ok")["detail"].to_list()
    assert any("expected 44174 in the published release" in (d or "") for d in details)
    assert any("expected the 2487 rows of the release" in (d or "") for d in details), told


def test_no_release_is_a_message(tmp_path: Path) -> None:
    code, told = importing(tmp_path / "none", tmp_path / "out")
    assert (code, "expected a folder in the published layout" in told) == (2, True)
    (tmp_path / "empty").mkdir()
    code, told = importing(tmp_path / "empty", tmp_path / "out")
    assert (code, "expected at least one of profiles/" in told) == (2, True)


def test_index_commands(demo: Path, tmp_path: Path) -> None:
    def ask(*words: str) -> str:
        run = here("index", *words, "--dir", str(demo))
        assert run.returncode == 0, run.stderr
        return run.stdout

    assert "DLCS24" in ask("info")
    assert "malignant_share" in ask("stats")
    assert "total" in ask("stats", "--by", "dataset", "--across", "size_bucket")
    uid = read_all(demo / "out", "nodules")["nodule_uid"][0]
    for kind in ("csv", "parquet", "json"):
        out = tmp_path / f"x.{kind}"
        ask("export", "--out", str(out), "-w", "label=1")
        frame = (
            pl.read_csv(out)
            if kind == "csv"
            else pl.read_parquet(out)
            if kind == "parquet"
            else pl.DataFrame(json.loads(out.read_text()))
        )
        assert frame.height == (read_all(demo / "out", "nodules")["label"] == 1).sum()
    assert "nodules" in ask("search", "-w", "nodule_mean_diam_mm=5..20", "--sort", "nodule_mean_diam_mm")
    assert "distance" in ask("similar", uid, "-k", "3")
    assert "score" in ask("match", "--lobe", "RUL", "--diameter", "10")
    assert uid in ask("detail", uid)
    wrong = here("index", "search", "-w", "diam=3", "--dir", str(demo))
    assert (wrong.returncode, "column 'diam'" in wrong.stderr) == (2, True)


def test_profile_commands(demo: Path, tmp_path: Path) -> None:
    check = here("profiles", "check", "--dir", str(demo))
    assert check.returncode == 0
    assert "DLCS24: " in check.stdout
    verify = here("profiles", "verify", "--dataset", "DLCS24", "--dir", str(demo))
    assert verify.returncode == 0
    out = tmp_path / "m" / "OWN_nodule_profiles.csv"
    made = apart(
        "profiles",
        "measure",
        "--masks",
        str(demo / "data/masks/DLCS24/refined_seg"),
        "--dataset",
        "OWN",
        "--out",
        str(out),
    )
    assert made.returncode == 0, made.stderr
    assert f"Result: {out}" in made.stdout
    own = pl.read_csv(out)
    whole = read_all(demo / "out", "donors", dataset="DLCS24").filter(pl.col("voxels") >= 3).height
    assert own.height == whole
    assert "below 3 voxels" in made.stdout, "a speck is left out, and said"
    assert not list(out.parent.glob(".*-work")), "the journal of a command that ended well is gone"


def test_an_imported_scan_runs_to_the_index(demo: Path, tmp_path: Path) -> None:
    """A user's path: import a CT with its map and a nodule list, then ask the index."""
    masks, cts = demo / "data/masks/LUNGx/refined_seg", demo / "data/raw_ct/LUNGx"
    ct = sorted(cts.iterdir())[0]
    row = read_all(demo / "out", "nodules").filter(pl.col("dataset") == "LUNGx").row(0, named=True)
    (tmp_path / "n.csv").write_text(f"x,y,z,diameter_mm\n{row['coordX']},{row['coordY']},{row['coordZ']},9\n")
    brought = apart(
        "import",
        "--dataset",
        "MINE",
        "--ct",
        str(ct),
        "--organs",
        str(masks / ct.name.replace(".nii.gz", "_seg.nii.gz")),
        "--nodules",
        str(tmp_path / "n.csv"),
        "--labels",
        "vista3d",
        "--frame",
        "RAS",
        "--dir",
        str(tmp_path),
    )
    assert brought.returncode == 0, brought.stderr
    assert "1 scans with 1 nodules" in brought.stdout
    ran = apart("run", "--datasets", "MINE", "--to", "index", "--dir", str(tmp_path))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    nodule = read_all(tmp_path / "out", "nodules").row(0, named=True)
    assert (nodule["dataset"], nodule["mask_source"], nodule["has_organ_map"]) == ("MINE", "procedural", True)
    assert read_all(tmp_path / "out", "donors", dataset="MINE").height == 1
