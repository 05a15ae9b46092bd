"""Commands that need no data: configuration, trial files, questions of the catalog, status."""

from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from itrialspace_assets import drive
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import Result
from itrialspace_assets.catalog.rebuild import NAME
from itrialspace_assets.trials import build

from .conftest import Its


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a data root that holds one empty profile table."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    (tmp_path / "data/profiles").mkdir(parents=True)
    (tmp_path / "data/profiles/LUNA25_nodule_profiles.csv").write_text("")
    return tmp_path


def test_config_masks_secrets_and_says_where_values_come_from(
    its: Its, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("ITRIALSPACE_SEED", "7")
    monkeypatch.setenv("ITRIALSPACE_DATA_DIR", "/elsewhere")
    (folder / ".env").write_text("ITRIALSPACE_SHARDS=5\n")
    done = its("config", "--dir", ".")
    assert done.code == 0
    assert "hf_secret" not in done.out + done.err
    rows = {cells[0]: cells[1:3] for line in done.out.splitlines() if (cells := line.strip("│ ").split("│")[:3])[1:]}
    found = {name.strip(): [c.strip() for c in cells] for name, cells in rows.items()}
    assert found["ITRIALSPACE_SEED"] == ["7", "environment"]
    assert found["ITRIALSPACE_SHARDS"][0] == "5"
    assert found["ITRIALSPACE_SHARDS"][1] not in ("option", "environment", "default")
    assert found["ITRIALSPACE_DATA_DIR"][1] == "option", "an option takes precedence over the environment"
    assert found["ITRIALSPACE_BATCH"][1] == "default"
    assert found["HF_TOKEN"] == ["**********", "environment"]
    assert f"Data root: {folder / 'data'} (real anatomy)" in done.out


def test_a_new_trial_is_planned_by_its_file_alone(its: Its, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through Dagster: the mode is a partition because the folder of the file travels with the settings."""
    built: list[tuple[Settings, dict[str, str]]] = []

    def stub(settings: Settings, partition: dict[str, str]) -> Result:
        built.append((settings, partition))
        return Result()

    def only_plan(*given: Any, choose: Any = drive.choose) -> drive.RunChoice:
        choice = choose(*given)
        assert choice.stages == ("profiles", "hosts", "index", "plan")
        return drive.RunChoice(choice.modes, choice.datasets, ("plan",))

    monkeypatch.setattr(build, "build", stub)
    monkeypatch.setattr(build, "build_feasibility", stub)
    monkeypatch.setattr(drive, "choose", only_plan)
    monkeypatch.setattr("itrialspace_assets.trials.checks.checks", lambda *_: [])
    monkeypatch.setenv("ITRIALSPACE_TRIALS_DIR", "trials")  # not there yet
    made = its("trials", "new", "mine", "--dir-out", "trials", "--dir", ".")
    assert made.code == 0, made.err
    assert made.out.splitlines()[-1] == "Result: trials/x_mine.yaml"
    done = its("trials", "plan", "trials/x_mine.yaml", "2", "--dir", ".", "--workers", "1")
    assert done.code == 0, done.out + done.err
    assert done.out.splitlines()[-2:] == [
        f"Result: {folder}/out/manifests/x_mine",
        f"Result: {folder}/out/manifests/mode2_size_detection_curve",
    ]
    assert [p["mode"] for _, p in built] == ["x_mine"] * 2 + ["m02_size_detection_curve"] * 2
    assert {s.trials_dir for s, _ in built} == {folder / "trials"}


def test_plan_knows_ranges_and_refuses_files_of_two_folders(
    its: Its, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Settings, drive.RunChoice]] = []

    def note(settings: Settings, choice: drive.RunChoice) -> bool:
        seen.append((settings, choice))
        return False

    monkeypatch.setattr(drive, "drive", note)
    assert its("trials", "plan", "1-3", "x_lobe_size_shortcut", "--dir", ".", "--set", "cohort.n_cases=4").code == 0
    (settings, choice) = seen[0]
    assert [m[:3] for m in choice.modes] == ["m01", "m02", "m03", "x_l"]
    assert (settings.overrides, settings.trials_dir) == ("cohort.n_cases=4", None)
    for name in ("a", "b"):
        assert its("trials", "new", name, "--dir-out", name, "--dir", ".").code == 0
    done = its("trials", "plan", "a/x_a.yaml", "b/x_b.yaml", "--dir", ".")
    assert (done.code, "of one folder" in done.err) == (2, True)


def test_trial_files_are_shown_compared_and_never_overwritten(its: Its, folder: Path) -> None:
    assert its("trials", "new", "mine", "--from", "2", "--dir", ".").code == 0
    path = folder / "trials/x_mine.yaml"
    assert "x_mine at size paper" in its("trials", "show", str(path), "--size", "paper").out
    assert "There is no difference" in its("trials", "diff", "2", "2").out
    assert "size" in its("trials", "diff", "2", "2", "--size", "demo", "--other-size", "paper").out
    differs = its("trials", "diff", "2", "trials/x_mine.yaml").out
    assert "trial.trial" in differs
    assert "cohort" not in differs
    before = path.read_text()
    again = its("trials", "new", "mine", "--dir", ".")
    assert (again.code, "already there" in again.err, path.read_text()) == (2, True, before)
    path.write_text(before.replace("label: 1", "lable: 1"))
    wrong = its("trials", "validate", "trials/x_mine.yaml")
    assert (wrong.code, "did you mean 'label'" in wrong.err) == (2, True)


def test_status_names_a_planned_mode_whose_trial_file_is_not_found(its: Its, folder: Path) -> None:
    (folder / "out/tables/cases/x_gone").mkdir(parents=True)
    pl.DataFrame({"a": [1]}).write_parquet(folder / "out/tables/cases/x_gone/part.parquet")
    done = its("status", "--dir", ".")
    assert done.code == 0, done.err
    assert "Note: x_gone: its trial file is not found; set ITRIALSPACE_TRIALS_DIR" in done.out


def test_sql(its: Its, folder: Path) -> None:
    (folder / "out").mkdir()
    with duckdb.connect(str(folder / "out" / NAME)) as db:
        db.execute("CREATE TABLE results AS SELECT 42 AS answer")
    assert "42" in its("sql", "SELECT * FROM results", "--dir", ".").out
    for statement in ("DELETE FROM results", "DROP TABLE results", "SELECT", "SELECT * FROM nothing"):
        done = its("sql", statement, "--dir", ".")
        assert done.code == 2, statement
        assert done.err.startswith("Error: sql: ")
        assert "Traceback" not in done.err
    assert "42" in its("sql", "SELECT * FROM results", "--dir", ".").out
    assert "size_curve" in its("sql").out
    assert "size_curve" in its("sql", "--list").out


def test_demo_data_shows_its_progress(its: Its, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make_root(out: Path, hosts: int, seed: int, spacing: Any, progress: Any) -> bool:
        for _ in range(7 * hosts):
            progress(1)
        return True

    monkeypatch.setattr("itrialspace_assets.demo.root.make_root", make_root)
    done = its("demo-data", "--out", "new", "--hosts", "10")
    assert done.err.splitlines() == [f"procedural scans: {n} of 70" for n in range(0, 71, 7)]
    assert done.out.splitlines() == ["Procedural data root made", "Result: new"]


def test_values_of_a_ready_question_are_bound_never_pasted(its: Its, folder: Path) -> None:
    (folder / "out").mkdir()
    columns = "analysis, source, reader, task, condition, stratum, metric, slice_uid, case_uid, truth, answer, status"
    with duckdb.connect(str(folder / "out" / NAME)) as db:
        db.execute(
            f"CREATE TABLE metric_contributions AS SELECT * FROM (VALUES ('m', 'tissue', 'r', 'presence', 'plain', "
            f"'all', 'auc', 's1', 'small_loss', 'present', 'present', 'ok', 1.0, 1.0, 0.4, 0.1, 5.0, 'h', 'd'), "
            f"('m', 'tissue', 'r', 'presence', 'plain', 'all', 'auc', 's2', 'great_loss', 'absent', 'present', 'ok', "
            f"1.0, 1.0, 0.1, 0.4, NULL, 'h', NULL)) AS t({columns}, score, value, contribution, lost, diameter_mm, "
            "host_person_uid, donor_person_uid)"
        )
        db.execute(
            "CREATE TABLE metrics AS SELECT 'm' AS analysis, 'presence' AS task, 'plain' AS condition, 'all' AS "
            "stratum, 'auc' AS metric, 2 AS n_slices"
        )
        db.execute(
            "CREATE TABLE slices AS SELECT 'tissue' AS source, 's2' AS slice_uid, 'plain' AS condition, "
            "'great_loss' AS case_uid, 'store/s2.png' AS path, 'none' AS control"
        )
    asked = ("sql", "-q", "cases_of", "--dir", ".", "--set")
    done = its(*asked, "analysis=m", "--set", "metric=auc")
    assert done.code == 0, done.err
    assert 0 < done.out.index("great_loss") < done.out.index("small_loss"), "the greatest loss first"
    assert "store/s2.png" in done.out
    quoted = its(*asked, "analysis=m' OR 'a'='a", "--set", "metric=auc")
    assert (quoted.code, "great_loss" in quoted.out) == (0, False)
    assert "great_loss" not in its(*asked, "analysis=m", "--set", "metric=auc", "--set", "reader=other").out
    missing = its(*asked, "analysis=m")
    assert (missing.code, missing.err) == (
        2,
        "Error: -q cases_of: expected --set metric=… (the metric, for example sensitivity)\n",
    )
    misspelt = its(*asked, "analysis=m", "--set", "metrik=auc")
    assert (misspelt.code, "did you mean 'metric'" in misspelt.err) == (2, True)
    assert its("sql", "SELECT 1", "--set", "metric=auc", "--dir", ".").code == 2
    assert "--set stratum=…" in its("sql", "--list").out
