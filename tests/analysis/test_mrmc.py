"""Reader studies against published numbers, and against moments counted by definition."""

from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.analysis.estimates import case_pairs
from itrialspace_assets.analysis.estimates.case_pairs import CasePairs
from itrialspace_assets.analysis.estimates.mrmc import analyse
from itrialspace_assets.analysis.estimates.reader_study import ReaderStudy
from itrialspace_assets.analysis.user_files.reader_files import read_reader_study


def study_of(score: np.ndarray, truth: np.ndarray) -> ReaderStudy:
    t, r, n = score.shape
    names = [tuple(f"{kind}{i}" for i in range(k)) for kind, k in (("m", t), ("r", r), ("c", n))]
    return ReaderStudy(*names, np.asarray(truth, bool), score)


def random_study(seed: int, t: int = 2, r: int = 4, n: int = 14) -> ReaderStudy:
    """Whole scores, so that there are ties; cases and readers have effects of their own."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 3 == 0
    score = rng.normal(size=(t, r, n)) + rng.normal(size=(1, 1, n)) + rng.normal(size=(1, r, 1)) + 1.5 * truth
    return study_of(np.round(score), truth)


# ------------------------------------------------------------------------ published numbers


@pytest.mark.real
def test_van_dyke_with_random_and_fixed_readers(real_data: Path) -> None:
    """README of the data and the analysis published with them: Van Dyke et al. 1993, in RJafroc and MRMCaov."""
    found = analyse(read_reader_study(real_data / "rocdata" / "vandyke.csv"))
    assert (found.n_readers, found.n_diseased, found.n_healthy) == (5, 45, 69)
    areas = [m.auc.estimate for m in found.modalities]
    np.testing.assert_allclose(areas, [0.89703704, 0.94083736], atol=5e-9)
    c = found.components
    np.testing.assert_allclose(
        [c.variance, c.cov1, c.cov2, c.cov3], [0.00080229, 0.00034661, 0.00034407, 0.00023903], atol=5e-9
    )
    np.testing.assert_allclose([c.f, c.df], [4.45632, 15.2597], rtol=3e-6)
    assert c.p == pytest.approx(0.05167, abs=5e-6)
    (both,) = found.comparisons
    random, fixed = both.random_readers, both.fixed_readers
    np.testing.assert_allclose([random.estimate, random.se], [-0.04380032, 0.020749], rtol=3e-5)
    np.testing.assert_allclose([random.low, random.high], [-0.08796, 0.00036], atol=5e-6)
    assert random.p == pytest.approx(c.p)
    np.testing.assert_allclose([fixed.se, fixed.estimate / fixed.se, fixed.p], [0.018717, -2.3401, 0.01928], rtol=3e-5)
    np.testing.assert_allclose([fixed.low, fixed.high], [-0.08049, -0.00711], atol=5e-6)
    differences = [-0.028180, -0.046538, -0.017874, -0.026248, -0.100161]
    errors = [0.025363, 0.026144, 0.031026, 0.017174, 0.043782]
    np.testing.assert_allclose([r.difference.estimate for r in both.by_reader], differences, atol=5e-7)
    np.testing.assert_allclose([r.difference.se for r in both.by_reader], errors, atol=5e-7)


@pytest.mark.real
def test_u_statistics_of_the_study_that_imrmc_ships(real_data: Path) -> None:
    """The program's own output beside its input: areas, variances, and Hillis' degrees of freedom before rounding."""
    folder = real_data / "rocdata"
    found = analyse(read_reader_study(folder / "imrmc_input.imrmc"))
    expected = pl.read_csv(folder / "imrmc_ustat_expected.csv")
    tests = [*(m.auc for m in found.modalities), found.comparisons[0].u_statistics]
    np.testing.assert_allclose([tests[0].estimate, tests[1].estimate], [0.704375, 0.7585], atol=1e-12)
    np.testing.assert_allclose([t.se**2 for t in tests], [0.00631393, 0.00237205, 0.00498951], atol=5e-9)
    np.testing.assert_allclose([t.df for t in tests], expected["dfHillis"], rtol=1e-6)
    assert tests[1].p == pytest.approx(expected["pValueHillis"][1], rel=2e-5)  # its degrees of freedom are whole
    limits = expected.select("botCIHillis", "topCIHillis").row(1)
    np.testing.assert_allclose([tests[1].low, tests[1].high], limits, rtol=1e-5)


# ------------------------------------------------------------------------ by definition


def wins(study: ReaderStudy, m: int, r: int, i: int, j: int) -> float:
    a, b = study.score[m, r, i], study.score[m, r, j]
    return float(a > b) + 0.5 * float(a == b)


def test_covariances_equal_moments_over_disjoint_pairs() -> None:
    """Gallas: the product of two areas, minus the mean product of wins that share neither reader nor case."""
    study = random_study(0, r=3, n=9)
    ill, healthy = np.flatnonzero(study.truth), np.flatnonzero(~study.truth)
    pairs = CasePairs.of(study.score, study.truth)
    for a, b in ((0, 0), (0, 1), (1, 1)):
        area = [np.mean([wins(study, m, *at) for at in product(range(3), ill, healthy)]) for m in (a, b)]
        apart = [
            wins(study, a, r, i, j) * wins(study, b, s, k, m)
            for r, s in product(range(3), repeat=2)
            for i, k in product(ill, repeat=2)
            for j, m in product(healthy, repeat=2)
            if r != s and i != k and j != m
        ]
        assert pairs.covariance(a, b) == pytest.approx(area[0] * area[1] - np.mean(apart))


def test_missing_readings_leave_their_pairs_out() -> None:
    study = random_study(1, r=3, n=9)
    study.score[0, 1, 2] = study.score[1, 2, 0] = np.nan
    pairs = CasePairs.of(study.score, study.truth)
    ill, healthy = np.flatnonzero(study.truth), np.flatnonzero(~study.truth)
    there = np.isfinite(study.score)
    every = list(product(range(3), ill, healthy))
    read = [[(r, i, j) for r, i, j in every if there[m, r, i] and there[m, r, j]] for m in (0, 1)]
    assert pairs.modality(0) == pytest.approx(np.mean([wins(study, 0, *at) for at in read[0]]))
    disjoint = [(p, q) for p, q in product(*read) if all(x != y for x, y in zip(p, q, strict=True))]
    apart = [wins(study, 0, *p) * wins(study, 1, *q) for p, q in disjoint]
    assert pairs.apart(0, 1) == pytest.approx(np.mean(apart))
    found = analyse(study)
    assert found.components is None
    assert found.reason.startswith("2 readings are missing")
    assert found.comparisons[0].fixed_readers.reason == found.reason
    assert found.comparisons[0].by_reader[0].difference.estimate is None


def test_pairs_in_blocks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    study = random_study(2)
    whole = CasePairs.of(study.score, study.truth)
    monkeypatch.setattr(case_pairs, "_AT_ONCE", 1)
    parts = CasePairs.of(study.score, study.truth)
    for a, b in zip((*whole.won, *whole.there), (*parts.won, *parts.there), strict=True):
        np.testing.assert_allclose(a, b)


def test_the_jackknife_and_mean_squares_by_leaving_cases_out() -> None:
    study = random_study(3, t=3)
    found = analyse(study).components
    n = len(study.truth)
    left = []
    for out in range(n):
        keep = np.arange(n) != out
        left.append(CasePairs.of(study.score[:, :, keep], study.truth[keep]).areas())
    left = np.array(left).reshape(n, 3, 4)
    off = left - left.mean(axis=0)
    kinds: dict[str, list[float]] = {"variance": [], "cov1": [], "cov2": [], "cov3": []}
    for m, k, r, s in product(range(3), range(3), range(4), range(4)):
        kind = "variance" if (m, r) == (k, s) else "cov1" if r == s else "cov2" if m == k else "cov3"
        kinds[kind].append((n - 1) / n * (off[:, m, r] * off[:, k, s]).sum())
    for name, values in kinds.items():
        assert getattr(found, name) == pytest.approx(np.mean(values)), name
    area = CasePairs.of(study.score, study.truth).areas()
    assert found.ms_modality == pytest.approx(4 * area.mean(axis=1).var(ddof=1))
    left_over = area - area.mean(axis=1, keepdims=True) - area.mean(axis=0) + area.mean()
    assert found.ms_interaction == pytest.approx((left_over**2).sum() / 6)


def test_errors_and_degrees_of_freedom_by_their_formulas() -> None:
    """Hillis 2007 for three modalities and five readers; the U-statistics likewise, an area against a half."""
    from scipy import stats

    rng = np.random.default_rng(11)
    truth = np.arange(30) % 3 == 0
    score = rng.normal(size=(3, 5, 30)) + 2 * rng.normal(size=(3, 1, 30)) + truth + rng.normal(size=(1, 5, 1)) * truth
    found, t, r = analyse(study_of(score, truth)), 3, 5
    c, first = found.components, found.comparisons[0]
    gap = c.cov2 - c.cov3
    assert gap > 0
    error = c.ms_interaction + r * gap
    assert c.f == pytest.approx(c.ms_modality / error)
    assert c.df == first.random_readers.df == pytest.approx(error**2 * (t - 1) * (r - 1) / c.ms_interaction**2)
    assert first.random_readers.se == pytest.approx(np.sqrt(2 / r * error))
    assert first.fixed_readers.se == pytest.approx(np.sqrt(2 / r * (c.variance - c.cov1 + (r - 1) * gap)))
    pairs = CasePairs.of(score, truth)
    variance = pairs.covariance(0, 0) + pairs.covariance(1, 1) - 2 * pairs.covariance(0, 1)
    areas = pairs.areas()
    between = (areas[0] - areas[1]).var(ddof=1) / r
    u, area = first.u_statistics, found.modalities[0].auc
    assert (u.se**2, u.df) == (pytest.approx(variance), pytest.approx((r - 1) * (variance / between) ** 2))
    assert area.p == pytest.approx(2 * stats.t.sf(abs(area.estimate - 0.5) / area.se, area.df))


def test_delong_of_a_reader_equals_its_components() -> None:
    study = random_study(4, r=1, n=20)
    found = analyse(study).comparisons[0]
    ill, healthy = np.flatnonzero(study.truth), np.flatnonzero(~study.truth)
    d = np.array([[wins(study, 0, 0, i, j) - wins(study, 1, 0, i, j) for j in healthy] for i in ill])
    variance = d.mean(axis=1).var(ddof=1) / len(ill) + d.mean(axis=0).var(ddof=1) / len(healthy)
    only = found.by_reader[0].difference
    assert (only.estimate, only.se) == (pytest.approx(d.mean()), pytest.approx(variance**0.5))
    assert found.random_readers.reason == "random readers need 4 or more, got 1"
    assert found.fixed_readers.se == pytest.approx(only.se, rel=0.05), (
        "one reader: the jackknife of the same difference"
    )


def test_readers_are_random_only_if_they_are_said_to_be_and_four() -> None:
    four, three = random_study(5), random_study(5, r=3)
    assert analyse(four).comparisons[0].random_readers.se is not None
    fixed = analyse(four, "fixed")
    assert fixed.comparisons[0].random_readers.reason == fixed.modalities[0].auc.reason == "the readers are fixed"
    assert fixed.comparisons[0].fixed_readers == analyse(four).comparisons[0].fixed_readers
    assert analyse(three).comparisons[0].u_statistics.reason == "random readers need 4 or more, got 3"
    assert analyse(three).comparisons[0].u_statistics.estimate is not None


def test_intervals_are_as_wide_as_alpha_says() -> None:
    study = random_study(6, n=40)
    wide, narrow = (analyse(study, alpha=a).comparisons[0].fixed_readers for a in (0.05, 0.317310507863))
    assert wide.high - wide.estimate == pytest.approx(1.959964 * wide.se)
    assert narrow.high - narrow.estimate == pytest.approx(narrow.se)


@pytest.mark.slow
def test_a_null_difference_of_random_readers_is_seldom_found() -> None:
    """Readers, cases and their interaction random, no effect of modality: 5 % of 300 studies, within three errors."""
    rng = np.random.default_rng(7)
    truth = np.arange(40) % 2 == 0
    found = 0
    for _ in range(300):
        score = (
            rng.normal(size=(2, 5, 40))
            + rng.normal(size=(1, 1, 40))
            + 0.5 * rng.normal(size=(1, 5, 1)) * truth
            + 0.5 * rng.normal(size=(2, 5, 1)) * truth
            + truth
        )
        found += analyse(study_of(score, truth)).comparisons[0].random_readers.p < 0.05
    assert found / 300 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


# ------------------------------------------------------------------------ what cannot be estimated


def test_one_class_or_no_reading_is_null_with_its_reason() -> None:
    study = random_study(8)
    for truth, reason in ((np.ones(14), "no case without disease"), (np.zeros(14), "no diseased case")):
        found = analyse(study_of(study.score, truth))
        assert (found.reason, found.areas, found.comparisons) == (reason, (), ())
    assert analyse(study_of(np.zeros((0, 0, 2)), np.array([0, 1]))).reason == "no reading"


def test_constant_scores_have_an_area_of_a_half_and_no_test() -> None:
    found = analyse(study_of(np.zeros((2, 4, 10)), np.arange(10) < 5))
    assert [m.auc.estimate for m in found.modalities] == [0.5, 0.5]
    (both,) = found.comparisons
    assert both.random_readers.reason == both.fixed_readers.reason == "no variation between cases"
    assert both.u_statistics.reason == "no variance could be estimated"
    assert found.components.f is None


def test_one_modality_has_areas_and_no_comparison() -> None:
    found = analyse(random_study(9, t=1))
    assert (len(found.modalities), found.comparisons) == (1, ())
    assert (found.components.cov1, found.components.ms_modality, found.components.f) == (None, None, None)


def test_one_case_of_a_class_has_no_variance() -> None:
    study = random_study(10)
    found = analyse(study_of(study.score, np.arange(14) == 0))
    assert found.comparisons[0].fixed_readers.reason == "fewer than two cases of a class"
    assert found.comparisons[0].by_reader[0].difference.reason == "fewer than two cases of a class"
    assert found.components.variance is None
