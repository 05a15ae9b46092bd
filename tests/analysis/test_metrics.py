"""What is not known is not scored, what cannot be ranked has no AUC, and nothing ends in an exception."""

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.analysis.metrics import auc, lobe, presence, score_cells, size
from itrialspace_assets.analysis.rows import Scope
from itrialspace_assets.analysis.study import load_study
from itrialspace_assets.base.settings import load_settings

SCHEMA = {
    "task": pl.String, "condition": pl.String, "presence": pl.String, "lobe": pl.String, "size_class": pl.String,
    "answer": pl.String, "score": pl.Float64, "status": pl.String, "host_person_uid": pl.String,
    "donor_person_uid": pl.String, "sha256": pl.String, "case_uid": pl.String,
}  # fmt: skip


def cell(n: int, task: str = "presence", **columns: list) -> pl.DataFrame:
    """So many slices, every other one with a nodule, all answered correctly unless ``columns`` say otherwise."""
    shown = ["present", "absent"] * (n // 2) + ["present"] * (n % 2)
    rows = {
        "task": [task] * n,
        "condition": ["plain"] * n,
        "presence": shown,
        "lobe": ["left_lung_upper_lobe" if p == "present" else None for p in shown],
        "size_class": ["5-10mm" if p == "present" else None for p in shown],
        "answer": shown,
        "score": [None] * n,
        "status": ["ok"] * n,
        "host_person_uid": [str(i) for i in range(n)],
        "donor_person_uid": [str(i) for i in range(n)],
        "sha256": [str(i) for i in range(n)],
        "case_uid": [str(i // 2) for i in range(n)],
    }
    return pl.DataFrame(rows | columns, schema=SCHEMA)


def test_right_answers_without_scores_have_no_auc() -> None:
    found = presence(cell(24))
    assert (found["auc"].value, found["auc"].flag) == (None, "no scores")
    assert (found["sensitivity"].value, found["specificity"].value) == (1.0, 1.0)


def test_answers_of_which_half_have_scores_have_no_auc() -> None:
    found = presence(cell(24, score=[0.9, 0.1, None, None] * 6))
    assert (found["auc"].value, found["auc"].flag) == (None, "no scores for 12 of 24 answers")
    assert found["accuracy"].value == 1.0


def test_scores_rank_once_every_answer_has_one() -> None:
    assert presence(cell(24, score=[0.9, 0.1] * 12))["auc"].value == 1.0
    refused = cell(4, score=[0.9, 0.1, None, 0.2], answer=["present", "absent", None, "absent"],
                   status=["ok", "ok", "refused", "ok"])  # fmt: skip
    assert presence(refused)["auc"].value == 0.5, "a refusal is ranked worst for its class"


def test_an_answer_that_was_not_parsed_is_none() -> None:
    found = presence(cell(24, status=["unparsed"] * 24))
    assert (found["sensitivity"].value, found["specificity"].value) == (0.0, 0.0)
    assert (found["auc"].value, found["auc"].flag) == (None, "no answers")


def test_a_slice_of_unknown_truth_is_not_scored() -> None:
    truth = ["5-10mm", None, None, None]
    found = size(cell(4, "size", size_class=truth, answer=["5-10mm"] * 4))
    assert (found["accuracy"].value, found["accuracy_majority"].value) == (1.0, 1.0)
    assert found["accuracy"].used.tolist() == [True, False, False, False]
    none = size(cell(4, "size", size_class=[None] * 4, answer=["5-10mm"] * 4))
    assert {e.value for e in none.values()} == {None}
    assert none["accuracy"].flag == "size_class is not known"
    for unknown in (None, "background", "unknown"):
        lobes = cell(4, "lobe", lobe=["left_lung_upper_lobe", None, unknown, None], answer=["left_lung_upper_lobe"] * 4)
        assert lobe(lobes)["accuracy"].value == 1.0


@pytest.mark.parametrize("estimators", [presence, size, lobe])
def test_an_empty_cell_has_no_estimates(estimators) -> None:  # type: ignore[no-untyped-def]
    for estimate in estimators(cell(0)).values():
        assert estimate.value is None
        assert estimate.flag


def test_cells_of_negatives_alone_and_of_nothing() -> None:
    study, scope = load_study(load_settings()), Scope("a", "s", "tissue", "mock", "procedural")
    negatives = cell(6, "size").filter(pl.col("presence") == "absent")
    rows = score_cells(negatives, {"all": pl.Series([True] * 3), "none": pl.Series([False] * 3)}, study, scope)
    assert [(r.stratum, r.metric, r.estimate, r.flag) for r in rows] == [
        ("all", "accuracy", None, "no positives"),
        ("all", "accuracy_majority", None, "no positives"),
    ]
    assert score_cells(cell(0), {"all": pl.Series([], dtype=pl.Boolean)}, study, scope) == []


def test_auc_of_no_slice() -> None:
    nothing = np.zeros(0)
    assert auc(nothing, nothing.astype(bool), nothing.astype(bool)).value is None
