"""FROC: by hand, each rule of LUNA16 alone, and against a slow count by definition."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itrialspace_assets.analysis.estimates import froc, matching
from itrialspace_assets.analysis.estimates.detection import NotedEstimate, Paired, Resampling, detect, difference
from itrialspace_assets.analysis.estimates.froc import RATES, curve, draw_clusters, resample, threshold_on_free
from itrialspace_assets.analysis.estimates.matching import (
    LUNA16,
    OURS,
    MarkArrays,
    MatchedMarks,
    NoduleArrays,
    Rules,
    match,
)

Mark = tuple[int, float, float]
Nodule = tuple[int, float, float, bool]


def matched_of(marks: list[Mark], nodules: list[Nodule], n_scans: int, rules: Rules) -> MatchedMarks:
    """Marks (scan, x, score) and nodules (scan, x, diameter, excluded) on the x axis, matched."""
    m, k = np.array(marks, float).reshape(-1, 3), np.array(nodules, float).reshape(-1, 4)
    zero = np.zeros((max(len(m), len(k)), 2))
    return match(
        MarkArrays(m[:, 0].astype(int), np.c_[m[:, 1], zero[: len(m)]], m[:, 2]),
        NoduleArrays(k[:, 0].astype(int), np.c_[k[:, 1], zero[: len(k)]], k[:, 2], k[:, 3] == 1),
        n_scans,
        rules,
    )


def ones(n: int) -> np.ndarray:
    return np.ones((1, n), np.int32)


HAND_MARKS = [(0, 4.999, 0.90), (0, 5.0, 0.95), (0, 0.0, 0.50), (2, 4.9, 0.80), (2, 20.0, 0.70)]
HAND_NODULES = [(0, 0.0, 10.0, False), (1, 0.0, 10.0, False), (2, 0.0, 10.0, True)]


def test_five_scans_by_hand_under_the_rules_of_luna16() -> None:
    """Worked out on paper: a hit, one on the rim, a second hit, a missed nodule, an excluded finding, empty scans."""
    matched = matched_of(HAND_MARKS, HAND_NODULES, 5, LUNA16)
    assert curve(matched).corners() == [(0.2, 0.0), (0.2, 0.5), (0.4, 0.5)]
    assert (matched.repeated, matched.on_excluded, matched.beyond_limit) == (1, 1, 0)
    found = resample(matched, ones(5), straight=True)
    assert found.sensitivity[0].tolist() == [0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert found.cpm[0] == pytest.approx(0.428571, abs=1e-6)


def test_five_scans_by_hand_under_our_rules() -> None:
    """The mark on the rim hits and is the highest; its nodule's other marks are dropped."""
    matched = matched_of(HAND_MARKS, HAND_NODULES, 5, OURS)
    assert curve(matched).corners() == [(0.0, 0.5), (0.2, 0.5)]
    assert resample(matched, ones(5), straight=False).cpm[0] == 0.5


def test_a_hit_lies_strictly_within_the_radius() -> None:
    nodule = [(0, 0.0, 6.0, False)]
    assert np.isinf(matched_of([(0, 3.0, 1.0)], nodule, 1, LUNA16).nodule_score[0])
    assert matched_of([(0, 2.999, 1.0)], nodule, 1, LUNA16).nodule_score[0] == 1.0
    assert matched_of([(0, 3.0, 1.0)], nodule, 1, OURS).nodule_score[0] == 1.0


def test_the_best_of_several_hits_counts_and_the_others_are_dropped() -> None:
    matched = matched_of([(0, 1.0, 0.2), (0, 0.0, 0.9), (0, 2.0, 0.5)], [(0, 0.0, 10.0, False)], 1, LUNA16)
    assert (matched.nodule_score.tolist(), len(matched.false_score), matched.repeated) == ([0.9], 0, 2)


def test_marks_on_excluded_findings_are_dropped_unless_they_also_hit() -> None:
    nodules = [(0, 0.0, 10.0, False), (0, 6.0, 10.0, True)]
    matched = matched_of([(0, 3.0, 0.9), (0, 8.0, 0.8), (0, 20.0, 0.7)], nodules, 1, LUNA16)
    assert (matched.nodule_score.tolist(), matched.false_score.tolist(), matched.on_excluded) == ([0.9], [0.7], 1)


