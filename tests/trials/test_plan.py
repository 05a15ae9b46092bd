"""Quotas, prefixes, persons, limits; and what an impossible trial says."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itrialspace_assets.errors import ConfigError, TrialError
from itrialspace_assets.settings import load_settings
from itrialspace_assets.trials.model import Size, Trial, load_trial, read_trial, trial_files
from itrialspace_assets.trials.plan import Manifest, Stock, make_stock, plan_sampled
from itrialspace_assets.trials.quotas import quota_sequence
from itrialspace_assets.trials.twins import plan_isolation
from itrialspace_assets.trials.verify import broken_rules

LOBES = ("left_lung_upper_lobe", "right_lung_lower_lobe")


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=6), st.integers(1, 60))
def test_every_prefix_keeps_its_quota(weights: list[float], n: int) -> None:
    sequence = quota_sequence(weights, n)
    bound = 1 - 1 / (2 * (len(weights) - 1))  # Tijdeman 1980
    for level, weight in enumerate(weights):
        for k in range(1, n + 1):
            assert abs(sequence[:k].count(level) - k * weight / sum(weights)) <= bound + 1e-4
    assert quota_sequence(weights, n + 7)[:n] == sequence


def test_a_quota_is_exact_where_it_can_be() -> None:
    sequence = quota_sequence([0.05, 0.95], 1000)
    assert sequence.count(0) == 50
    with pytest.raises(ValueError, match="weights"):
        quota_sequence([-1, 2], 3)


def stock(people: int = 30) -> Stock:
    """Donors of 4 to 39 mm in two lobes, half of them malignant; one host a person."""
    ids = [f"A/{i:03d}" for i in range(people)]
    diameters = [4 + 35 * i / (people - 1) for i in range(people)]
    nodules = pl.DataFrame({"nodule_uid": ids, "label": [i % 2 for i in range(people)], "annotation_id": ids, "scan_uid": [f"{i}s" for i in ids],
                            "reinsertion_lobe": [LOBES[i // 2 % 2] for i in range(people)]} | {f"reinsertion_lobe_{a}_pct": [50.0] * people for a in ("cc", "ml", "ap")})  # fmt: skip
    donors = pl.DataFrame(
        {
            "nodule_uid": ids,
            "dataset": ["A"] * people,
            "scan_uid": [f"{i}s" for i in ids],
            "person_uid": [f"p{i}" for i in ids],
            "diameter_mm": diameters,
        }
    )
    hosts = pl.DataFrame({"scan_uid": [f"{i}s" for i in ids], "dataset": ["A"] * people, "person_uid": [f"p{i}" for i in ids],
                          "age": [60.0] * people, "sex": ["M"] * people, "smoking": [None] * people})  # fmt: skip
    rooms = pl.DataFrame([{"scan_uid": f"{i}s", "lobe": lobe, "fit_radius_mm": 30.0} for i in ids for lobe in LOBES])
    return make_stock(nodules, donors, hosts, rooms)


def trial(**cohort: object) -> Trial:
    return Trial.model_validate({
        "mode": "x_test", "trial": "test", "question": "?", "planner": "sampled", "cohort": cohort, "sizes": {"demo": {"n_cases": 4}},
        "arms": [{"name": "a", "published": "a", "varies": "none", "level": "none"}],
    })  # fmt: skip


def plan(n: int, limits: dict[str, int] | None = None, **cohort: object) -> Manifest:
    return plan_sampled(trial(**cohort), Size(n_cases=n, **(limits or {})), stock(), 42, "real")


def test_more_cases_keep_those_already_planned() -> None:
    few, many = (
        plan(5, {"max_donor_uses": 1}, prevalence={"value": 0.3}),
        plan(9, {"max_donor_uses": 1}, prevalence={"value": 0.3}),
    )
    assert many.cases[:5] == few.cases
    assert [n["donor_nodule_uid"] for n in many.nodules[:5]] == [n["donor_nodule_uid"] for n in few.nodules]


def test_the_manifest_keeps_its_rules() -> None:
    made = plan(10, {"max_donor_uses": 2, "max_host_uses": 2}, prevalence={"value": 0.3})
    cases, nodules = pl.DataFrame(made.cases), pl.DataFrame(made.nodules)
    own = stock().donors.select("nodule_uid", "label", "scan_uid")
    assert broken_rules(cases, nodules, own, pl.DataFrame(made.arms)) == []
    assert (nodules["label"] == 1).sum() == 3
    assert nodules["donor_nodule_uid"].value_counts()["count"].max() <= 2
    assert cases["host_scan_uid"].value_counts()["count"].max() <= 2
    spoilt = nodules.with_columns(label=1 - pl.col("label"))
    assert "label" in str(broken_rules(cases, spoilt, own, pl.DataFrame(made.arms)))
    same = cases.with_columns(host_person_uid=nodules["donor_person_uid"])
    assert "same person" in str(broken_rules(same, nodules, own, pl.DataFrame(made.arms)))


def test_five_cases_at_five_per_cent_hold_no_cancer_and_say_so() -> None:
    made = plan(5, prevalence={"value": 0.05})
    assert made.arms[0]["got_malignant"] == 0
    assert "no malignant finding" in made.arms[0]["note"]


def test_an_impossible_trial_names_what_binds() -> None:
    with pytest.raises(TrialError, match=r"case 11 of 20.*used < 1 times: 0|case 16 of 20.*") as error:
        plan(20, {"max_donor_uses": 1}, label=1)
    assert "Hosts: 30 in the pool" in str(error.value)


def test_scaling_is_a_recorded_relaxation() -> None:
    base = stock()
    small = Stock(base.donors.filter(pl.col("diameter_mm") < 9), base.hosts, base.room)
    wanted = trial().model_copy(update={"arms": [trial().arms[0].model_copy(update={"size_bucket": "10-15mm"})]})
    made = plan_sampled(wanted, Size(n_cases=2), small, 42, "real")
    assert all(
        n["size_bucket"] == "10-15mm" and "scaled" in n["relaxations"] and n["scale"] <= 1.5 for n in made.nodules
    )


def test_twins_are_native_and_prefix_stable() -> None:
    twin = Trial.model_validate({"mode": "x_t", "trial": "t", "question": "?", "planner": "twin", "arms_by": "dataset",
                                 "cohort": {"placement": "native"}, "sizes": {"demo": {"max_patients": 3}}})  # fmt: skip
    few = plan_isolation(twin, Size(max_patients=3), stock(), 42, "real")
    more = plan_isolation(twin, Size(max_patients=5), stock(), 42, "real")
    assert {c["host_scan_uid"] for c in few.cases} <= {c["host_scan_uid"] for c in more.cases}
    assert all(n["donor_nodule_uid"] + "s" == c["host_scan_uid"] for n, c in zip(few.nodules, few.cases, strict=True))
    with pytest.raises(TrialError, match="dataset B"):
        plan_isolation(twin, Size(datasets=["B"]), stock(), 42, "real")


def test_shipped_trials_are_valid_and_wrong_ones_name_the_key(tmp_path: Path) -> None:
    settings = load_settings(trials_dir=tmp_path)
    assert [load_trial(settings, m).mode for m in trial_files(settings)] == list(trial_files(settings))
    good = Path("itrialspace_assets/trials/modes/m02_size_detection_curve.yaml").read_text()
    own = tmp_path / "x_mine.yaml"
    own.write_text(
        good.replace("m02_size_detection_curve", "x_mine").replace("trial: size_detection_curve", "trial: mine")
    )
    assert load_trial(settings, "x_mine").trial == "mine"
    for old, new, message in (("label: 1", "label: 3", "cohort.label"), ("planner: sampled", "planer: sampled", "planer"),
                              ('size_bucket: "<5mm"', 'size_bucket: "<6mm"', r"arms\.0\.size_bucket")):  # fmt: skip
        own.write_text(good.replace("m02_size_detection_curve", "x_mine").replace(old, new))
        with pytest.raises(ConfigError, match=message):
            read_trial(own)
    with pytest.raises(ConfigError, match="no trial file in this version"):
        load_trial(settings, "m03_location_sensitivity")
    with pytest.raises(ConfigError, match="is not a mode"):
        load_trial(settings, "m14")


@pytest.mark.parametrize(("prevalence", "n"), [(0.29, 20), (0.57, 20), (0.41, 15)])
def test_shares_that_floats_cannot_hold_still_meet_their_count(prevalence: float, n: int) -> None:
    made = plan(n, prevalence={"value": prevalence})
    assert made.arms[0]["asked_malignant"] == made.arms[0]["got_malignant"]
    assert abs(made.arms[0]["got_malignant"] - n * prevalence) <= 0.5
