"""Variance components: planted effects come back where the design is crossed, and are refused where it is not."""

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy import special

from itrialspace_assets.analysis.estimates import variance_components as module
from itrialspace_assets.analysis.estimates.variance_components import _Design, naive_ratio, variance_components, why_not
from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.scoring.rows import Analysis
from itrialspace_assets.analysis.scoring.variance_rows import variance_rows
from itrialspace_assets.base.settings import load_settings


def crossed(seed: int, hosts: int, donors: int, host_sd: float, donor_sd: float, seeds: int = 1):
    """Every host with every donor, so many synthesis seeds each; effects on the logit scale, with exactly these
    standard deviations."""
    from scipy import stats

    rng = np.random.default_rng(seed)
    effects = [sd * stats.zscore(rng.normal(size=n), ddof=1) for n, sd in ((hosts, host_sd), (donors, donor_sd))]
    host, donor, number = (a.ravel() for a in np.meshgrid(range(hosts), range(donors), range(seeds), indexing="ij"))
    logit = 0.3 + effects[0][host] + effects[1][donor]
    right = (rng.random(len(host)) < special.expit(logit)).astype(float)
    return right, {"host": host, "donor": donor} | ({"seed": number} if seeds > 1 else {})


def components(right, ways, seed: int = 0, replicates: int = 60):
    return variance_components(right, ways, replicates=replicates, seed=np.random.SeedSequence(seed))


def test_a_planted_host_effect_is_recovered_in_a_crossed_design() -> None:
    found = components(*crossed(1, 24, 24, 1.0, 0.4))
    host, donor = found.variance["host"], found.variance["donor"]
    assert host.low < 1.0 < host.high
    assert donor.low < 0.16 < donor.high
    assert found.ratio.estimate == host.estimate / donor.estimate > 2
    assert found.ratio.low > 1
    assert found.note is None
    assert found == components(*crossed(1, 24, 24, 1.0, 0.4))


def test_the_effect_that_is_planted_is_the_one_that_is_found() -> None:
    right, ways = crossed(2, 16, 24, 0.0, 1.2)
    found = components(right, ways)
    assert found.variance["donor"].estimate > 0.6
    assert found.variance["host"].estimate < 0.1
    assert found.variance["host"].low == 0.0
    swapped = components(right, {"donor": ways["donor"], "host": ways["host"]})
    assert swapped.variance["donor"].estimate == pytest.approx(found.variance["donor"].estimate, rel=1e-6)


def test_a_third_way_without_an_effect_has_next_to_no_variance() -> None:
    found = components(*crossed(3, 12, 12, 1.0, 0.5, seeds=4))
    assert list(found.variance) == ["host", "donor", "seed"]
    assert found.variance["seed"].estimate < 0.05 < found.variance["host"].estimate


def test_a_round_robin_design_is_not_estimable() -> None:
    """One donor a host in turn: each donor meets one host, so its effect is not told from that of the answer."""
    donor = np.arange(120)
    right = (np.random.default_rng(4).random(120) < 0.5).astype(float)
    found = components(right, {"host": donor % 12, "donor": donor})
    assert found.note == "not crossed: 120 of 120 donor levels meet one host level"
    assert {(n.estimate, n.low, n.high, n.note) for n in found.variance.values()} == {(None, None, None, found.note)}
    assert found.ratio.note == found.note
    assert found.naive_ratio is not None, "published for parity"


def test_a_design_of_which_half_is_crossed_is_estimable() -> None:
    host, donor = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [2, 2], [2, 3]]).T
    right = np.array([0, 1, 0, 1, 0, 1.0])
    assert why_not(right, {"host": host, "donor": donor}) is None, "2 of 4 donors, and all hosts, meet two"
    host, donor = np.append(host, 2), np.append(donor, 4)
    assert why_not(np.append(right, 1), {"host": host, "donor": donor}).startswith("not crossed: 3 of 5 donor")


