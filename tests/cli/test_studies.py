"""``its study`` and ``its plan``: what they print, write, and how they end."""

import json
from pathlib import Path

import pytest

from itrialspace_assets.base.settings import Settings, load_settings
from tests.cli.conftest import Its


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An empty data root."""
    settings = load_settings(data_dir=tmp_path, output_dir=tmp_path / "out")
    (tmp_path / "profiles").mkdir()
    monkeypatch.setenv("ITRIALSPACE_DATA_DIR", str(settings.data))
    monkeypatch.setenv("ITRIALSPACE_OUTPUT_DIR", str(settings.output))
    return settings


def test_a_study_is_locked_once_and_found_edited(
    its: Its, root: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ITRIALSPACE_STUDIES_DIR", str(tmp_path / "own"))  # not there yet
    made = its("study", "new", "mine", "--from", "demo")
    assert made.code == 0 and made.out.splitlines()[-1] == f"Result: {tmp_path / 'own' / 'mine.yaml'}"
    assert "its study lock mine" in made.out
    before = its("study", "check", "mine")
    assert before.code == 1 and "is not locked for the split demo_v1" in before.out
    assert "Next: its study lock mine" in before.out
    locked = its("study", "lock", "mine")
    path = root.output / "splits" / "demo_v1.mine.lock.json"
    assert locked.code == 0 and locked.out.splitlines()[-1] == f"Result: {path}"
    assert f"SHA-256 {json.loads(path.read_text())['sha256']}" in locked.out
    assert its("study", "check", "mine").code == 0
    again = its("study", "lock", "mine")
    assert again.code == 2 and "a lock is written once" in again.err
    assert its("study", "lock", "mine", "--split", "other").code == 0
    file = tmp_path / "own" / "mine.yaml"
    file.write_text(file.read_text().replace("alpha: 0.05", "alpha: 0.1  # looser"))
    after = its("study", "check", "mine")
    assert after.code == 1 and "edited: alpha was 0.05, is 0.1" in after.out and "exploratory" in after.out
    file.write_text(file.read_text().replace("metric: auc", "metric: auk"))
    wrong = its("study", "check", "mine")
    assert (
        wrong.code == 2
        and "mine.yaml: primary: metric: 'auk' is no metric of presence; did you mean 'auc'" in wrong.err
    )
    assert its("study", "check", "mien").err.count("did you mean 'mine'") == 1


def test_studies_are_listed_and_shown_in_plain_words(its: Its, root: Settings) -> None:
    listed = its("study", "list")
    assert listed.code == 0 and all(name in listed.out for name in ("demo *", "reader_trust", "virtual_lesion_study"))
    shown = its("study", "show", "virtual_lesion_study")
    assert shown.code == 0 and "biomedclip, llava_med, medgemma" in shown.out
    assert len(shown.out.splitlines()) < 60, "one screen"
    assert json.loads(its("study", "schema").out)["title"] == "Study"


def test_power_of_a_study_and_of_a_trial(its: Its, root: Settings) -> None:
    stated = ("--seconds-per-ct", "36", "--seconds-per-answer", "0", "--json")
    done = its("plan", "power", "virtual_lesion_study", "--cases", "100,400", *stated)
    assert done.code == 0
    said = json.loads(done.out)
    assert said["study"] == "virtual_lesion_study" and [r["cases"] for r in said["rows"]] == [100, 400]
    assert said["rows"][1]["gpu_hours"] == 4
    assert 1.8 < said["rows"][0]["width"] / said["rows"][1]["width"] < 2.3, "as the root of the cases"
    trial = its("plan", "power", "2", "--expected", "0.9")
    assert trial.code == 0 and "Assumed: auc 0.9" in trial.out and "not tested" in trial.out
    assert its("plan", "power", "2", "--reader", "blob").err.count("expected with --pilot") == 1
    assert its("plan", "power", "2", "--cases", "many").err.count("expected whole numbers") == 1
    lost = its("plan", "power", "2", "--pilot", "2")
    assert lost.code == 1 and "demo_v1 holds no list for it; " in lost.err and "`its splits freeze demo_v1`" in lost.err
