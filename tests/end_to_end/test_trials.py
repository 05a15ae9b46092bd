"""Trials from the command line, and a user's own trial through the whole graph."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from itrialspace_assets.imaging.anatomy import NODULE
from itrialspace_assets.imaging.geometry import read_labels
from itrialspace_assets.records.store import read_all

from .conftest import here

OWN = """
mode: x_clean
trial: clean
question: Does a reader keep quiet where there is nothing?
planner: sampled
cohort:
  prevalence: {value: 0.5, of: nodule, unit: scan}
  hosts: {datasets: [LUNA16, LUNA25], max_uses: null}
  attenuation: ground_glass
  acquisition: {dose: 0.5}
arms: [{name: all, published: clean, varies: none, level: none}]
sizes: {demo: {n_cases: 4}, paper: {n_cases: 40}}
"""


@pytest.mark.slow
def test_looking_at_trials_and_making_one(tmp_path: Path) -> None:
    listed = here("trials", "list", COLUMNS="250")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.count("m13_digital_twin_cross") == 1
    shown = here("trials", "show", "5", "--size", "paper", "--set", "cohort.n_cases=7")
    assert "arm v0_05" in shown.stdout
    assert shown.stdout.count("7 cases") == 5
    made = here("trials", "new", "mine", "--from", "2", "--dir-out", str(tmp_path))
    assert made.returncode == 0, made.stderr
    assert "its run --modes x_mine" in made.stdout
    assert here("trials", "validate", str(tmp_path / "x_mine.yaml")).returncode == 0
    changed = here("trials", "diff", "2", str(tmp_path / "x_mine.yaml"))
    assert "trial.trial" in changed.stdout
    assert "no difference" in here("trials", "diff", "2", "2").stdout
    again = here("trials", "new", "mine", "--from", "2", "--dir-out", str(tmp_path))
    assert (again.returncode, "already there" in again.stderr) == (2, True)
    path = tmp_path / "x_mine.yaml"
    path.write_text(path.read_text().replace("label: 1", "lable: 1"))
    wrong = here("trials", "validate", str(path))
    assert (wrong.returncode, "did you mean 'label'" in wrong.stderr) == (2, True)
    assert json.loads(here("trials", "schema").stdout)["title"] == "Trial"


@pytest.mark.slow
def test_the_published_command() -> None:
    def its_trials(*arguments: str) -> subprocess.CompletedProcess[str]:
        call = [sys.executable, "-m", "itrialspace_assets.cli.its_trials", *arguments]
        return subprocess.run(call, check=False, capture_output=True, text=True, timeout=300)

    done = its_trials("--mode", "nothing")
    assert (done.returncode, "size_detection_curve" in done.stderr) == (1, True)
    done = its_trials("--mode", "size_detection_curve", "--n-rounds", "3")
    assert (done.returncode, "--n-rounds: means nothing in this mode" in done.stderr) == (2, True)
    assert its_trials("--mode", "counterfactual", "--vary-param", "age").returncode == 2
    assert its_trials("--n-cases", "3").returncode == 2


@pytest.mark.slow
def test_planning_refuses_and_relaxes(data_root: Path, tmp_path: Path) -> None:
    roots = {"ITRIALSPACE_DATA_DIR": str(data_root), "ITRIALSPACE_OUTPUT_DIR": str(tmp_path / "out")}
    roots["ITRIALSPACE_WORKERS"] = "1"
    asked = ("--set", "cohort.n_cases=8", "--set", "cohort.donors.max_uses=1")
    refused = here("trials", "plan", "2", *asked, **roots)
    assert refused.returncode == 1
    assert "no donor is left for case" in refused.stdout + refused.stderr
    assert not (tmp_path / "out/manifests").exists()
    assert not (tmp_path / "out/trials").exists()
    assert not (tmp_path / "out/tables/cases").exists()
    possible = here("trials", "feasibility", "2", *asked, COLUMNS="200", **roots)
    assert possible.returncode == 1
    assert "binds" in possible.stdout
    assert "infeasible as asked" in possible.stdout
    done = here("trials", "plan", "2", *asked, "--relax", **roots)
    assert done.returncode == 0, done.stdout + done.stderr
    arms = read_all(tmp_path / "out", "arms")
    assert set(arms["got_cases"]) == {8}
    assert arms["relaxations"].str.contains("donors.max_uses x2").any()
    about = json.loads((tmp_path / "out/trials/mode2_size_detection_curve/trial.json").read_text())
    assert about["relaxed"] is True
    checked = here("trials", "validate", "2", **roots)
    assert (checked.returncode, "0 rules broken" in checked.stdout) == (0, True)


@pytest.mark.slow
def test_a_users_trial_with_clean_cases_goes_through_the_whole_graph(data_root: Path, tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials/x_clean.yaml").write_text(OWN)
    (tmp_path / "data").symlink_to(data_root)
    done = here(
        *("run", "--modes", "x_clean", "--datasets", "LUNA16,LUNA25", "--dir", str(tmp_path)),
        ITRIALSPACE_TRIALS_DIR=str(tmp_path / "trials"),
        ITRIALSPACE_WORKERS="1",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    out = tmp_path / "out"
    cases = read_all(out, "cases")
    clean = cases.filter(pl.col("n_nodules") == 0)["case_uid"]
    assert (cases.height, len(clean)) == (4, 2)
    inserted = read_all(out, "insertions")
    assert inserted.filter(~pl.col("present"))["case_uid"].sort().equals(clean.sort())
    assert inserted.height == 4, "a clean case keeps its place, for guidance"
    for row in inserted.iter_rows(named=True):
        assert (read_labels(out / row["mask_path"]).array == NODULE).any() == row["present"]
    images = read_all(out, "cts", source="tissue").filter(~pl.col("is_lesion_free"))
    assert images["attenuation"].to_list() == ["ground_glass"] * 2
    assert set(images["acquisition"]) == {"MTF50 0.4/mm, dose 0.5, host's slices"}
    assert images["lesion_hu"].is_between(-750, -350).all(), images["lesion_hu"]
    slices = read_all(out, "slices", source="tissue")
    assert set(slices.filter(pl.col("case_uid").is_in(clean.to_list()))["presence"]) == {"absent"}
    assert read_all(out, "rejected_cases", mode="x_clean").is_empty()
    assert (out / "reports/x_clean/report.html").exists()
    assert (out / "manifests/x_clean/clean.csv").exists()
