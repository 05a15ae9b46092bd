"""Metrics of a table of answers, and calibration, against scikit-learn and statsmodels."""

import numpy as np
import pytest

from itrialspace_assets.analysis.estimates import calibration, tallies
from itrialspace_assets.analysis.estimates.cells import clusters
from itrialspace_assets.analysis.estimates.variance import variance

NONE = np.array([None], dtype=object)


@pytest.fixture(scope="module")
def answers() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    truth = rng.choice(4, 300, p=[0.1, 0.5, 0.3, 0.1])
    return truth, np.clip(truth + rng.integers(-1, 2, 300), 0, 3)


def counts(truth: np.ndarray, answer: np.ndarray) -> np.ndarray:
    return np.bincount(truth * 5 + answer, minlength=20).astype(float)


def test_metrics_equal_those_of_scikit_learn(answers) -> None:
    from sklearn import metrics as sk

    truth, answer = answers
    table = counts(truth, answer)
    assert tallies.macro_recall(4)(table) == pytest.approx(sk.balanced_accuracy_score(truth, answer))
    assert tallies.macro_f1(4)(table) == pytest.approx(sk.f1_score(truth, answer, average="macro"))
    assert tallies.weighted_kappa(4)(table) == pytest.approx(sk.cohen_kappa_score(truth, answer, weights="quadratic"))
    square = np.bincount(truth * 4 + answer, minlength=16).astype(float)
    assert tallies.kappa(4)(square) == pytest.approx(sk.cohen_kappa_score(truth, answer))


def test_no_answer_is_wrong_but_outside_kappa(answers) -> None:
    from sklearn import metrics as sk

    truth, answer = answers
    silent = np.where(np.arange(300) % 5 == 0, 4, answer)
    table, said = counts(truth, silent), silent < 4
    recall = np.mean([(silent[truth == c] == c).mean() for c in range(4)])
    assert tallies.macro_recall(4)(table) == pytest.approx(recall)
    assert tallies.macro_f1(4)(table) == pytest.approx(sk.f1_score(truth, silent, average="macro", labels=range(4)))
    kappa = sk.cohen_kappa_score(truth[said], silent[said], weights="quadratic")
    assert tallies.weighted_kappa(4)(table) == pytest.approx(kappa)


def test_tables_without_a_class_or_without_anything() -> None:
    empty, one = np.zeros(20), counts(np.array([1, 1]), np.array([1, 1]))
    for statistic in (tallies.macro_recall, tallies.macro_f1, tallies.weighted_kappa):
        assert np.isnan(statistic(4)(empty))
    assert (tallies.macro_recall(4)(one), tallies.macro_f1(4)(one)) == (1.0, 1.0), "over the classes that occur"
    assert np.isnan(tallies.macro_recall(4, every=True)(one))
    assert np.isnan(tallies.weighted_kappa(4)(one)), "chance alone agrees"


def drawn(n: int = 900):
    rng = np.random.default_rng(8)
    log_odds = rng.normal(0, 2, n)
    each = np.arange(n)
    ways = clusters(each * 0, each, each, 1)
    return ways, log_odds, rng.random(n) < 1 / (1 + np.exp(-(0.5 * log_odds - 0.3))), np.ones(n, bool)


def test_brier_equals_that_of_scikit_learn() -> None:
    from sklearn import metrics as sk

    ways, log_odds, truth, used = drawn()
    found = calibration.brier(ways, log_odds, truth, used, NONE)
    assert found.value[0] == pytest.approx(sk.brier_score_loss(truth, 1 / (1 + np.exp(-log_odds))))


def test_the_slope_is_that_of_a_logistic_regression() -> None:
    from statsmodels.discrete.discrete_model import Logit

    ways, log_odds, truth, used = drawn()
    used = used & (np.arange(len(used)) % 10 > 0)
    found = calibration.slope(ways, log_odds, truth, used, NONE)
    x = np.column_stack([np.ones(used.sum()), log_odds[used]])
    fit = Logit(truth[used].astype(float), x).fit(disp=0, cov_type="HC0")
    assert found.value[0] == pytest.approx(fit.params[1])
    assert np.sqrt(variance(found).value[0]) == pytest.approx(fit.bse[1], rel=0.01)


def test_a_slope_that_has_no_value_says_why() -> None:
    ways, log_odds, _, used = drawn()
    for of, why in ((log_odds > 0, "scores separate the classes or do not vary"), (used, "one class only")):
        found = calibration.slope(ways, log_odds, of, used, NONE)
        assert (np.isnan(found.value[0]), found.reason[0]) == (True, why)


def test_calibration_error_by_hand() -> None:
    log_odds = np.repeat(np.log([0.1 / 0.9, 0.5 / 0.5, 0.8 / 0.2]), 10)  # 30 slices: three bins of ten
    truth = np.concatenate([np.arange(10) < k for k in (2, 5, 5)])
    each = np.arange(30)
    found = calibration.calibration_error(clusters(each * 0, each, each, 1), log_odds, truth, each >= 0, NONE)
    assert found.value[0] == pytest.approx((0.1 + 0.0 + 0.3) / 3)


def test_calibration_error_without_each_cluster_keeps_its_bins() -> None:
    ways, log_odds, truth, used = drawn(400)
    found = calibration.calibration_error(ways, log_odds, truth, used, NONE)
    order = np.argsort(log_odds)
    bins = np.empty(400, int)
    bins[order] = np.arange(400) * 15 // 400
    gap = 1 / (1 + np.exp(-log_odds)) - truth

    def error(kept: np.ndarray) -> float:
        return np.abs(np.bincount(bins[kept], weights=gap[kept])).sum() / kept.sum()

    left = np.array([error(np.arange(400) != i) for i in range(400)])
    assert found.value[0] == pytest.approx(error(used))
    assert variance(found).value[0] == pytest.approx(399 / 400 * ((left - left.mean()) ** 2).sum())
    assert found.independent[0] == pytest.approx(variance(found).value[0])
