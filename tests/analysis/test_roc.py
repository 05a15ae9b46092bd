"""Areas and operating points against published numbers and independent computations."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.analysis.estimates.cells import clusters
from itrialspace_assets.analysis.estimates.intervals import intervals
from itrialspace_assets.analysis.estimates.roc import area, auc, placements, sensitivity_at
from itrialspace_assets.analysis.estimates.variance import variance

NONE = np.array([None], dtype=object)


def one_cell(n: int):
    each = np.arange(n)
    return clusters(each * 0, each, each, 1)


@pytest.mark.real
def test_areas_of_the_van_dyke_readers(real_data: Path) -> None:
    table = pl.read_csv(real_data / "rocdata" / "vandyke.csv")
    of = {c.lower(): c for c in table.columns}
    means = []
    for treatment in sorted(table[of["treatment"]].unique()):
        rows = table.filter(pl.col(of["treatment"]) == treatment)
        readers = [rows.filter(pl.col(of["reader"]) == r) for r in rows[of["reader"]].unique()]
        means.append(np.mean([area(r[of["rating"]].to_numpy(), r[of["truth"]].to_numpy() == 1) for r in readers]))
    np.testing.assert_allclose(means, [0.89703704, 0.94083736], atol=1e-8)  # Van Dyke 1993, trapezoidal


def test_area_equals_the_mann_whitney_statistic_with_ties() -> None:
    from scipy import stats

    rng = np.random.default_rng(0)
    score, positive = rng.integers(0, 8, 200).astype(float), rng.random(200) < 0.4
    u = stats.mannwhitneyu(score[positive], score[~positive]).statistic
    assert area(score, positive) == pytest.approx(u / positive.sum() / (~positive).sum())


def test_variance_without_clusters_is_about_delongs() -> None:
    rng = np.random.default_rng(1)
    pos, neg = rng.normal(1, 1, 60), rng.normal(0, 1, 80)
    every = np.ones(140, bool)
    found = auc(one_cell(140), np.r_[pos, neg], np.arange(140) < 60, every, every, "worst", NONE)
    above = (pos[:, None] > neg[None, :]).astype(float)  # independent: the components by brute force
    delong = above.mean(axis=1).var(ddof=1) / 60 + above.mean(axis=0).var(ddof=1) / 80
    assert variance(found).value[0] == pytest.approx(delong, rel=0.03)
    assert found.independent[0] == pytest.approx(delong, rel=0.03)


def test_placements_are_counted_in_each_group() -> None:
    score, positive = np.array([1.0, 2.0, 2.0, 3.0, 1.0, 0.0]), np.array([True, False, True, False, True, False])
    assert placements(np.array([0, 0, 0, 0, 1, 1]), score, positive).tolist() == [0, 0.5, 0.5, 0, 1, 1]
    assert placements(np.zeros(0, int), np.zeros(0), np.zeros(0, bool)).tolist() == []
    assert np.isnan(area(np.ones(3), np.ones(3, bool)))


def test_an_unanswered_slice_is_worst_level_or_dropped() -> None:
    score = np.array([0.9, 0.8, np.nan, 0.2, 0.1, np.nan])
    positive, every = np.arange(6) < 3, np.ones(6, bool)
    answered = ~np.isnan(score)
    got = {h: auc(one_cell(6), score, positive, answered, every, h, NONE) for h in ("worst", "half", "dropped")}
    assert got["worst"].value[0] == pytest.approx(4 / 9)
    assert got["half"].value[0] == pytest.approx((4 + 5 / 2) / 9)
    assert got["dropped"].value[0] == 1.0
    assert [g.n[0] for g in got.values()] == [6, 6, 4]
    limits = intervals(got["dropped"], "share", 0.05, 2)
    assert limits.low[0] == pytest.approx(0.025 ** (1 / 2)), "two clusters of each class"


def test_a_class_that_is_missing_is_named() -> None:
    every = np.ones(4, bool)
    for positive, why in ((every, "no negatives"), (~every, "no positives")):
        found = auc(one_cell(4), np.arange(4.0), positive, every, every, "worst", NONE)
        assert (np.isnan(found.value[0]), found.reason[0]) == (True, why)
    blocked = auc(one_cell(4), np.arange(4.0), np.arange(4) > 1, every, every, "worst", np.array(["no scores"], object))
    assert (np.isnan(blocked.value[0]), blocked.reason[0]) == (True, "no scores")


def test_sensitivity_at_a_specificity_by_hand() -> None:
    negative, positive = np.arange(10.0), np.array([3.0, 8.0, 8.5, 9.0, 11.0])
    score, shown = np.r_[negative, positive], np.arange(15) >= 10
    found, threshold = sensitivity_at(one_cell(15), score, shown, np.ones(15, bool), 0.9, NONE)
    assert threshold[0] == 8.0, "nine of ten negatives lie at or below it"
    assert found.value[0] == pytest.approx(3 / 5), "strictly above"
    refused = score.copy()
    refused[[9, 14]] = np.nan  # the highest negative and the highest positive
    found, threshold = sensitivity_at(one_cell(15), refused, shown, np.ones(15, bool), 0.9, NONE)
    assert (threshold[0], found.value[0]) == (8.0, pytest.approx(2 / 5))
    refused[[8, 9]] = np.nan
    found, _ = sensitivity_at(one_cell(15), refused, shown, np.ones(15, bool), 0.9, NONE)
    assert (np.isnan(found.value[0]), found.reason[0]) == (True, "no threshold keeps this specificity")


def test_the_error_of_a_threshold_is_counted() -> None:
    """Standard error over 400 drawn tables against the mean of the estimated ones."""
    rng = np.random.default_rng(5)
    tables, n = 400, 200
    cell = np.repeat(np.arange(tables), n)
    positive = np.tile(np.arange(n) < 100, tables)
    score = rng.normal(positive * 1.5, 1)
    each = np.arange(tables * n)
    none = np.full(tables, None, dtype=object)
    found, _ = sensitivity_at(clusters(cell, each, each, tables), score, positive, each >= 0, 0.9, none)
    estimated = np.sqrt(variance(found).value).mean()
    assert estimated == pytest.approx(found.value.std(), rel=0.12)
    alone = np.sqrt((found.value * (1 - found.value) / 100).mean())
    assert estimated > 1.1 * alone