def test_the_naive_ratio_is_far_from_one_without_any_effect() -> None:
    """With no effect each mean varies by p (1 - p) over its number of answers (docs/facts/evaluation.md): 240 / 12."""
    right, ways = crossed(5, 12, 240, 0.0, 0.0)
    assert naive_ratio(right, ways["donor"], ways["host"]) == pytest.approx(240 / 12, rel=0.6)
    a, b = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    assert naive_ratio(np.array([1, 1, 1, 0.0]), a, b) == 1.0
    assert naive_ratio(np.array([1, 0, 1, 0.0]), a, b) == 0.0
    assert naive_ratio(np.array([1, 1, 0, 0.0]), a, b) is None
    assert naive_ratio(np.array([1, 0.0]), np.array([0, 0]), np.array([0, 1])) is None
    assert naive_ratio(np.zeros(0), np.zeros(0, int), np.zeros(0, int)) is None


def test_a_fit_solves_the_equations_of_the_model() -> None:
    """Independent: dense matrices and a general minimiser for the effects, Schall's update for the variances."""
    from scipy import optimize

    right, ways = crossed(6, 14, 10, 1.0, 0.8)
    design = module._Design.of(list(ways.values()))
    mean, variance, rests = (part[0] for part in design.fit(right[None], np.full(2, 0.5), 1e-8))
    assert rests
    z = np.c_[np.ones(140), np.eye(14)[ways["host"]], np.eye(10)[ways["donor"]]]
    penalty = np.r_[0.0, np.full(14, 1 / variance[0]), np.full(10, 1 / variance[1])]

    def loss(b: np.ndarray) -> float:
        eta = z @ b
        return float(np.sum(np.logaddexp(0, eta) - right * eta) + 0.5 * np.sum(penalty * b**2))

    solved = optimize.minimize(loss, np.zeros(25), tol=1e-10).x
    assert solved[0] == pytest.approx(mean, abs=1e-5)
    weight = special.expit(z @ solved) * (1 - special.expit(z @ solved))
    inverse = np.linalg.inv(z.T @ (weight[:, None] * z) + np.diag(penalty))
    for way, at in ((0, slice(1, 15)), (1, slice(15, 25))):
        free = (at.stop - at.start) - np.trace(inverse[at, at]) / variance[way]
        assert variance[way] == pytest.approx((solved[at] ** 2).sum() / free, rel=1e-4)