def test_a_scan_keeps_marks_strictly_above_its_101st() -> None:
    marks = [(0, 100.0 + i, 200.0 - i) for i in range(98)] + [(0, 500.0 + i, 50.0) for i in range(5)]
    other = [(1, 100.0, 1.0)]
    found = matched_of(marks + other, [], 2, LUNA16)
    assert sorted(found.false_score, reverse=True) == [200.0 - i for i in range(98)] + [1.0]
    assert found.beyond_limit == 5
    assert matched_of(marks[:100] + other, [], 2, LUNA16).beyond_limit == 0
    falling = [(0, 100.0 + i, 200.0 - i) for i in range(102)]
    assert [matched_of(falling[:n], [], 1, LUNA16).beyond_limit for n in (100, 101, 102)] == [0, 1, 2]
    assert matched_of(marks + other, [], 2, OURS).beyond_limit == 0


def test_missed_nodules_and_scans_without_marks_stay_in_the_denominators() -> None:
    matched = matched_of([(0, 0.0, 0.9), (0, 50.0, 0.8)], [(0, 0.0, 8.0, False), (1, 0.0, 8.0, False)], 4, LUNA16)
    assert curve(matched).corners() == [(0.0, 0.5), (0.25, 0.5)]


def test_sensitivity_lies_on_the_line_between_two_thresholds() -> None:
    """Two marks of one score, a hit and a false one: from (0, 0) straight to (1, 1), and only there by our rule."""
    matched = matched_of([(0, 0.0, 0.9), (0, 50.0, 0.9)], [(0, 0.0, 8.0, False)], 1, LUNA16)
    straight, stepped = (resample(matched, ones(1), straight=s).sensitivity[0] for s in (True, False))
    np.testing.assert_allclose(straight, [0.125, 0.25, 0.5, 1, 1, 1, 1])
    np.testing.assert_allclose(stepped, [0, 0, 0, 1, 1, 1, 1])


def test_a_mark_within_two_nodules_hits_both_or_the_one_in_which_it_lies_deepest() -> None:
    nodules = [(0, 0.0, 10.0, False), (0, 6.0, 20.0, False)]
    assert matched_of([(0, 3.0, 0.9)], nodules, 1, LUNA16).nodule_score.tolist() == [0.9, 0.9]
    assert matched_of([(0, 3.0, 0.9)], nodules, 1, OURS).nodule_score.tolist() == [-np.inf, 0.9]
    same = [(0, 0.0, 10.0, False), (0, 4.0, 10.0, False)]
    assert matched_of([(0, 2.0, 0.9)], same, 1, OURS).nodule_score.tolist() == [0.9, -np.inf]


def test_our_rules_take_a_small_nodule_as_one_of_5_mm() -> None:
    nodule = [(0, 0.0, 3.0, False)]
    assert np.isinf(matched_of([(0, 2.0, 0.9)], nodule, 1, LUNA16).nodule_score[0])
    assert matched_of([(0, 2.5, 0.9)], nodule, 1, OURS).nodule_score[0] == 0.9
    assert np.isinf(matched_of([(0, 2.501, 0.9)], nodule, 1, OURS).nodule_score[0])


def test_a_mark_of_another_scan_hits_nothing() -> None:
    matched = matched_of([(1, 0.0, 0.9)], [(0, 0.0, 8.0, False)], 2, LUNA16)
    assert (np.isinf(matched.nodule_score).all(), matched.false_scan.tolist()) == (True, [1])


def test_matching_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    marks = [(int(s), float(x), float(p)) for s, x, p in zip(*rng.integers(0, 9, (3, 200)), strict=True)]
    nodules = [
        (int(s), float(x), 5.0, bool(e))
        for s, x, e in zip(*rng.integers(0, 9, (2, 40)), rng.random(40) < 0.2, strict=True)
    ]
    whole = matched_of(marks, nodules, 9, LUNA16)
    monkeypatch.setattr(matching, "_PAIRS", 30)
    parts = matched_of(marks, nodules, 9, LUNA16)
    np.testing.assert_array_equal(whole.nodule_score, parts.nodule_score)
    np.testing.assert_array_equal(whole.false_scan, parts.false_scan)


# ------------------------------------------------------------------------ against a slow count by definition


