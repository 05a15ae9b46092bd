"""Quotas, prefixes, persons, limits; and what an impossible trial says."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from itrialspace_assets.base.errors import TrialError
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.imaging.anatomy import LOBES
from itrialspace_assets.records.layout import MODES, PROCEDURAL
from itrialspace_assets.trials.assignment import Preferences, SortedGroups, assign
from itrialspace_assets.trials.compose import compose
from itrialspace_assets.trials.frames import rotations
from itrialspace_assets.trials.pool import CandidatePool
from itrialspace_assets.trials.quotas import balanced_sequence, period_of, quota_sequence
from itrialspace_assets.trials.resolve import resolve
from itrialspace_assets.trials.sites import sites
from itrialspace_assets.trials.verify import broken_rules, far_from_asked

from .conftest import Paper, small_plan, small_pool, small_trial

weights = st.lists(st.floats(0.01, 1), min_size=2, max_size=6)


@given(weights, st.integers(1, 60))
def test_every_prefix_keeps_its_quota(shares: list[float], n: int) -> None:
    sequence = quota_sequence(shares, n)
    bound = 1 - 1 / (2 * (len(shares) - 1))  # Tijdeman 1980
    for level, weight in enumerate(shares):
        got = np.cumsum(sequence == level)
        assert np.abs(got - np.arange(1, n + 1) * weight / sum(shares)).max() <= bound + n * 1e-3
    assert np.array_equal(quota_sequence(shares, n + 7)[:n], sequence)


@given(weights, st.floats(0.02, 0.98), st.integers(1, 150))
@settings(deadline=None)
def test_a_second_factor_keeps_its_quota_and_is_spread_over_the_first(shares: list[float], p: float, n: int) -> None:
    first = quota_sequence([p, 1 - p], n + 9)
    sequence = balanced_sequence(shares, first, n, period_of([p, 1 - p]))
    longer = balanced_sequence(shares, first, n + 9, period_of([p, 1 - p]))
    assert np.array_equal(longer[:n], sequence), "a longer run begins with the shorter one"
    total = sum(shares)
    bound = {2: 0.5, 3: 1.0}.get(len(shares), 1.5)
    for level, weight in enumerate(shares):
        assert np.abs(np.cumsum(sequence == level) - np.arange(1, n + 1) * weight / total).max() <= bound + n * 1e-3


def test_quotas_of_related_periods_do_not_meet_in_the_same_pairs() -> None:
    """50 malignant of 1,000 at the NLST sizes: each size gets its share of them, not what the periods give."""
    sizes = [0.42, 0.38, 0.11, 0.05, 0.03, 0.01]
    first = quota_sequence([0.05, 0.95], 1000)
    second = balanced_sequence(sizes, first, 1000, period_of([0.05, 0.95]))
    assert np.bincount(second).tolist() == [420, 380, 110, 50, 30, 10]
    malignant = np.bincount(second[first == 0], minlength=6)
    assert np.abs(malignant - 50 * np.array(sizes)).max() <= 1


def test_a_quota_is_exact_where_it_can_be() -> None:
    assert (quota_sequence([0.05, 0.95], 1000) == 0).sum() == 50
    with pytest.raises(ValueError, match="weights"):
        quota_sequence([-1, 2], 3)


@st.composite
def contests(draw: st.DrawFn) -> tuple[Preferences, np.ndarray, np.ndarray, np.ndarray]:
    m, n = draw(st.integers(1, 12)), draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    in_order = SortedGroups.of(rng.integers(0, 3, m), rng.random(m), 3)
    group, low = rng.integers(0, 3, n), rng.random(n) * 0.5
    parts = [in_order.segments(group, low, low + 0.5), in_order.segments(group, np.zeros(n), np.full(n, 2.0))]
    preferences = Preferences(
        in_order.order,
        np.stack([p[0] for p in parts]),
        np.stack([p[1] for p in parts]),
        rng.integers(0, 2**63, n).astype(np.uint64),
    )
    return preferences, rng.integers(0, 4, m), rng.random((n, m)) < 0.2, rng.integers(0, 4, n)


@given(contests())
@settings(deadline=None)
def test_assignment_is_first_come_first_served(contest: tuple[Preferences, np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Independent: case after case takes the first candidate of its own order that is left and allowed."""
    preferences, capacity, forbidden, pair = contest
    n = len(preferences.start)
    left, wanted = capacity.copy(), []
    for case in range(n):
        got = -1
        for turn in range(int(preferences.length[case])):
            candidate = int(preferences.at(np.array([case]), np.array([turn]))[0][0])
            if left[candidate] > 0 and not forbidden[case, candidate]:
                got = candidate
                left[candidate] -= 1
                break
        wanted.append(got)

    def allowed(cases: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        return ~forbidden[cases, candidates]

    found = assign(preferences, capacity, allowed).candidate
    assert found.tolist() == wanted
    whole = assign(preferences, capacity, allowed, whole=True).candidate
    end = wanted.index(-1) if -1 in wanted else n
    assert whole.tolist() == wanted[:end] + [-1] * (n - end), "a whole plan ends at the first case that gets nothing"
    half = n // 2
    first, count = preferences.first[:, :half], preferences.count[:, :half]
    fewer = Preferences(preferences.order, first, count, preferences.start[:half])
    assert assign(fewer, capacity, allowed).candidate.tolist() == wanted[:half]
    paired = assign(preferences, capacity, None, pair).candidate
    assert assign(fewer, capacity, None, pair[:half]).candidate.tolist() == paired[:half].tolist()
    pairs = [(int(p), int(t)) for p, t in zip(pair, paired, strict=True) if t >= 0]
    assert len(set(pairs)) == len(pairs)
    assert (np.bincount(paired[paired >= 0], minlength=len(capacity)) <= capacity).all()


@given(st.integers(1, 20), st.floats(0, 1), st.integers(1, 3), st.integers(1, 3))
@settings(deadline=None, max_examples=40)
def test_a_planned_manifest_keeps_every_rule(n: int, p: float, donor_uses: int, host_uses: int) -> None:
    trial = small_trial(prevalence={"value": p}, donors={"max_uses": donor_uses}, hosts={"max_uses": host_uses})
    resolved = resolve(trial, "demo", (f"cohort.n_cases={n}",), ["A"])
    try:
        made = small_plan(n, trial=trial)
    except TrialError as error:
        assert "At most" in str(error)
        return
    own = small_pool().donors.select("nodule_uid", "label", "scan_uid", "person_uid")
    assert broken_rules(resolved, made.arms, made.cases, made.nodules, own) == []
    assert abs(made.arms["got_malignant"][0] - n * p) <= 0.5 + 1e-3
    assert made.nodules["donor_nodule_uid"].value_counts()["count"].max() <= donor_uses
    assert made.cases["host_scan_uid"].value_counts()["count"].max() <= host_uses
    assert far_from_asked(made.balance) == []


def test_more_cases_keep_those_already_planned() -> None:
    few, many = (small_plan(n, prevalence={"value": 0.3}, donors={"max_uses": 1}) for n in (5, 9))
    assert many.cases.filter(pl.col("number") < 5).equals(few.cases)
    assert many.nodules.head(5).equals(few.nodules)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_the_demo_is_the_beginning_of_the_paper_cohort(paper: Paper, mode: str) -> None:
    _, demo = paper.plan(mode, "demo")
    _, whole = paper.plan(mode, "paper")
    same = whole.cases.filter(pl.col("case_uid").is_in(demo.cases["case_uid"].to_list()))
    assert same.equals(demo.cases)
    rows = whole.nodules.filter(pl.col("case_uid").is_in(demo.cases["case_uid"].to_list()))
    assert rows.drop("why").equals(demo.nodules.drop("why"))


def test_editing_an_arm_changes_no_other() -> None:
    arms = [
        {"name": x, "published": x, "varies": "label", "level": x, "cohort": {"label": i}}
        for i, x in enumerate(("b", "m"))
    ]
    one = small_plan(6, trial=small_trial(arms=arms))
    arms[1]["cohort"] = {"label": 1, "donors": {"diameter_mm": [5, 20]}}
    two = small_plan(6, trial=small_trial(arms=arms))
    assert one.cases.filter(pl.col("arm") == "b").equals(two.cases.filter(pl.col("arm") == "b"))
    assert not one.nodules.filter(pl.col("case_uid").str.contains("/m/")).equals(
        two.nodules.filter(pl.col("case_uid").str.contains("/m/"))
    )


def test_adding_a_dataset_changes_only_trials_that_draw_from_it() -> None:
    from dataclasses import replace

    a, b = small_pool(), small_pool(dataset="B")
    both = replace(
        a,
        donors=pl.concat([a.donors, b.donors]),
        hosts=pl.concat([a.hosts, b.hosts]),
        lobe_clearance=np.concatenate([a.lobe_clearance, b.lobe_clearance]),
        by_cohort={},
    )
    named = {"hosts": {"datasets": ["A"]}, "donors": {"datasets": ["A"]}}
    assert small_plan(8, a, **named).cases.equals(small_plan(8, both, **named).cases)
    assert not small_plan(8, a).cases.equals(small_plan(8, both).cases)


def test_the_order_of_rows_does_not_matter() -> None:
    made, turned = small_plan(9), small_plan(9, small_pool(reverse=True))
    assert made.cases.equals(turned.cases)
    assert made.nodules.equals(turned.nodules)


def test_five_cases_at_five_per_cent_hold_no_cancer_and_say_so() -> None:
    made = small_plan(5, prevalence={"value": 0.05})
    assert made.arms["got_malignant"][0] == 0
    assert "no malignant finding" in made.arms["note"][0]


def test_an_impossible_trial_names_what_binds_and_the_most_feasible_cases() -> None:
    with pytest.raises(
        TrialError,
        match=r"arm a: no donor is left for case 16 of 20 \(malignant\): 15 donors meet it, each used at most 1 times",
    ) as error:
        small_plan(20, label=1, donors={"max_uses": 1})
    assert "At most 15 cases are feasible" in str(error.value)
    assert "label 1 15" in str(error.value)
    assert "--relax gives up, in turn, donors.max_uses x2" in str(error.value)


def test_relaxing_is_on_request_and_recorded() -> None:
    made = small_plan(20, label=1, donors={"max_uses": 1}, relax=True)
    assert made.arms["relaxations"][0] == "donors.max_uses x2"
    assert made.nodules["donor_nodule_uid"].value_counts()["count"].max() == 2
    assert small_plan(10, label=1, donors={"max_uses": 1}, relax=True).arms["relaxations"][0] == "", "only when needed"
    with pytest.raises(TrialError, match="no relaxation helps"):
        small_plan(3, donors={"diameter_mm": [100, 200]}, relax=True)


def test_scaling_is_a_recorded_relaxation() -> None:
    made = small_plan(2, donors={"diameter_mm": [4, 9]}, sizes={"10-15mm": 1})
    assert set(made.nodules["size_bucket"]) == {"10-15mm"}
    assert made.nodules["relaxations"].str.contains("scaled by 1").all()
    assert made.nodules["scale"].max() <= 1.5
    assert small_plan(2, sizes={"10-15mm": 1}).nodules["relaxations"].to_list() == ["", ""], (
        "none while donors of that size are left"
    )


@pytest.mark.parametrize(("prevalence", "n"), [(0.29, 20), (0.57, 20), (0.41, 15)])
def test_shares_that_floats_cannot_hold_still_meet_their_count(prevalence: float, n: int) -> None:
    made = small_plan(n, prevalence={"value": prevalence})
    assert made.arms["asked_malignant"][0] == made.arms["got_malignant"][0]
    assert abs(made.arms["got_malignant"][0] - n * prevalence) <= 0.5


def pool_with_gaps() -> CandidatePool:
    """The small pool without donors of 15 to 30 mm, and procedural donors beside."""
    pool = small_pool()
    kept = pool.donors.filter(~pl.col("diameter_mm").is_between(15, 30))
    drawn = pl.DataFrame(
        [
            {
                "nodule_uid": f"{PROCEDURAL}/{d}_{lobe}",
                "dataset": PROCEDURAL,
                "scan_uid": f"{PROCEDURAL}/{d}_{lobe}",
                "person_uid": f"{PROCEDURAL}/{d}_{lobe}",
                "diameter_mm": float(d),
                "lobe": lobe,
                "cc_pct": 50.0,
                "ml_pct": 50.0,
                "ap_pct": 50.0,
            }
            for d in (8, 17, 24)
            for lobe in LOBES[:2]
        ]
    )
    return replace(pool, donors=pl.concat([kept, drawn], how="diagonal_relaxed").sort("nodule_uid"), by_cohort={})


def test_procedural_donors_fill_gaps_only_where_a_trial_asks() -> None:
    sizes = {"5-10mm": 0.5, "15-20mm": 0.5}
    with pytest.raises(TrialError, match="donor"):
        small_plan(8, pool_with_gaps(), sizes=sizes, max_scale=1.0)
    planned = small_plan(8, pool_with_gaps(), sizes=sizes, max_scale=1.0, donors={"procedural": "gaps", "max_uses": 4})
    of = planned.nodules.group_by("size_bucket").agg(pl.col("donor_dataset").unique()).sort("size_bucket")
    assert of.rows() == [("15-20mm", [PROCEDURAL]), ("5-10mm", ["A"])]
    assert planned.nodules.filter(pl.col("donor_dataset") == PROCEDURAL)["label"].null_count() == 4
    alone = small_plan(4, pool_with_gaps(), donors={"procedural": "only"})
    assert set(alone.nodules["donor_dataset"]) == {PROCEDURAL}
    with pytest.raises(TrialError):  # they have no label
        small_plan(4, pool_with_gaps(), donors={"procedural": "only"}, label=1)


def test_poses_are_drawn_recorded_and_uniform() -> None:
    still = small_plan(6).nodules
    assert still.select("rotation_x_deg", "rotation_y_deg", "rotation_z_deg").sum_horizontal().to_list() == [0.0] * 6
    assert not still["mirrored"].any()
    turned = small_plan(20, placement={"rotation": "any", "mirror": True}).nodules
    longer = small_plan(25, placement={"rotation": "any", "mirror": True}).nodules
    assert turned.equals(longer.filter(pl.col("case_uid").is_in(turned["case_uid"].to_list())))
    assert 4 <= turned["mirrored"].sum() <= 16
    axial = small_plan(6, placement={"rotation": "axial"}).nodules
    assert (axial["rotation_x_deg"] == 0).all()
    assert axial["rotation_z_deg"].n_unique() == 6
    u, v, w = np.random.default_rng(0).random((3, 4000))
    matrices = Rotation.from_euler("xyz", rotations("any", u, v, w), degrees=True).as_matrix()
    assert np.abs(matrices.mean(axis=0)).max() < 0.03, "the mean of uniform rotations is zero"
    assert np.abs((matrices**2).mean(axis=0) - 1 / 3).max() < 0.03


def test_what_placement_is_to_meet_is_the_donors_own_only_where_it_goes_to_its_own_place() -> None:
    own = small_plan(6).nodules.join(
        small_pool().donors.select(donor_nodule_uid="nodule_uid", own="reinsertion_pleural_dist_mm"),
        on="donor_nodule_uid",
    )
    assert (own["asked_pleural_mm"] == own["own"]).all()
    assert small_plan(6, placement={"mode": "prescribed"}).nodules["asked_pleural_mm"].null_count() == 6


def test_a_twin_plan_may_keep_the_hosts_other_nodules() -> None:
    pool = small_pool(6)
    two = pool.donors.with_columns(
        scan_uid=pl.when(pl.col("nodule_uid") == "A/001").then(pl.lit("A/000s")).otherwise("scan_uid")
    )
    pool = replace(pool, donors=two, by_cohort={})
    for keep in (False, True):
        trial = small_trial(
            arms=None,
            trial={
                "planner": "twin",
                "twin": {"kind": "isolation", "keep_native": keep},
                "arms_from": {"what": "hosts"},
                "arms": [],
            },
            at_size={"datasets": ["A"]},
            placement={"mode": "native"},
        )
        nodules = compose(resolve(trial, "demo", (), ["A"]), pool, sites(load_settings()), 42, "real").nodules
        kept = nodules.filter("kept")
        assert kept.height == (2 if keep else 0)
        if keep:
            assert set(kept["nodule_idx"]) == {1}
            assert set(kept["donor_nodule_uid"]) == {"A/000", "A/001"}
            assert (kept["placement"] == "native").all()