def test_resamples_in_parts_are_fitted_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    _, ways = crossed(7, 8, 8, 1.0, 0.5)
    design = module._Design.of(list(ways.values()))
    variance = np.array([1.0, 0.3])
    drawn = design.draw(0.2, variance, 8, np.random.default_rng(0))
    whole = design.fit(drawn, variance, 1e-3)
    monkeypatch.setattr(module, "_CELLS", 1)
    for a, b in zip(whole, design.fit(drawn, variance, 1e-3), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_drawn_answers_vary_as_the_model_says() -> None:
    _, ways = crossed(8, 40, 40, 0, 0)
    design = module._Design.of(list(ways.values()))
    drawn = design.draw(0.0, np.array([4.0, 0.0]), 50, np.random.default_rng(1)).reshape(50, 40, 40)
    assert drawn.mean() == pytest.approx(0.5, abs=0.05)
    assert drawn.mean(axis=2).var(axis=1).mean() > 10 * drawn.mean(axis=1).var(axis=1).mean()


@pytest.mark.parametrize(
    ("right", "hosts", "reason"),
    [
        (np.zeros(0), np.zeros(0, int), "no answers"),
        (np.ones(9), np.repeat(np.arange(3), 3), "all answers are right"),
        (np.zeros(9), np.repeat(np.arange(3), 3), "all answers are wrong"),
        (np.arange(9) % 2 * 1.0, np.repeat([0, 1, 1], 3), "2 host levels: expected 3 or more"),
        (np.arange(1200) % 2 * 1.0, np.arange(1200), "1203 levels: expected at most 400"),
    ],
)
def test_what_cannot_be_estimated_is_null_with_its_reason(right: np.ndarray, hosts: np.ndarray, reason: str) -> None:
    found = components(right, {"host": hosts, "donor": np.arange(len(right)) % 3})
    assert (found.note, found.ratio.estimate) == (reason, None)
    assert {n.note for n in found.variance.values()} == {reason}


def test_the_spread_of_drawn_hosts_is_that_of_their_variance() -> None:
    """Means of 40 answers vary as the chances do, a standard deviation of 2 on the logit, and by their own error."""
    _, ways = crossed(8, 40, 40, 0, 0)
    drawn = module._Design.of(list(ways.values())).draw(0.0, np.array([4.0, 0.0]), 100, np.random.default_rng(2))
    chance = special.expit(2 * np.random.default_rng(3).normal(size=100_000))
    expected = chance.var() + (chance * (1 - chance)).mean() / 40
    assert drawn.reshape(100, 40, 40).mean(axis=2).var(axis=1, ddof=1).mean() == pytest.approx(expected, rel=0.05)


def test_limits_are_reflected_on_the_scale_of_standard_deviations() -> None:
    again = np.linspace(0.4, 1.2, 101) ** 2
    found = module._variance(np.float64(1.0), again, None, 0.05)
    assert (found.low, found.high) == (pytest.approx((2 - 1.18) ** 2), pytest.approx((2 - 0.42) ** 2))
    assert module._variance(np.float64(0.0), again, None, 0.05).high == pytest.approx(1.18**2)
    assert module._variance(np.float64(0.25), again, None, 0.05).low == 0.0


def test_limits_of_a_ratio_whose_denominator_may_be_zero() -> None:
    fitted = np.array([1.0, 0.5])
    again = np.array([[1.0, 0.5]] * 90 + [[1.0, 0.0]] * 10)
    found = module._ratio(fitted, again, None, ["host", "donor"], 0.05)
    assert (found.estimate, found.low, found.high) == (2.0, 2.0, None)
    assert found.note == "no upper limit: the variance of donor is zero in 10 of 100 resamples"
    assert module._ratio(np.array([1.0, 0.0]), again, None, ["host", "donor"], 0.05).note.startswith(
        "the variance of d"
    )


def test_one_way_is_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="expected two ways or more, got 1"):
        components(np.zeros(3), {"host": np.arange(3)})


def answers(host: np.ndarray, donor: np.ndarray, right: np.ndarray) -> pl.DataFrame:
    """Slices of a nodule each, with the answer to two tasks; the second is not the reader's."""
    n = len(host)
    frame = pl.DataFrame({"host_person_uid": host.astype(str), "donor_person_uid": donor.astype(str)}).with_columns(
        slice_uid=pl.Series([f"s{i:05}" for i in range(n)]),
        sha256=pl.Series([f"p{i}" for i in range(n)]),
        case_uid=pl.Series([f"c{i}" for i in range(n)]),
        answer=pl.Series(np.where(right == 1, "present", "absent")),
        **{k: pl.lit(v) for k, v in {"presence": "present", "lobe": "x", "condition": "plain", "status": "ok"}.items()},
        source=pl.lit("tissue"),
        reader=pl.lit("blob"),
        size_class=pl.lit(None, pl.String),
    )
    other = frame.with_columns(task=pl.lit("lobe"), status=pl.lit("unsupported"), answer=pl.lit(None, pl.String))
    return pl.concat([frame.with_columns(task=pl.lit("presence")), other, frame.with_columns(task=pl.lit("size"))])


OF = Analysis("m13", "demo_v1", "procedural")


