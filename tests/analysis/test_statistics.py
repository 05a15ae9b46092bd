"""Estimates and intervals against published numbers and independent computations."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from itrialspace_assets.analysis.intervals import codes, logit_interval, one_way, two_way
from itrialspace_assets.analysis.metrics import auc, presence, score_cells
from itrialspace_assets.analysis.rows import Scope
from itrialspace_assets.analysis.study import load_study
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.records.layout import list_sha256


def test_the_published_hash_of_a_list() -> None:
    assert (
        list_sha256(["b", "a", "a"]) == "911169ddaaf146aff539f58c26c489af3b892dff0fe283c1c264c65ae5aa59a2"
    )  # docs/facts/evaluation.md#frozen-lists


@pytest.mark.real
def test_auc_of_the_van_dyke_readers(real_data: Path) -> None:
    table = pl.read_csv(real_data / "rocdata" / "vandyke.csv")
    columns = {c.lower(): c for c in table.columns}
    treatment, reader, truth, rating = (columns[c] for c in ("treatment", "reader", "truth", "rating"))
    means = []
    for (_,), rows in sorted(table.group_by([treatment]), key=lambda g: str(g[0][0])):
        values = []
        for _, one in rows.group_by([reader]):
            positive = one[truth].to_numpy() == 1
            values.append(auc(one[rating].to_numpy().astype(float), positive, np.ones(len(one), bool)).value)
        means.append(np.mean(values))
    np.testing.assert_allclose(sorted(means), [0.89703704, 0.94083736], atol=1e-8)  # Van Dyke 1993, trapezoidal


def test_auc_equals_the_mann_whitney_statistic_with_ties() -> None:
    rng = np.random.default_rng(0)
    score, positive = rng.integers(0, 8, 200).astype(float), rng.random(200) < 0.4
    u = stats.mannwhitneyu(score[positive], score[~positive]).statistic
    assert auc(score, positive, np.ones(200, bool)).value == pytest.approx(u / positive.sum() / (~positive).sum())


def test_auc_variance_without_clusters_is_delongs() -> None:
    rng = np.random.default_rng(1)
    pos, neg = rng.normal(1, 1, 60), rng.normal(0, 1, 80)
    found = auc(np.r_[pos, neg], np.r_[np.ones(60, bool), np.zeros(80, bool)], np.ones(140, bool))
    above = (pos[:, None] > neg[None, :]).astype(float)  # independent: the components by brute force
    delong = above.mean(axis=1).var(ddof=1) / 60 + above.mean(axis=0).var(ddof=1) / 80
    cluster = np.arange(140)
    assert one_way(found.influence, cluster) == pytest.approx(delong, rel=0.02)


def test_two_way_variance_equals_that_of_statsmodels() -> None:
    from statsmodels.regression.linear_model import OLS
    from statsmodels.stats.sandwich_covariance import cov_cluster_2groups

    rng = np.random.default_rng(2)
    host, donor = rng.integers(0, 14, 300), rng.integers(0, 22, 300)
    y = (rng.normal(size=14)[host] + rng.normal(size=22)[donor] + rng.normal(size=300) > 0).astype(float)
    fit = OLS(y, np.ones(300)).fit()
    both, first, second = cov_cluster_2groups(fit, host, donor, use_correction=False)
    influence = (y - y.mean()) / 300
    groups = [len(np.unique(x)) for x in (host, donor, [f"{a}-{b}" for a, b in zip(host, donor, strict=True)])]
    ours = [one_way(influence, codes(c)) * (g - 1) / g for c, g in zip((host, donor), groups, strict=False)]
    np.testing.assert_allclose(ours, [first[0, 0], second[0, 0]])
    corrected = first[0, 0] * groups[0] / (groups[0] - 1) + second[0, 0] * groups[1] / (groups[1] - 1)
    cell = (first[0, 0] + second[0, 0] - both[0, 0]) * groups[2] / (groups[2] - 1)
    assert two_way(influence, codes(host), codes(donor)) == pytest.approx(
        max(corrected - cell, first[0, 0] * groups[0] / (groups[0] - 1), second[0, 0] * groups[1] / (groups[1] - 1))
    )


def test_clusters_of_one_give_the_binomial_interval() -> None:
    y = np.r_[np.ones(70), np.zeros(30)]
    each = np.arange(100)
    found = logit_interval(0.7, (y - 0.7) / 100, each, each, 0.05, 10)
    half = stats.t.ppf(0.975, 99) * np.sqrt(0.7 * 0.3 / 99) / (0.7 * 0.3)
    expected = 1 / (1 + np.exp(-(np.log(0.7 / 0.3) + np.array([-half, half]))))
    np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-6)
    assert found.flag is None


def test_edges_are_exact_on_clusters_and_small_designs_are_flagged() -> None:
    four = np.repeat(np.arange(4), 5)
    found = logit_interval(1.0, np.zeros(20), four, four, 0.05, 10)
    assert (found.low, found.high) == (pytest.approx(stats.binomtest(4, 4).proportion_ci(method="exact").low), 1.0)
    assert found.flag == "fewer than 10 clusters"
    one = np.zeros(5, int)
    assert logit_interval(0.5, np.ones(5), one, one, 0.05, 10).low is None


def test_coverage_with_clusters_is_near_nominal() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(400):
        host = np.repeat(np.arange(30), 4)
        p = 1 / (1 + np.exp(-(0.5 + rng.normal(0, 0.8, 30))))
        y = (rng.random(120) < p[host]).astype(float)
        mean = y.mean()
        found = logit_interval(mean, (y - mean) / 120, host, host, 0.05, 10)
        truth = 0.606  # E[expit(0.5 + 0.8 z)], by quadrature
        hits += found.low <= truth <= found.high
    assert 0.91 <= hits / 400 <= 0.99


def test_an_always_yes_reader_has_balanced_accuracy_and_auc_of_a_half() -> None:
    n = 40
    cell = pl.DataFrame(
        {
            "presence": ["present", "absent"] * (n // 2),
            "answer": ["present"] * n,
            "status": ["ok"] * n,
            "score": [1.0] * n,
            "size_class": [None] * n,
        }
    )
    found = presence(cell)
    assert (found["balanced_accuracy"].value, found["auc"].value, found["accuracy"].value) == (
        0.5,
        0.5,
        found["accuracy_always_present"].value,
    )


def test_an_unanswered_slice_counts_as_wrong() -> None:
    cell = pl.DataFrame(
        {"presence": ["present", "absent"], "answer": [None, None], "status": [None, "refused"], "score": [None, None]},
        schema={"presence": pl.String, "answer": pl.String, "status": pl.String, "score": pl.Float64},
    )
    found = presence(cell)
    assert (found["sensitivity"].value, found["specificity"].value) == (0.0, 0.0)


def test_an_unanswered_slice_is_ranked_worst_for_its_class() -> None:
    score = np.array([0.9, 0.8, np.nan, 0.2, 0.1, np.nan])
    positive = np.array([True, True, True, False, False, False])
    assert auc(score, positive, ~np.isnan(score)).value == pytest.approx(4 / 9)
    assert auc(score, positive, np.zeros(6, bool)).value is None


def test_a_task_that_a_reader_does_not_answer_stays_so_when_a_slice_is_missing() -> None:
    rows = {
        "task": ["lobe"] * 3,
        "condition": ["plain"] * 3,
        "presence": ["present"] * 3,
        "lobe": ["a"] * 3,
        "answer": [None] * 3,
        "score": [None] * 3,
        "status": ["unsupported", "unsupported", None],
        "host_person_uid": ["1", "2", "3"],
        "donor_person_uid": ["1", "2", "3"],
        "sha256": ["1", "2", "3"],
        "case_uid": ["1", "2", "3"],
        "size_class": [None] * 3,
    }
    cell = pl.DataFrame(rows, schema_overrides={"answer": pl.String, "score": pl.Float64, "size_class": pl.String})
    scope = Scope("a", "s", "tissue", "blob", "procedural")
    found = score_cells(cell, {"all": pl.Series([True] * 3)}, load_study(load_settings()), scope)
    assert [(r.estimate, r.flag) for r in found] == [(None, "the reader does not answer this task")]
