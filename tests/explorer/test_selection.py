"""Trials of a selection: the file says what was selected, feasibility counts it, and no file is replaced."""

from pathlib import Path

import polars as pl
import pytest
from starlette.testclient import TestClient

from itrialspace_assets.base.errors import ConfigError, TrialError
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.explorer.app import create_app
from itrialspace_assets.explorer.selection import enough
from itrialspace_assets.explorer.selection.draft import Draft, draft_trial, trial_text
from itrialspace_assets.explorer.selection.enough import Feasibility, feasible
from itrialspace_assets.explorer.selection.saved import save_trial
from itrialspace_assets.explorer.server.security import Access
from itrialspace_assets.records.store import read_table
from itrialspace_assets.trials.files import load_trial, read_trial
from itrialspace_assets.trials.pool import donor_pool, host_pool
from tests.explorer.search.nodules import frame, write
from tests.trials.conftest import small_pool, small_trial

BASE = "m08_algorithm_comparison"
DRAFT = Draft(BASE, "mine", "donors", "demo", 7)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "trials").mkdir()
    (tmp_path / "data" / "profiles").mkdir(parents=True)
    return load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out", trials_dir=tmp_path / "trials")


def some(*numbers: int) -> pl.DataFrame:
    """Nodules of ``small_pool`` with their scans."""
    ids = [f"A/{i:03d}" for i in numbers]
    return pl.DataFrame({"nodule_uid": ids, "scan_uid": [f"{i}s" for i in ids]})


def test_a_selection_is_all_that_donors_or_hosts_are_drawn_from(settings: Settings) -> None:
    pool = small_pool()
    donors = draft_trial(settings, DRAFT, some(3, 1, 1)).cohort
    assert donors.donors.nodules == ["A/001", "A/003"] and donors.hosts.scans is None
    found, counts = donor_pool(pool, small_trial(donors={"nodules": ["A/001", "A/003"]}).cohort)
    assert found["nodule_uid"].to_list() == ["A/001", "A/003"]
    assert (counts[-1].constraint, counts[-1].left) == ("one of 2 listed nodules", 2)

    hosts = draft_trial(settings, Draft(BASE, "mine", "hosts", "demo"), some(5)).cohort
    assert hosts.hosts.scans == ["A/005s"] and hosts.donors.nodules is None
    found, counts = host_pool(pool, small_trial(hosts={"scans": ["A/005s"]}).cohort)
    assert found["scan_uid"].to_list() == ["A/005s"] and counts[-1].left == 1


def test_the_saved_file_is_the_base_with_the_selection_and_the_number(settings: Settings) -> None:
    trial = draft_trial(settings, DRAFT, some(*range(12)))
    path = save_trial(settings, trial, trial_text(trial, DRAFT, ["diameter 6 to 15 mm\nx: &a"]))
    assert path.name == "x_mine.yaml" and list(path.parent.iterdir()) == [path]
    assert path.read_text().startswith(f"# Made by the explorer from {BASE}: its donors are the nodules of a selection")
    read, base = read_trial(path), load_trial(settings, BASE)
    assert read == trial and read.cohort.donors.nodules == some(*range(12))["nodule_uid"].to_list()
    assert read.sizes["demo"]["n_cases"] == 7 and read.sizes["paper"] == base.sizes["paper"]
    assert (
        read.model_copy(update={"cohort": base.cohort, "sizes": base.sizes, "mode": BASE, "trial": base.trial}) == base
    )
    before = path.read_bytes()
    with pytest.raises(TrialError, match="x_mine: a trial of this name is there already"):
        save_trial(settings, trial, "other")
    assert path.read_bytes() == before