def test_rows_of_a_report_hold_variances_and_the_published_ratio() -> None:
    right, ways = crossed(9, 12, 12, 1.0, 0.5)
    seen = answers(ways["host"], ways["donor"], right)
    negatives = seen.with_columns(presence=pl.lit("absent"))
    boxed = seen.with_columns(condition=pl.lit("bbox"))
    rows = variance_rows(pl.concat([seen, negatives, boxed]), load_study(load_settings()), OF, 42)
    assert {(r.task, r.reader, r.condition, r.stratum) for r in rows} == {("presence", "blob", "plain", "all")}
    value = {r.metric: r for r in rows}
    host, donor, ratio = (value[f"variance_{m}"] for m in ("host", "donor", "ratio_host_donor"))
    assert ratio.estimate == pytest.approx(host.estimate / donor.estimate, rel=1e-4)
    assert (host.n_slices, host.n_hosts, host.n_donors, host.k) == (144, 12, 12, int(right.sum()))
    assert host.low < host.estimate < host.high
    assert value["naive_ratio_host_donor"].estimate == pytest.approx(
        naive_ratio(right, ways["host"], ways["donor"]), abs=1e-6
    )
    assert rows == variance_rows(seen.reverse(), load_study(load_settings()), OF, 42), "whatever the order of rows"
    unread = seen.with_columns(status=pl.when(pl.col("slice_uid") != "s00000").then("status"))
    missing = variance_rows(unread, load_study(load_settings()), OF, 42)[0]
    assert (missing.n_unanswered, missing.k) == (1, int(right[1:].sum()))


def test_rows_of_a_round_robin_trial_say_why_there_is_no_variance() -> None:
    donor = np.arange(60)
    right = (np.random.default_rng(4).random(60) < 0.5).astype(float)
    rows = variance_rows(answers(donor % 6, donor, right), load_study(load_settings()), OF, 42)
    assert [r.estimate is None for r in rows] == [True, True, True, False]
    assert {r.flag for r in rows[:3]} == {"not crossed: 60 of 60 donor levels meet one host level"}


@pytest.mark.slow
def test_intervals_of_a_planted_variance_cover_it() -> None:
    """25 crossed designs of 20 by 20 with random effects: covered as often as 95 % minus three errors of 25 draws."""
    covered = 0
    for seed in range(25):
        rng = np.random.default_rng(100 + seed)
        host, donor = (a.ravel() for a in np.meshgrid(range(20), range(20), indexing="ij"))
        chance = special.expit(0.3 + rng.normal(0, 1, 20)[host] + rng.normal(0, 0.5, 20)[donor])
        right = (rng.random(400) < chance).astype(float)
        found = components(right, {"host": host, "donor": donor}, seed=seed, replicates=50).variance["host"]
        covered += found.low <= 1.0 <= found.high
    assert covered / 25 >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 25)


def dense(levels: list[np.ndarray]) -> np.ndarray:
    """Column of the mean and of each level, one way after the other (n, q)."""
    return np.concatenate([np.ones((len(levels[0]), 1)), *(np.eye(lv.max() + 1)[lv] for lv in levels)], axis=1)


@pytest.mark.parametrize("sizes", [(12, 7), (5, 20), (6, 9, 4)])
def test_the_equations_are_solved_as_by_inverting_them_whole(sizes: tuple[int, ...]) -> None:
    """Eliminating the greatest way first must change neither solutions nor the traces of the inverse."""
    rng = np.random.default_rng(0)
    levels = [np.unique(rng.integers(0, size, 300), return_inverse=True)[1] for size in sizes]
    design, z = _Design.of(levels), dense(levels)
    weight, variance = rng.uniform(0.05, 0.25, (4, 300)), rng.uniform(0.1, 2.0, (4, len(sizes)))
    penalty = np.c_[np.zeros(4), np.repeat(1 / variance, sizes, axis=1)]
    whole = np.stack([z.T @ (w[:, None] * z) + np.diag(p) for w, p in zip(weight, penalty, strict=True)])
    system = module._System.of(design, weight, variance)
    right = rng.normal(size=(4, z.shape[1], 2))
    inverse = np.linalg.inv(whole)
    spread = np.diagonal(inverse, axis1=1, axis2=2)
    np.testing.assert_allclose(system.solved(right), inverse @ right, rtol=1e-9, atol=1e-12)
    parts = [spread[:, a:z].sum(axis=1) for a, z in zip(design.start, design.start[1:], strict=False)]
    np.testing.assert_allclose(system.traces(), np.stack(parts, axis=1), rtol=1e-9)


