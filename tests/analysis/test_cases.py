"""Every number that is a sum over slices follows from ``metric_cases``, computed again by SQL in DuckDB."""

from dataclasses import asdict

import duckdb
import numpy as np
import polars as pl
import pytest

from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.scoring.cases import case_rows, no_cases
from itrialspace_assets.analysis.scoring.metrics import score_cells
from itrialspace_assets.analysis.scoring.observations import strata_of
from itrialspace_assets.analysis.scoring.rows import Analysis
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.catalog.rebuild import views
from itrialspace_assets.imaging.anatomy import ANSWER_SIZES, LOBES
from itrialspace_assets.records.schema import errors, violations
from itrialspace_assets.records.tables import TABLES, TASK_OPTIONS
from tests.analysis.oracles import table

ANALYSIS = Analysis("a", "s", "procedural")
KEY = ["analysis", "split", "source", "reader", "task", "condition", "stratum", "metric"]
ADDITIVE = {
    "accuracy", "accuracy_one_n", "sensitivity", "specificity", "balanced_accuracy", "ppv", "npv", "macro_recall",
    "auc",
}  # fmt: skip
COUNTS = ["k", "n_slices", "n_pictures", "n_cases", "n_negatives", "n_hosts", "n_donors"]


def run(n: int = 60) -> pl.DataFrame:
    """Two readers, two conditions, all tasks: ties, refusals, unknown truths, shared slices, a task not done."""
    rng = np.random.default_rng(5)
    frames = []
    for reader in ("one", "two"):
        for condition in ("plain", "bbox"):
            for task, options in TASK_OPTIONS.items():
                answer: list = [None if rng.random() < 0.1 else rng.choice(options) for _ in range(n)]
                status: list = ["refused" if a is None else "ok" for a in answer]
                score: list = [None if a is None else float(rng.integers(0, 5)) for a in answer]
                if (reader, task) == ("two", "size"):
                    answer, score, status = [None] * n, [None] * n, ["unsupported"] * (n - 1) + [None]
                if (reader, task) == ("one", "malignancy"):
                    score[3] = None  # an answer without a score: no area
                frames.append(
                    table(
                        n, task, answer=answer, score=score, status=status,
                        label=rng.choice(np.array([0, 1, None]), n).tolist(),
                        lobe=rng.choice(np.array([*LOBES, "unknown", None]), n).tolist(),
                        size_class=rng.choice(np.array([*ANSWER_SIZES, None]), n).tolist(),
                        slice_uid=[str(i // 3) for i in range(n)], case_uid=[f"c{i % 3}" for i in range(n)],
                        sha256=[str(i // 2) for i in range(n)], host_person_uid=[str(i % 7) for i in range(n)],
                        donor_person_uid=[None if i % 4 == 0 else str(i % 5) for i in range(n)],
                    ).with_columns(reader=pl.lit(reader), condition=pl.lit(condition))
                )  # fmt: skip
    sizes = pl.Series("size_bucket", rng.choice(np.array(["a", "b", None]), n).tolist() * len(frames), dtype=pl.String)
    rows = pl.concat(frames).with_columns(sizes)
    none_right = (pl.col("size_bucket") == "b") & (pl.col("presence") == "absent")
    one_n = pl.Series("one_n", rng.random(rows.height) < 0.5)
    return rows.with_columns(one_n).filter(~none_right.fill_null(False))


def catalog(cases: pl.DataFrame) -> duckdb.DuckDBPyConnection:
    db = duckdb.connect()
    db.register("metric_cases", cases.to_arrow())
    for name in ("metric_contributions", "recomputed_metrics"):
        db.execute(views()[name])
    return db


def test_every_number_follows_from_its_cases() -> None:
    seen = run()
    strata = strata_of(seen, ["size_bucket"])
    cases = case_rows(seen, strata, ANALYSIS)
    assert not errors(violations(TABLES["metric_cases"], cases.select(list(TABLES["metric_cases"].schema))))
    metrics = TABLES["metrics"].frame(
        [asdict(r) for r in score_cells(seen, strata, load_study(load_settings()), ANALYSIS) if r.metric in ADDITIVE]
    )
    again = catalog(cases).sql("SELECT * FROM recomputed_metrics").pl()
    assert again.select(KEY).is_duplicated().sum() == 0
    assert again.join(metrics.filter(pl.col("estimate").is_not_null()), on=KEY, how="anti").is_empty()
    joined = metrics.join(again, on=KEY, how="left", suffix="_sql")
    known = joined.filter(pl.col("estimate").is_not_null())
    assert known.height > 100
    assert set(known["metric"]) == ADDITIVE
    assert known["estimate_sql"].null_count() == 0
    assert (known["estimate"] - known["estimate_sql"]).abs().max() < 1e-9
    for count in COUNTS:
        assert known[count].to_list() == known[f"{count}_sql"].to_list(), count
    assert joined.filter(pl.col("estimate").is_null())["estimate_sql"].null_count() == joined.height - known.height > 10


def test_a_right_answer_costs_nothing_and_contributions_add_up_by_hand() -> None:
    """Scores 4, 2 of nodules, 3, 2 of twins; the second nodule is missed: AUC = (2 + 0.5) / 4."""
    rows = table(4, answer=["present", "present", "absent", "absent"], score=[4.0, 3.0, 2.0, 2.0])
    db = catalog(case_rows(rows, strata_of(rows, []), ANALYSIS))
    found = {
        (metric, uid): (contribution, lost)
        for metric, uid, contribution, lost in db.sql(
            "SELECT metric, slice_uid, contribution, lost FROM metric_contributions"
        ).fetchall()
    }
    assert found["accuracy", "0"] == (0.25, 0.0)
    assert found["accuracy", "1"] == (0.0, 0.25)
    assert found["sensitivity", "2"] == (0.0, 0.5)
    assert ("specificity", "2") not in found
    area = [found["auc", uid] for uid in "0123"]
    assert area == [(0.25, 0.0), (0.125, 0.125), (0.0625, 0.1875), (0.1875, 0.0625)]
    assert sum(c for c, _ in area) == pytest.approx(2.5 / 4)


def test_a_truth_that_is_not_known_is_not_scored() -> None:
    rows = table(2, "lobe", presence=["present", "absent"], lobe=["unknown", LOBES[0]], answer=[LOBES[0], LOBES[0]])
    cases = case_rows(rows, strata_of(rows, []), ANALYSIS)
    assert cases["truth"].to_list() == cases["right"].to_list() == [None, None]
    assert cases["strata"].to_list() == [["all"], ["all"]]
    assert cases.select(list(TABLES["metric_cases"].schema)).schema == no_cases().schema


def test_only_an_answer_that_counts_is_right() -> None:
    rows = table(3, answer=["present", "absent", None], status=["ok", "unparsed", "refused"])
    assert case_rows(rows, strata_of(rows, []), ANALYSIS)["right"].to_list() == [True, False, False]
