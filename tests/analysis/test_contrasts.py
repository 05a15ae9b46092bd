"""Readers and conditions compared as a report shows them."""

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.scoring.contrasts import contrasts
from itrialspace_assets.base.settings import load_settings
from tests.analysis.oracles import table

STUDY = load_study(load_settings()).model_copy(
    update={"primary": load_study(load_settings()).primary.model_copy(update={"metric": "accuracy"})}
)
N = 120


def rows(**right: float) -> pl.DataFrame:
    """Readers who are right on the easiest share of the slices, under two conditions; a box helps by a tenth."""
    ease = np.random.default_rng(0).permutation(N) / N
    shown = np.arange(N) % 2 == 0
    parts = []
    for reader, share in right.items():
        for condition, more in (("plain", 0.0), ("bbox", 0.1)):
            said = np.where((ease < share + more) == shown, "present", "absent")
            parts.append(
                table(N, answer=said.tolist()).with_columns(reader=pl.lit(reader), condition=pl.lit(condition))
            )
    return pl.concat(parts)


def test_a_planted_order_is_found_with_sign_and_size() -> None:
    found = contrasts(rows(a=0.5, b=0.5, c=0.8), STUDY, 42)
    assert found is not None
    got = {(r["compared"], r["within"], r["first"], r["second"]): r for r in found.table.to_dicts()}
    assert len(got) == 2 * 3 + 3
    assert got["reader", "plain", "a", "c"]["difference"] == pytest.approx(-0.3)
    assert got["condition", "c", "bbox", "plain"]["difference"] == pytest.approx(0.1, abs=0.01)
    assert got["reader", "plain", "a", "c"]["high"] < 0
    assert got["reader", "plain", "a", "b"]["note"] == "the same difference in every cluster"
    worst = got["condition", "a", "bbox", "plain"]
    assert worst["p"] <= worst["p (Holm)"] <= min(1, 3 * worst["p"]) + 1e-3
    declared = STUDY.model_copy(update={"tests": STUDY.tests.model_copy(update={"correction": "max_t"})})
    again = contrasts(rows(a=0.5, b=0.5, c=0.8), declared, 42)
    assert again is not None and "p (Holm)" not in again.table.columns
    assert (again.table["p"] <= again.table["p (largest t)"]).all()
    assert "tissue, plain: 1 of 3 pairwise intervals include zero (c; a = b)." in found.ties


def test_nothing_to_compare_is_none() -> None:
    one = table(N)
    assert contrasts(one, STUDY, 42) is None
    assert contrasts(one.with_columns(task=pl.lit("size")), STUDY, 42) is None
    areas = STUDY.model_copy(update={"primary": STUDY.primary.model_copy(update={"metric": "auc"})})
    assert contrasts(rows(a=0.5, b=0.7), areas, 42) is None, "without scores"
    weighted = STUDY.model_copy(update={"primary": STUDY.primary.model_copy(update={"metric": "ppv_prevalence=0.1"})})
    assert contrasts(rows(a=0.5, b=0.7), weighted, 42) is None, "a trial without weights"