def some_answers(seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Answers of a small random design of two or three ways, with effects from none to larger than any of a reader."""
    rng = np.random.default_rng(seed)
    n, ways = int(rng.integers(30, 120)), int(rng.integers(2, 4))
    levels = [np.unique(rng.integers(0, size, n), return_inverse=True)[1] for size in rng.integers(3, 11, ways)]
    effects = (rng.choice([0, 0.3, 1, 3]) * rng.normal(size=lv.max() + 1)[lv] for lv in levels)
    return (rng.random(n) < special.expit(rng.choice([-1, 0, 1.5]) + sum(effects))).astype(float), levels


def plain(right: np.ndarray, levels: list[np.ndarray]) -> np.ndarray | None:
    """Variances by Schall's updates alone, with whole matrices, inverted in each round, until nothing moves.

    None where they go to and fro for ever, as they do for one design of some thousand.
    """
    z, sizes = dense(levels), [int(lv.max()) + 1 for lv in levels]
    starts = np.cumsum([1, *sizes])[:-1]
    solution, variance = np.zeros(z.shape[1]), np.full(len(levels), 0.5)
    solution[0] = special.logit(right.mean())
    for _ in range(5000):
        chance = special.expit(z @ solution)
        weight = np.maximum(chance * (1 - chance), 1e-6)
        inverse = np.linalg.inv(z.T @ (weight[:, None] * z) + np.diag(np.r_[0, np.repeat(1 / variance, sizes)]))
        solution = inverse @ (z.T @ (weight * (z @ solution) + right - chance))
        free = sizes - np.add.reduceat(np.diag(inverse), starts) / variance
        new = np.clip(np.add.reduceat(solution**2, starts) / free, 0.0025 / 10, 100)
        if np.abs(np.sqrt(new) - np.sqrt(variance)).max() < 1e-9:
            return np.where(new < 0.0025, 0, new)
        variance = new
    return None


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10_000))
@example(113)
def test_a_fit_is_that_of_plain_updates_wherever_it_starts(seed: int) -> None:
    """Also where a variance is zero, and (the example) where whole steps would go to and fro for ever."""
    right, levels = some_answers(seed)
    assume(0 < right.mean() < 1)
    found = plain(right, levels)
    assume(found is not None)
    design, expected = _Design.of(levels), np.sqrt(found)
    for begin, close, error in ((0.5, 1e-7, 1e-5), (0.0, 1e-3, 5e-3), (2.0, 1e-3, 5e-3)):
        _, variance, rests = design.fit(right[None], np.full(len(levels), begin), close)
        assert rests.all()
        np.testing.assert_allclose(np.sqrt(variance[0]), expected, atol=error)


def test_linear_algebra_takes_one_thread_whatever_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    from threadpoolctl import threadpool_info, threadpool_limits

    def threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    seen, whole = [], module.linalg.inv
    monkeypatch.setattr(module.linalg, "inv", lambda *a, **k: (seen.append(threads()), whole(*a, **k))[1])
    right, ways = crossed(1, 6, 6, 1.0, 1.0)
    with threadpool_limits(2, user_api="blas"):
        _Design.of(list(ways.values())).fit(right[None], np.full(2, 0.5), 1e-3)
        assert threads() == {2}, "set back"
    assert set.union(*seen) == {1}