def slow_match(marks: list[Mark], nodules: list[Nodule], rules: Rules) -> tuple[list[float], list[tuple[int, float]]]:
    """Score of each nodule that counts, and the false marks (scan, score), one mark at a time."""
    kept = []
    for scan in {m[0] for m in marks}:
        mine = sorted((m for m in marks if m[0] == scan), key=lambda m: -m[2])
        if rules.most_marks is not None and len(mine) > rules.most_marks:
            mine = [m for m in mine if m[2] > mine[rules.most_marks][2]]
        kept += mine
    best = {i: -np.inf for i, n in enumerate(nodules) if not n[3]}
    false = []
    for scan, x, score in kept:
        inside = {}
        for i, (where, centre, diameter, _) in enumerate(nodules):
            radius = max(diameter, rules.least_diameter_mm) / 2
            distance = abs(x - centre)
            if where == scan and (distance < radius or (rules.rim_hits and distance == radius)):
                inside[i] = (distance / radius, i)
        hit = [i for i in inside if i in best]
        if rules.one_nodule_a_mark and hit:
            hit = [min(hit, key=lambda i: inside[i])]
        for i in hit:
            best[i] = max(best[i], score)
        if not inside:
            false.append((scan, score))
    return list(best.values()), false


def slow_numbers(
    scans: list[int], nodules: list[tuple[int, float]], false: list[tuple[int, float]], straight: bool
) -> tuple[list[float], float, float]:
    """Sensitivity at the rates, AFROC and wAFROC areas, counted at every threshold; every list has one entry a copy."""
    thresholds = sorted({s for _, s in nodules if np.isfinite(s)} | {s for _, s in false}, reverse=True)
    points = [(0.0, 0.0)]
    for t in thresholds:
        points.append((sum(s >= t for _, s in false) / len(scans), sum(s >= t for _, s in nodules) / len(nodules)))
    at = []
    for rate in RATES:
        if straight:
            x, y = np.array(points).T
            at.append(float(np.interp(rate, x, y)))
        else:
            at.append(max(y for x, y in points if x <= rate))
    sick = {scan for scan, _ in nodules}
    highest = [max([s for w, s in false if w == scan], default=-np.inf) for scan in scans if scan not in sick]
    won = [np.mean([(n > h) + 0.5 * (n == h) for h in highest]) if highest else np.nan for _, n in nodules]
    share = [1 / sum(w == scan for w, _ in nodules) for scan, _ in nodules]
    return at, float(np.mean(won)), float(np.average(won, weights=share))


ROUND = st.integers(0, 6).map(float)


@st.composite
def studies(draw: Callable) -> tuple[list[Mark], list[Nodule], int]:
    n = draw(st.integers(1, 6))
    scan = st.integers(0, n - 1)
    marks = draw(st.lists(st.tuples(scan, ROUND, ROUND), max_size=14))
    nodules = draw(st.lists(st.tuples(scan, ROUND, st.sampled_from([3.0, 4.0, 10.0]), st.booleans()), max_size=6))
    return marks, nodules, n


@settings(max_examples=80, deadline=None)
@given(studies(), st.sampled_from([LUNA16, OURS, Rules("few", True, 0.0, False, 2, True)]), st.integers(0, 2**31))
def test_every_number_equals_a_slow_count_on_scans_that_are_copied(
    study: tuple[list[Mark], list[Nodule], int], rules: Rules, seed: int
) -> None:
    marks, nodules, n = study
    matched = matched_of(marks, nodules, n, rules)
    scores, false = slow_match(marks, nodules, rules)
    assert matched.nodule_score.tolist() == scores
    assert sorted(zip(matched.false_scan.tolist(), matched.false_score.tolist(), strict=True)) == sorted(false)
    weights = np.random.default_rng(seed).integers(0, 3, (2, n)).astype(np.int32)
    weights[0] = 1
    found = resample(matched, weights, straight=rules.straight)
    of_nodule = list(zip([k[0] for k in nodules if not k[3]], scores, strict=True))
    for row, times in enumerate(weights.tolist()):
        copies = [(scan, c) for scan in range(n) for c in range(times[scan])]
        ill = [((scan, c), s) for scan, s in of_nodule for c in range(times[scan])]
        wrong = [((scan, c), s) for scan, s in false for c in range(times[scan])]
        if not ill:
            assert np.isnan(found.sensitivity[row]).all()
            continue
        at, afroc, wafroc = slow_numbers(copies, ill, wrong, rules.straight)
        np.testing.assert_allclose(found.sensitivity[row], at, atol=1e-12)
        np.testing.assert_allclose([found.afroc[row], found.wafroc[row]], [afroc, wafroc], atol=1e-12)
        assert found.cpm[row] == pytest.approx(np.mean(at))


