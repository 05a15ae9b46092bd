"""``its score``: numbers as JSON and as a table, and errors that name row and column."""

import doctest
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from itrialspace_assets import api
from itrialspace_assets.api import scoring
from itrialspace_assets.base.errors import ConfigError

from .conftest import Its

PLACE = "seriesuid,coordX,coordY,coordZ"
MARKS = f"{PLACE},probability\nA,4.999,0,0,0.90\nA,5.000,0,0,0.95\nA,0,0,0,0.50\nC,4.9,0,0,0.80\nC,20,0,0,0.70\n"
NODULES = f"{PLACE},diameter_mm\nA,0,0,0,10\nB,0,0,0,10\n"
EXCLUDED = f"{PLACE},diameter_mm\nC,0,0,0,-1\n"


@pytest.fixture
def luna(tmp_path: Path) -> list[str]:
    """Options of the five scans of the hand-made example."""
    texts = {"marks": MARKS, "annotations": NODULES, "excluded": EXCLUDED, "scans": "A\nB\nC\nD\nE\n"}
    words = []
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text)
        words += [f"--{name}", str(tmp_path / f"{name}.csv")]
    return words


def test_froc_of_five_scans_by_hand(its: Its, luna: list[str]) -> None:
    """Worked out on paper; see ``tests/analysis/test_froc.py``."""
    done = its("score", "froc", *luna, "--rules", "luna16", "--replicates", "50", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["points"] == [[0.2, 0.0], [0.2, 0.5], [0.4, 0.5]]
    assert [r["sensitivity"]["estimate"] for r in found["detection"]["rates"]] == [0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert found["detection"]["cpm"]["estimate"] == pytest.approx(0.428571, abs=1e-6)
    counts = ("n_scans", "n_lesion_free_scans", "n_nodules", "n_found", "n_false", "n_repeated", "n_on_excluded")
    assert [found[c] for c in counts] == [5, 3, 2, 1, 2, 1, 1]


def test_froc_as_a_table_says_what_was_assumed(its: Its, luna: list[str]) -> None:
    done = its("score", "froc", *luna[:4], "--replicates", "20")
    assert done.code == 0, done.err
    assert "note: No list of scans was given: the 3 scans" in done.err
    assert "FROC, rules ours" in done.out
    assert "CPM (mean of the seven)" in done.out
    assert done.out.endswith("Intervals: percentiles of 20 resamples of scans\n")


def test_errors_of_froc(its: Its, luna: list[str], tmp_path: Path) -> None:
    done = its("score", "froc", *luna, "--rules", "luna17")
    assert (done.code, done.err) == (2, "Error: rules: expected one of ours, luna16, got 'luna17'\n")
    assert its("score", "froc", *luna, "--alpha", "0.7").code == 2
    (tmp_path / "marks.csv").write_text(MARKS.replace("0.70", "often"))
    done = its("score", "froc", *luna)
    expected = "Error: marks.csv: row 4, column probability: expected a finite number, got 'often'\n"
    assert (done.code, done.err) == (1, expected)


def study(readers: int) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    rows = pl.DataFrame({"case": [f"c{i}" for i in range(20)], "truth": [0, 1] * 10})
    frame = rows.join(pl.DataFrame({"reader": [f"r{i}" for i in range(readers)]}), how="cross")
    frame = frame.join(pl.DataFrame({"modality": ["a", "b"]}), how="cross")
    return frame.with_columns(score=pl.col("truth") + pl.Series(rng.normal(size=frame.height)))


def test_a_reader_study_from_the_command_line(its: Its, tmp_path: Path) -> None:
    study(5).write_csv(tmp_path / "study.csv")
    done = its("score", "mrmc", str(tmp_path / "study.csv"), "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found == json.loads(json.dumps(found)) and (found["n_readers"], found["n_diseased"]) == (5, 10)
    assert found["comparisons"][0]["random_readers"]["p"] > 0
    done = its("score", "mrmc", str(tmp_path / "study.csv"), "--readers", "fixed")
    assert done.code == 0, done.err
    assert "a minus b: fixed readers" in done.out
    assert "the readers are fixed" in done.out
    done = its("score", "mrmc", str(tmp_path / "study.csv"), "--readers", "some")
    assert (done.code, done.err) == (2, "Error: readers: expected random or fixed, got some\n")


def test_a_reader_study_with_missing_readings_says_so(its: Its, tmp_path: Path) -> None:
    study(5).head(-1).write_csv(tmp_path / "study.csv")
    done = its("score", "mrmc", str(tmp_path / "study.csv"))
    assert done.code == 0, done.err
    assert done.err.startswith("note: 1 readings are missing")


def test_the_examples_of_the_public_functions_hold() -> None:
    found = doctest.testmod(scoring)
    assert found.attempted >= 9
    assert found.failed == 0


def test_the_public_functions_refuse_numbers_out_of_range() -> None:
    empty = pl.DataFrame()
    for wrong in ({"alpha": 0.0}, {"replicates": -1}, {"seed": -1}, {"rules": "mine"}):
        with pytest.raises(ConfigError, match=f"{next(iter(wrong))}: expected"):
            api.froc(empty, empty, **wrong)
    with pytest.raises(ConfigError, match="alpha: expected"):
        api.mrmc(empty, alpha=1.0)


def cases(n: int = 60) -> pl.DataFrame:
    """Cases of 15 persons, four each; every other one has no donor."""
    rng = np.random.default_rng(1)
    truth = np.arange(n) % 2
    return pl.DataFrame(
        {
            "is_cancer": truth,
            "p": truth + rng.normal(size=n),
            "patient": [f"h{i // 4}" for i in range(n)],
            "donor": [f"d{i % 24}" if t else None for i, t in enumerate(truth)],
        }
    )


def test_an_area_from_the_command_line(its: Its, tmp_path: Path) -> None:
    frame = cases()
    frame.write_parquet(tmp_path / "cases.parquet")
    columns = ("--truth-col", "is_cancer", "--score-col", "p", "--host-col", "patient", "--donor-col", "donor")
    done = its("score", "auc", str(tmp_path / "cases.parquet"), *columns, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    score, truth = frame["p"].to_numpy(), frame["is_cancer"].to_numpy() == 1
    wins = (score[truth][:, None] > score[~truth][None]).mean()
    assert found["auc"] == pytest.approx(wins)
    assert found["low"] < wins < found["high"]
    assert [found[k] for k in ("n_cases", "n_positive", "n_negative", "n_hosts", "n_donors")] == [60, 30, 30, 15, 42]
    done = its("score", "auc", str(tmp_path / "cases.parquet"), *columns[:4])
    assert done.code == 0, done.err
    assert "60 host persons, 60 donor persons" in done.out
    done = its("score", "auc", str(tmp_path / "cases.parquet"), "--host-col", "patient")
    assert (done.code, done.err.splitlines()[0][:67]) == (
        1,
        "Error: cases.parquet: expected one column truth, got is_cancer, p, p"[:67],
    )


def test_shared_persons_change_the_limits_and_not_the_area() -> None:
    frame = cases()
    columns = {"truth": "is_cancer", "score": "p"}
    alone, shared = api.auc(frame, **columns), api.auc(frame, **columns, host="patient")
    assert alone.auc == shared.auc
    assert (alone.low, alone.high) != (shared.low, shared.high)
    assert shared.n_donors == shared.n_hosts == 15, "without a column of donors they go with the hosts"
    wide = api.auc(frame, **columns, alpha=0.2)
    assert wide.high - wide.low < alone.high - alone.low


def test_an_area_that_cannot_be_estimated_is_null_with_its_reason() -> None:
    frame = pl.DataFrame({"truth": [1, 1], "score": [0.1, 0.2]})
    found = api.auc(frame)
    assert (found.auc, found.low, found.note) == (None, None, "no negatives")
    assert api.auc(frame.with_columns(truth=0)).note == "no positives"
    assert api.auc(frame.head(0)).note == "no positives"
    same = api.auc(pl.DataFrame({"truth": [0, 1] * 20, "score": [0.5] * 40}))
    assert (same.auc, same.low, same.note) == (0.5, None, "no variation between clusters")
    json.dumps([found.auc, same.low, same.n_effective], allow_nan=False)