def test_what_cannot_be_a_trial_is_refused_in_words(settings: Settings) -> None:
    for draft, selected, message in (
        (Draft(BASE, "../mine", "donors", "demo"), some(1), "1 to 38 small letters"),
        (Draft(BASE, "", "donors", "demo"), some(1), "1 to 38 small letters"),
        (DRAFT, some(), "at least one nodule, got none"),
        (Draft("m99", "mine", "donors", "demo"), some(1), "'m99' is not a mode"),
        (Draft("m11_digital_twin_isolation", "mine", "donors", "demo", 3), some(1), "takes all that its pools hold"),
    ):
        with pytest.raises(ConfigError, match=message):
            draft_trial(settings, draft, selected)
    shipped = draft_trial(settings, Draft(BASE, load_trial(settings, BASE).trial, "donors", "demo"), some(1))
    with pytest.raises(TrialError, match="already"):
        save_trial(settings, shipped, "")
    mine = draft_trial(settings, DRAFT, some(1))
    with pytest.raises(TrialError, match=r"ITRIALSPACE_TRIALS_DIR=trials its explore"):
        save_trial(settings.model_copy(update={"trials_dir": None}), mine, "")
    with pytest.raises(ConfigError, match="at most 200000 bytes"):
        save_trial(settings, mine, "#" * 200_001)


def test_feasibility_names_the_pool_that_ends_the_trial_and_what_helps(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enough, "pool_of", lambda settings: (small_pool(), pl.DataFrame()))

    def study(n: int, *numbers: int) -> Feasibility:
        made = small_trial(donors={"nodules": some(*numbers)["nodule_uid"].to_list()}, at_size={"n_cases": n})
        return feasible(settings, made, "demo")

    # three donors, each at most 3 times, at least 1/1.5 and at most 1.5 times their size: at most nine cases
    enough_of, short = study(6, 10, 11, 12), study(12, 10, 11, 12)
    assert enough_of.is_enough and enough_of.arms[0].feasible >= 6
    (arm,) = short.arms
    assert not short.is_enough and not arm.is_enough
    assert (arm.wanted, arm.feasible) == (12, 9) and arm.why.startswith("feasible cases (donors:")
    assert [c.left for c in arm.counts if c.constraint == "one of 3 listed nodules"] == [3]
    assert [c.of for c in arm.counts if c.binds] == ["donors"]
    helps = {r.name: r for r in arm.relaxations}
    assert helps["donors.max_uses x2"].helps and helps["donors.max_uses x2"].cases == 18
    assert not helps["clearance_mm 0"].helps


def test_the_page_saves_a_trial_once_and_is_refused_in_words(settings: Settings) -> None:
    from concurrent.futures import ThreadPoolExecutor

    write(settings.output, frame(40))
    client = TestClient(create_app(settings, Access()), base_url="http://localhost")
    bases = client.get("/api/selection/bases").json()
    assert bases["has_folder"] and bases["trials"][1]["mode"] == "m02_size_detection_curve"
    assert bases["trials"][1]["sizes"][1] == {"size": "paper", "arms": 6, "n_cases": 100}

    asked = {"base": BASE, "name": "mine", "pool": "hosts", "n_cases": 3, "text": "D1", "words": ["text: D1"]}
    with ThreadPoolExecutor(4) as many:
        answers = list(many.map(lambda _: client.post("/api/selection/trial", json=asked), range(4)))
    assert sorted(a.status_code for a in answers) == [201, 409, 409, 409]
    saved = next(a for a in answers if a.status_code == 201).json()
    (path,) = (settings.trials_dir or Path()).iterdir()
    assert (saved["mode"], saved["file"], saved["text"]) == ("x_mine", path.name, path.read_text())
    scans = read_table(settings.output, "nodules").filter(pl.col("nodule_uid").str.contains("D1"))["scan_uid"]
    assert read_trial(path).cohort.hosts.scans == scans.unique().sort().to_list()

    for change, status, word in (
        ({"name": "mine"}, 409, "x_mine: a trial of this name is there already"),
        ({"name": "../mine"}, 422, "small letters"),
        ({"name": "new", "text": "no such nodule"}, 422, "at least one nodule"),
        ({"name": "new", "base": "m99"}, 422, "'m99' is not a mode"),
        ({"name": "new", "n_cases": 0}, 422, "n_cases"),
    ):
        answer = client.post("/api/selection/trial", json=asked | change)
        assert answer.status_code == status and word in answer.json()["detail"], answer.text
        assert str(settings.output.parent) not in answer.text
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    no_hosts = client.post("/api/selection/feasibility", json={"base": BASE})
    assert no_hosts.status_code == 409 and "has not run" in no_hosts.json()["detail"]