def random_study(rng: np.random.Generator, n_scans: int = 60) -> MatchedMarks:
    marks = [(int(rng.integers(n_scans)), float(rng.uniform(20, 99)), float(rng.integers(1, 400))) for _ in range(900)]
    nodules = [(int(rng.integers(n_scans // 2)), 0.0, 10.0, False) for _ in range(40)]
    marks += [(k[0], 0.0, float(rng.integers(100, 400))) for k in nodules[::2]]
    return matched_of(marks, nodules, n_scans, LUNA16)


def test_false_marks_on_lesion_free_scans_at_the_thresholds_of_the_curve() -> None:
    matched = random_study(np.random.default_rng(1))
    found = resample(matched, ones(60), straight=False).false_per_free_scan[0]
    for rate, value in zip(RATES, found, strict=True):
        allowed = [
            t for t in {*matched.false_score, *matched.nodule_score} if (matched.false_score >= t).sum() <= rate * 60
        ]
        passed = matched.false_score >= min(allowed, default=np.inf)
        assert value == pytest.approx((passed & matched.is_free[matched.false_scan]).sum() / matched.is_free.sum())


def test_the_threshold_set_on_lesion_free_scans_and_the_sensitivity_of_groups_there() -> None:
    matched = random_study(np.random.default_rng(2))
    groups = np.arange(40) % 3 - 1 == np.array([[0], [1]])
    for rate in (0.0, 0.4, 1.0, 3.0, 1000.0):
        threshold = threshold_on_free(matched, rate)
        free = np.sort(matched.false_score[matched.is_free[matched.false_scan]])[::-1]
        everything = np.r_[matched.false_score, matched.nodule_score[np.isfinite(matched.nodule_score)]]
        allowed = everything[[(free >= t).sum() <= rate * matched.is_free.sum() for t in everything]]
        assert threshold == (-np.inf if len(allowed) == len(everything) else allowed.min(initial=np.inf))
        found = resample(matched, ones(60), straight=True, groups=groups, free_rate=rate).by_group[0]
        hit = np.isfinite(matched.nodule_score) & (matched.nodule_score >= threshold)
        np.testing.assert_allclose(found, [hit[g].mean() for g in groups])


def test_chunks_and_marks_far_down_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    matched = random_study(np.random.default_rng(3))
    weights = draw_clusters(np.arange(60), 30, np.random.SeedSequence(1))
    whole = resample(matched, weights, straight=True)
    monkeypatch.setattr(froc, "_CELLS", 1000)
    parts = resample(matched, weights, straight=True)
    np.testing.assert_allclose(whole.sensitivity, parts.sensitivity)
    np.testing.assert_allclose(whole.wafroc, parts.wafroc)


def test_marks_of_a_scan_that_is_not_drawn_do_not_stop_the_count() -> None:
    """The highest 500 false marks lie in one scan; without it the count must go on to those of the others."""
    others = [(1 + i % 39, 50.0, 0.5 - i / 2000) for i in range(780)]
    nodules = [(1 + i, 0.0, 8.0, False) for i in range(20)]
    hits = [(1 + i, 0.0, 0.5 - i / 50) for i in range(20)]
    matched = matched_of([(0, 50.0, 0.9 + i / 9999) for i in range(500)] + others + hits, nodules, 40, LUNA16)
    found = resample(matched, (np.arange(40) > 0).astype(np.int32)[None], straight=True)
    alone = matched_of([(s - 1, x, p) for s, x, p in others + hits], [(k[0] - 1, *k[1:]) for k in nodules], 39, LUNA16)
    np.testing.assert_allclose(found.sensitivity, resample(alone, ones(39), straight=True).sensitivity)
    assert 0 < found.cpm[0] < 1


def test_the_nodules_of_one_scan_share_its_weight_in_wafroc() -> None:
    nodules = [(0, 0.0, 8.0, False), (0, 30.0, 8.0, False), (1, 0.0, 8.0, False)]
    found = resample(
        matched_of([(0, 0.0, 0.9), (1, 0.0, 0.8), (2, 0.0, 0.5)], nodules, 3, OURS), ones(3), straight=False
    )
    assert (found.afroc[0], found.wafroc[0]) == (pytest.approx(2 / 3), 0.75)


def test_nodules_may_be_weighted_apart_from_their_scans() -> None:
    matched = matched_of([(0, 0.0, 0.9)], [(0, 0.0, 8.0, False), (1, 0.0, 8.0, False)], 3, OURS)
    found = resample(matched, ones(3), nodule_weight=np.array([[3, 1]], np.int32), straight=False)
    assert (found.cpm[0], found.wafroc[0]) == (0.75, (3 * 1 + 0.5) / 4)


def test_clusters_are_drawn_whole_and_each_equally_often() -> None:
    cluster = np.array([0, 0, 1, 2, 2, 2])
    drawn = draw_clusters(cluster, 4000, np.random.SeedSequence(0))
    assert drawn.shape == (4000, 6)
    assert (drawn[:, 0] == drawn[:, 1]).all() and (drawn[:, 3] == drawn[:, 5]).all()
    assert (drawn[:, [0, 2, 3]].sum(axis=1) == 3).all()
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.06)
    np.testing.assert_allclose(drawn.var(axis=0), 2 / 3, atol=0.06)  # binomial of 3 draws, share 1/3


# ------------------------------------------------------------------------ estimates with intervals


def detected(matched: MatchedMarks, **given: object):
    clusters = Resampling("scans", np.arange(matched.n_scans))
    options = {"replicates": 200, "seed": np.random.SeedSequence(4)} | given
    return detect(matched, LUNA16, clusters, **options)


def test_an_interval_holds_the_estimate_and_its_width_is_that_of_a_share() -> None:
    rng = np.random.default_rng(5)
    n = 400
    nodules = [(i, 0.0, 10.0, False) for i in range(n)]
    marks = [(i, 0.0, 0.9) for i in range(n) if rng.random() < 0.6]
    found = detected(matched_of(marks, nodules, n, LUNA16), replicates=1000).cpm
    half = 1.96 * np.sqrt(0.6 * 0.4 / n)
    assert found.low < found.estimate < found.high
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.12)
    assert found.note is None


def test_scans_of_one_cluster_are_drawn_together_and_widen_the_interval() -> None:
    n = 120
    marks = [(i, 0.0, 0.9) for i in range(n) if (i // 10) % 2]
    matched = matched_of(marks, [(i, 0.0, 10.0, False) for i in range(n)], n, LUNA16)
    apart = detected(matched).cpm
    whole = detect(
        matched, LUNA16, Resampling("hosts", np.arange(n) // 10), replicates=200, seed=np.random.SeedSequence(4)
    ).cpm
    assert (whole.high - whole.low) > 2 * (apart.high - apart.low)
    donors = Resampling("hosts and donors", np.arange(n), np.arange(n) // 10)
    assert detect(matched, LUNA16, donors, replicates=200, seed=np.random.SeedSequence(4)).cpm.low < apart.low


def test_the_same_seed_gives_the_same_limits_and_another_gives_others() -> None:
    matched = random_study(np.random.default_rng(6))
    first, again = (detected(matched, seed=np.random.SeedSequence(7)) for _ in range(2))
    assert first == again
    assert first.cpm.low != detected(matched, seed=np.random.SeedSequence(8)).cpm.low


def test_limits_at_the_ends_are_exact_on_the_clusters_that_hold_nodules() -> None:
    matched = matched_of([(i, 0.0, 0.9) for i in range(12)], [(i, 0.0, 9.0, False) for i in range(12)], 40, LUNA16)
    found = detected(matched)
    assert found.cpm == NotedEstimate(1.0, pytest.approx(0.025 ** (1 / 12)), 1.0, None)
    assert found.rates[0].false_per_lesion_free_scan.note == "no variation between resamples"
    assert (found.wafroc.estimate, found.wafroc.low) == (1.0, pytest.approx(0.025 ** (1 / 12)))
    few_free = matched_of([(i, 0.0, 0.9) for i in range(12)], [(i, 0.0, 9.0, False) for i in range(12)], 17, LUNA16)
    assert detected(few_free).afroc == NotedEstimate(1.0, pytest.approx(0.025 ** (1 / 5)), 1.0, "fewer than 10 scans")


def test_what_cannot_be_estimated_is_null_with_its_reason() -> None:
    nothing = detected(matched_of([], [], 12, LUNA16))
    assert nothing.cpm == NotedEstimate(None, None, None, "no nodules")
    assert nothing.rates[3].false_per_lesion_free_scan.estimate == 0
    no_marks = detected(matched_of([], [(i, 0.0, 9.0, False) for i in range(12)], 12, LUNA16))
    assert (no_marks.cpm.estimate, no_marks.cpm.high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 12)))
    assert no_marks.wafroc == NotedEstimate(None, None, None, "no lesion-free scans")
    assert no_marks.free_threshold is None
    free = detected(matched_of([(i, 0.0, 0.1 * i) for i in range(12)], [], 12, LUNA16))
    assert free.afroc.note == "no nodules"
    at_a_half = free.rates[2].false_per_lesion_free_scan
    assert at_a_half == NotedEstimate(0.5, None, None, "no variation between resamples")
    one = detected(matched_of([(0, 0.0, 0.5)], [(0, 0.0, 9.0, False)], 1, LUNA16))
    assert one.cpm == NotedEstimate(1.0, None, None, "fewer than 10 scans")
    same = detected(
        matched_of([(i, 0.0, 0.5) for i in range(20)], [(i, 0.0, 9.0, False) for i in range(10)], 20, LUNA16)
    )
    assert same.rates[0].sensitivity.estimate == 0.25  # one threshold: a quarter of the way to half a false mark a scan
    assert same.rates[0].sensitivity.note is None, "ten scans with nodules are enough"
    assert (
        detected(matched_of([], [(i, 0.0, 9.0, False) for i in range(4)], 4, LUNA16), replicates=0).cpm.note
        == "no resamples"
    )
    seldom = detected(
        matched_of([], [(0, 0.0, 9.0, False), (1, 0.0, 9.0, False)], 2, LUNA16), groups=np.eye(2, dtype=bool)
    )
    assert [g.note for g in seldom.groups] == ["no lesion-free scans"] * 2
    held = detected(matched_of([], [(0, 0.0, 9.0, False)], 12, LUNA16), groups=np.array([[False], [True]]))
    assert [g.note for g in held.groups] == ["no nodules", "fewer than 10 scans"]
    lacking = detected(matched_of([], [(0, 0.0, 9.0, False), (1, 0.0, 9.0, False)], 30, LUNA16))
    assert "resamples hold nothing" in lacking.cpm.note


def test_a_study_of_no_scan_is_no_crash() -> None:
    assert detected(matched_of([], [], 0, OURS)).cpm.note == "no nodules"


def compared(first: MatchedMarks, second: MatchedMarks, seed: int = 9):
    clusters = Resampling("scans", np.arange(first.n_scans))
    return difference(first, second, LUNA16, clusters, replicates=300, seed=np.random.SeedSequence(seed))


def test_two_readers_of_the_same_scans_are_compared_pair_by_pair() -> None:
    n = 80
    nodules = [(i, 0.0, 10.0, False) for i in range(n // 2)]
    false = [(i, 50.0, 0.3) for i in range(n)]
    better, worse = (matched_of([(i, 0.0, 0.9) for i in range(k)] + false, nodules, n, LUNA16) for k in (36, 24))
    found = compared(better, worse)
    assert found.cpm.difference.estimate == pytest.approx(0.3)
    assert 0 < found.cpm.difference.low < 0.3 < found.cpm.difference.high
    assert found.cpm.p == pytest.approx(2 / 301), "no resample lies below none"
    alone = detected(better).cpm
    assert found.cpm.difference.high - found.cpm.difference.low < 0.9 * (
        (alone.high - alone.low) + (detected(worse).cpm.high - detected(worse).cpm.low)
    )
    back = compared(worse, better)
    assert back.wafroc.difference.estimate == -found.wafroc.difference.estimate
    assert compared(better, better).cpm == Paired(
        NotedEstimate(0.0, None, None, "no variation between resamples"), None
    )
    with pytest.raises(ValueError, match="the same scans and nodules"):
        compared(better, matched_of(false, nodules[:-1], n, LUNA16))
    empty = matched_of(false, [], n, LUNA16)
    assert compared(empty, empty).cpm == Paired(NotedEstimate(None, None, None, "no nodules"), None)


def test_a_true_null_of_two_readers_is_seldom_rejected() -> None:
    rejected = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        nodules = [(i, 0.0, 10.0, False) for i in range(60)]
        readers = [[(i, 0.0, float(rng.random())) for i in range(60) if rng.random() < 0.6] for _ in range(2)]
        first, second = (matched_of(marks, nodules, 80, LUNA16) for marks in readers)
        p = compared(first, second, seed).cpm.p
        rejected += p is not None and p < 0.05
    assert rejected / 60 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 60)
