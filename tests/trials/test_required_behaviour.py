"""The 26 rows of docs/facts/required-behaviour.md: what the published system does wrong, and what ours must do.

Each test is named after its row. Planned on a root of the published size with the published defects.
"""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.base.errors import ConfigError, TableError, TrialError
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.insertion.manifests import read_manifest
from itrialspace_assets.profiles.load import load_profiles
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.records.layout import MODES
from itrialspace_assets.records.store import read_table
from itrialspace_assets.trials import build
from itrialspace_assets.trials.files import load_trial
from itrialspace_assets.trials.published import manifest_files, manifest_frame, plan_files
from itrialspace_assets.trials.resolve import resolve
from itrialspace_assets.trials.verify import broken_rules, far_from_asked

from .conftest import Paper, small_plan, small_trial


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_at_paper_size_keeps_every_rule_and_meets_its_quotas(paper: Paper, mode: str) -> None:
    resolved, made = paper.plan(mode)
    assert broken_rules(resolved, made.arms, made.cases, made.nodules, paper.index) == []
    assert far_from_asked(made.balance) == []
    assert made.cases["case_uid"].is_unique().all()
    expected = {  # docs/facts/trials.md#sizes: cases at paper size
        "m01": 1000,
        "m02": 600,
        "m03": 500,
        "m04": 800,
        "m05": 2500,
        "m06": 1500,
        "m07": 4000,
        "m08": 500,
        "m09": 1500,
        "m10": 500,
        "m11": 13140,
        "m13": 9498,
    }
    if mode[:3] in expected:
        assert made.cases.height == expected[mode[:3]]
    if mode[:3] in ("m11", "m12", "m13"):
        assert made.cases["host_dataset"].n_unique() == 7
    if mode[:3] == "m12":
        assert made.nodules.height == 13140


def test_row_01_the_label_is_the_donors_and_a_small_pool_is_an_error(paper: Paper) -> None:
    _, made = paper.plan("m01_controlled_prevalence")
    own = paper.index.select(pl.col("nodule_uid").alias("donor_nodule_uid"), pl.col("label").alias("own"))
    assert (made.nodules.join(own, on="donor_nodule_uid").select(pl.col("label") == pl.col("own")).to_series()).all()
    with pytest.raises(TrialError, match="label 1 0"):
        paper.plan("m02_size_detection_curve", "paper", "cohort.donors.datasets=[LUNA16]")


def test_row_02_prevalence_is_an_exact_quota(paper: Paper) -> None:
    for value, n in ((0.05, 1000), (0.013, 700), (0.5, 601)):
        _, made = paper.plan(
            "m01_controlled_prevalence", "paper", f"cohort.prevalence.value={value}", f"cohort.n_cases={n}"
        )
        assert abs((made.nodules["label"] == 1).sum() - n * value) <= 0.5


def test_row_03_strata_really_filter_hosts(paper: Paper) -> None:
    _, made = paper.plan("m04_demographic_stratification")
    for arm, sex, low, high in (
        ("men_55_65", "M", 55, 65),
        ("men_65_75", "M", 65, 75),
        ("women_55_65", "F", 55, 65),
        ("women_65_75", "F", 65, 75),
    ):
        own = made.cases.filter(pl.col("arm") == arm)
        assert set(own["host_sex"]) == {sex}
        assert own["host_age"].is_between(low, high, closed="left").all()
    with pytest.raises(TrialError, match="hosts of LNDbv4 never state age, so they cannot fill it"):
        paper.plan("m04_demographic_stratification", "paper", "cohort.hosts.datasets=[LNDbv4]")


def test_row_04_clean_cases_are_planned_with_a_place_and_no_nodule(paper: Paper) -> None:
    resolved, made = paper.plan(
        "m01_controlled_prevalence",
        "paper",
        "cohort.prevalence={value: 0.25, of: nodule, unit: scan}",
        "cohort.n_cases=400",
    )
    assert (made.cases["n_nodules"] == 0).sum() == 300 == made.arms["clean_cases"][0]
    clean = made.nodules.filter(~pl.col("present"))
    assert clean["label"].null_count() == clean.height == 300
    frame = manifest_frame(paper.settings, resolved, made, paper.index)
    bare = frame.filter(pl.col("n_nodules_in_case") == 0)
    assert bare["donor_annotation_id"].null_count() == bare.height == 300
    assert bare["insertion_lobe"].null_count() == 0, "guidance stands where a nodule of the same law would"


def test_row_05_a_bootstrap_resamples_people_of_one_cohort_and_redraws_are_apart(paper: Paper) -> None:
    _, made = paper.plan("m07_bootstrap_confidence")
    assert made.arms.height == 20
    assert made.arms["published"].n_unique() == 20
    base = made.cases.filter(pl.col("arm") == "boot000")
    weights = made.weights
    assert weights["replicate"].n_unique() == 20
    assert set(weights["case_uid"]) == set(base["case_uid"])
    assert weights.group_by("replicate").agg(pl.col("weight").mean())["weight"].to_numpy() == pytest.approx(np.ones(20))
    joined = weights.join(base.select("case_uid", "host_person_uid"), on="case_uid")
    assert joined.group_by("replicate", "host_person_uid").agg(pl.col("weight").n_unique())["weight"].max() == 1, (
        "people are drawn whole"
    )
    assert (weights["weight"] == 0).any()


def test_row_06_the_counterfactual_changes_one_factor(paper: Paper) -> None:
    _, made = paper.plan("m05_counterfactual")
    table = made.nodules.join(made.cases.select("case_uid", "arm", "number", "host_scan_uid"), on="case_uid")
    fixed = table.group_by("number").agg(
        pl.col("host_scan_uid", "lobe", "cc_pct", "ml_pct", "ap_pct", "size_bucket").n_unique(),
    )
    assert (fixed.drop("number").to_numpy() == 1).all()
    sizes = table.group_by("number").agg(
        spread=pl.col("planned_diameter_mm").max() - pl.col("planned_diameter_mm").min()
    )
    assert sizes["spread"].max() < 1e-9  # type: ignore[operator]
    arms = {a: t.sort("number")["label"].to_numpy() for (a,), t in table.group_by(["arm"])}
    assert {a: int(v.sum()) for a, v in arms.items()} == {"v0_01": 5, "v0_02": 10, "v0_05": 25, "v0_1": 50, "v0_2": 100}


def test_row_07_no_donor_is_its_own_host(paper: Paper) -> None:
    for mode in (
        "m01_controlled_prevalence",
        "m06_cross_dataset",
        "m10_multi_nodule_realism",
        "m13_digital_twin_cross",
    ):
        _, made = paper.plan(mode)
        joined = made.nodules.join(made.cases.select("case_uid", "host_person_uid", "host_scan_uid"), on="case_uid")
        assert (joined["donor_person_uid"] != joined["host_person_uid"]).all(), mode


def test_row_07_an_alias_is_the_same_person() -> None:
    from dataclasses import replace

    from .conftest import small_pool

    pool = small_pool()
    one = replace(
        pool,
        donors=pool.donors.with_columns(person_uid=pl.lit("X")),
        hosts=pool.hosts.with_columns(person_uid=pl.lit("X")),
        by_cohort={},
    )
    with pytest.raises(TrialError, match=r"no donor is left|no host is left"):
        small_plan(2, one)
    assert small_plan(2, one, same_person=True).cases.height == 2


def test_row_08_realised_sizes_are_in_the_wanted_bucket_within_the_scale_limits(paper: Paper) -> None:
    for mode in (
        "m01_controlled_prevalence",
        "m02_size_detection_curve",
        "m04_demographic_stratification",
        "m05_counterfactual",
    ):
        _, made = paper.plan(mode)
        assert made.nodules["scale"].is_between(1 / 1.5 - 1e-9, 1.5 + 1e-9).all()
        asked = made.balance.filter((pl.col("marginal") == "size") & pl.col("asked").is_not_null())
        assert (asked["got"] - asked["asked"]).abs().max() <= 1, mode


def test_row_09_one_half_open_bucket_function_and_an_alias_that_meets_it(paper: Paper) -> None:
    _, made = paper.plan("m01_controlled_prevalence", "paper", "cohort.site=NELSON", "cohort.n_cases=500")
    own = made.balance.filter((pl.col("marginal") == "size") & (pl.col("level") == ">20mm"))
    assert (own["got"].item(), own["asked"].item()) == (10, 10)
    big = made.nodules.filter(pl.col("planned_diameter_mm") >= 20)
    assert big.height == 10
    assert set(big["size_bucket"]) <= {"20-30mm", ">30mm"}


def test_row_10_published_positions_outside_the_lobe_are_not_planned(paper: Paper) -> None:
    published = paper.index.filter(
        (pl.col("dataset") == "DLCS24") & ~pl.col("reinsertion_lobe_ml_pct").is_between(0, 100)
    )
    assert published.height == round(0.93 * 2487)
    for mode in ("m01_controlled_prevalence", "m03_location_sensitivity", "m13_digital_twin_cross"):
        _, made = paper.plan(mode)
        assert (
            made.nodules.select(pl.all_horizontal(pl.col(f"{a}_pct").is_between(0, 100) for a in ("cc", "ml", "ap")))
            .to_series()
            .all()
        )
    used = set(made.nodules["donor_nodule_uid"]) & set(published["nodule_uid"])
    assert used, "their measured place is planned instead"


def test_row_11_height_counts_from_below(tmp_path: Path) -> None:
    from itrialspace_assets.profiles.lobes import lobes_of

    from ..conftest import small_chest

    lobe = lobes_of(small_chest().array)["right_lung_upper_lobe"]
    assert lobe.percent(lobe.position(0, 50, 50))[0] == pytest.approx(0)
    assert lobe.position(0, 50, 50)[2] < lobe.position(100, 50, 50)[2], "cc 0 is inferior"


@pytest.mark.parametrize(
    ("field", "value", "holds"),
    [
        ("donors.side", "left", lambda n, c: n["lobe"].str.starts_with("left").all()),
        ("donors.central_peripheral", "peripheral", lambda n, c: True),
        ("donors.zones", "[upper_zone]", lambda n, c: True),
        ("lobes", "{right_lung_middle_lobe: 1.0}", lambda n, c: set(n["lobe"]) == {"right_lung_middle_lobe"}),
        ("prevalence", "{by_size: site}", lambda n, c: True),
        ("hosts.smoking", "[former]", lambda n, c: set(c["host_smoking"]) == {"former"}),
    ],
)
def test_row_12_no_field_is_without_effect(paper: Paper, field: str, value: str, holds) -> None:  # type: ignore[no-untyped-def]
    extra = ("cohort.hosts.datasets=[DLCS24]",) if field.startswith("hosts") else ()
    _, plain = paper.plan("m01_controlled_prevalence", "paper", "cohort.n_cases=200", *extra)
    _, made = paper.plan("m01_controlled_prevalence", "paper", "cohort.n_cases=200", f"cohort.{field}={value}", *extra)
    assert holds(made.nodules, made.cases)
    planned = [[t.drop("why", strict=False) for t in (m.cases, m.nodules)] for m in (plain, made)]
    assert any(not a.equals(b) for a, b in zip(*planned, strict=True))
    kept = paper.index.select(
        pl.col("nodule_uid").alias("donor_nodule_uid"), "central_peripheral", "reinsertion_lung_zone"
    )
    joined = made.nodules.join(kept, on="donor_nodule_uid")
    if field == "donors.central_peripheral":
        assert set(joined["central_peripheral"]) == {"peripheral"}
    if field == "donors.zones":
        assert set(joined["reinsertion_lung_zone"]) == {"upper_zone"}


def test_row_12_malignancy_by_size_follows_the_site(paper: Paper) -> None:
    _, made = paper.plan(
        "m01_controlled_prevalence", "paper", "cohort.prevalence={by_size: site}", "cohort.n_cases=3000"
    )
    risks = {
        "<5mm": 0.01,
        "5-10mm": 0.024,
        "10-15mm": 0.094,
        "15-20mm": 0.178,
        "20-30mm": 0.222,
        ">30mm": 0.362,
    }  # docs/facts/trials.md#sites
    for bucket, risk in risks.items():
        own = made.nodules.filter(pl.col("size_bucket") == bucket)
        assert abs((own["label"] == 1).sum() - risk * own.height) <= 1


def test_row_12_targets_that_contradict_are_refused() -> None:
    with pytest.raises(ValueError, match=r"lobes or placement\.lobe"):
        small_trial(
            lobes={"left_lung_upper_lobe": 1.0}, placement={"mode": "prescribed", "lobe": "left_lung_upper_lobe"}
        )


def test_row_13_a_site_tag_means_its_sources(paper: Paper) -> None:
    for mode in MODES:
        trial = load_trial(paper.settings, mode)
        if trial.cohort.site:
            assert trial.cohort.donors.datasets != "all", mode
            assert trial.cohort.hosts.datasets != "all", mode


def test_row_14_the_plan_depends_on_the_pool_alone_and_records_it(paper: Paper) -> None:
    result = build.build(paper.settings, {"mode": "m01_controlled_prevalence"})
    row = read_table(paper.settings.output, "trials", mode="m01_controlled_prevalence").row(0, named=True)
    assert len(row["pool_sha256"]) == len(row["index_sha256"]) == 64
    first = (paper.settings.output / "manifests/mode1_controlled_prevalence/NLST_cohort.csv").read_bytes()
    assert result.files == build.build(paper.settings, {"mode": "m01_controlled_prevalence"}).files
    assert (paper.settings.output / "manifests/mode1_controlled_prevalence/NLST_cohort.csv").read_bytes() == first


def test_row_15_nothing_missing_is_skipped_silently(tmp_path: Path) -> None:
    entry = datasets(load_settings())["DLCS24"]
    with pytest.raises(TableError, match="found none"):
        load_profiles(tmp_path / "DLCS24_nodule_profiles.csv", entry, "real")
    with pytest.raises(TrialError, match="datasets B 0"):
        small_plan(3, donors={"datasets": ["B"]})


def test_row_16_companions_are_of_the_donors_own_scan(paper: Paper) -> None:
    _, made = paper.plan("m10_multi_nodule_realism")
    scan = paper.index.select(pl.col("nodule_uid").alias("donor_nodule_uid"), pl.col("scan_uid").alias("donor_scan"))
    rows = made.nodules.join(scan, on="donor_nodule_uid")
    assert (rows.group_by("case_uid").agg(pl.col("donor_scan").n_unique())["donor_scan"] == 1).all()
    multi = made.cases.filter(pl.col("arm") == "multi")
    assert (multi["n_nodules"] >= 2).all()
    whole = paper.index.group_by("scan_uid").len()
    first = (
        rows.filter(pl.col("nodule_idx") == 0)
        .join(whole, left_on="donor_scan", right_on="scan_uid")
        .join(multi.select("case_uid", "n_nodules"), on="case_uid")
    )
    assert (first["len"] == first["n_nodules"]).all(), "all of them come along"
    assert (made.cases.filter(pl.col("arm") == "single")["n_nodules"] == 1).all()


def test_row_17_crossings_check_their_donors_and_cut_by_patient(paper: Paper) -> None:
    trial = load_trial(paper.settings, "m13_digital_twin_cross")
    twin = trial.twin.model_copy(update={"pairing": "donor_patient_complete"})  # type: ignore[union-attr]
    from itrialspace_assets.trials.compose import compose
    from itrialspace_assets.trials.sites import sites

    resolved = resolve(
        trial.model_copy(update={"twin": twin}),
        "paper",
        ("cohort.hosts.datasets=[DLCS24]", "cohort.donors.datasets=[LUNA25]", "cohort.max_donor_nodules=100"),
        ["DLCS24", "LUNA25"],
    )
    made = compose(resolved, paper.pool, sites(paper.settings), 42, "procedural")
    assert made.nodules.height <= 100
    people = made.nodules.group_by("donor_person_uid").len()
    owned = (
        paper.index.filter(pl.col("person_uid").is_in(people["donor_person_uid"].to_list()))
        .group_by("person_uid")
        .len()
    )
    both = people.join(owned, left_on="donor_person_uid", right_on="person_uid")
    assert (both["len"] == both["len_right"]).all(), "no patient is split"
    assert (made.nodules.group_by("case_uid").agg(pl.col("donor_person_uid").n_unique())["donor_person_uid"] == 1).all()


def test_row_17_many_hosts_and_crossed_blocks(paper: Paper) -> None:
    from itrialspace_assets.trials.compose import compose
    from itrialspace_assets.trials.sites import sites

    trial = load_trial(paper.settings, "m13_digital_twin_cross")

    def planned(**change: object):  # type: ignore[no-untyped-def]
        twin = trial.twin.model_validate(trial.twin.model_dump() | change)  # type: ignore[union-attr]
        few = (
            "cohort.hosts.datasets=[DLCS24]",
            "cohort.donors.datasets=[IMDCT]",
            "cohort.max_donor_nodules=4",
            "cohort.max_hosts=5",
        )
        resolved = resolve(trial.model_copy(update={"twin": twin}), "paper", few, ["DLCS24", "IMDCT"])
        return compose(resolved, paper.pool, sites(paper.settings), 42, "procedural")

    many = planned(pairing="one_to_many_hosts", n_hosts_per_donor=3)
    table = many.nodules.join(many.cases.select("case_uid", "host_scan_uid"), on="case_uid")
    assert (table.group_by("donor_nodule_uid").agg(pl.col("host_scan_uid").n_unique())["host_scan_uid"] == 3).all()
    block = planned(pairing="crossed", render_seeds=2)
    table = block.nodules.join(block.cases.select("case_uid", "host_scan_uid", "render_replicate"), on="case_uid")
    assert table.height == 5 * 4 * 2
    assert table.unique(["donor_nodule_uid", "host_scan_uid", "render_replicate"]).height == table.height
    constrained = planned(placement="host_constrained_transfer")
    assert set(constrained.nodules["insertion_mode"]) == {"prescribed"}
    with pytest.raises(ValueError, match="render_seeds of 2 or more"):
        planned(pairing="crossed", render_seeds=1)


def test_row_18_twins_honour_exclusions_and_caps(paper: Paper) -> None:
    with pytest.raises(TrialError, match="dataset DLCS24: expected nodules whose scan is a host, found none"):
        paper.plan("m11_digital_twin_isolation", "demo", "cohort.exclude_training=[DLCS24]")
    _, made = paper.plan(
        "m11_digital_twin_isolation", "paper", "cohort.datasets=[LNDbv4]", "cohort.max_nodules_per_scan=1"
    )
    assert (made.cases.group_by("host_scan_uid").len()["len"] == 1).all()
    _, whole = paper.plan("m11_digital_twin_isolation", "paper", "cohort.datasets=[LNDbv4]")
    assert whole.cases.height == 768, "uncapped by default"


def test_row_19_people_persist_over_rounds_and_leave_with_a_cancer(paper: Paper) -> None:
    _, made = paper.plan("m09_screening_simulation")
    by_round = {
        a: t.sort("number")
        for (a,), t in made.cases.join(
            made.nodules.filter(pl.col("nodule_idx") == 0).select("case_uid", "label"), on="case_uid"
        ).group_by(["arm"])
    }
    first, second, third = (by_round[f"round{i}"] for i in (1, 2, 3))
    counts = [int((r["label"] == 1).sum()) for r in (first, second, third)]
    assert counts == [20, 14, 10]  # 500 people at 0.04, 0.028, 0.0196
    stayed = first["label"].to_numpy() != 1
    assert (first["host_person_uid"].to_numpy()[stayed] == second["host_person_uid"].to_numpy()[stayed]).all()
    left = first["host_person_uid"].to_numpy()[~stayed]
    assert not set(left) & set(second["host_person_uid"]) and not set(left) & set(third["host_person_uid"])
    for r in (first, second, third):
        assert r["host_person_uid"].is_unique().all(), "a person comes once a round"


def test_row_20_filters_and_exclusions_hold_for_whatever_is_matched(paper: Paper) -> None:
    from itrialspace_assets.index.query import Index, WantedDonor

    index = Index(paper.index.sort("nodule_uid"))
    found = index.donors_for(WantedDonor("RUL", 50, 10, 12, 1), 50, ["dataset!=LUNA25", "nodule_mean_diam_mm=8..20"])
    assert "LUNA25" not in found["dataset"]
    assert found["nodule_mean_diam_mm"].is_between(8, 20).all()
    _, made = paper.plan("m01_controlled_prevalence", "paper", "cohort.exclude_training=[LUNA25]")
    assert "LUNA25" not in {*made.cases["host_dataset"], *made.nodules["donor_dataset"]}


def test_row_21_every_filter_is_a_field_and_an_option(paper: Paper) -> None:
    _, made = paper.plan(
        "m06_cross_dataset",
        "demo",
        "cohort.donors.label_source=histopathology",
        "cohort.datasets=[DLCS24, IMDCT]",
        "cohort.donors.population=diagnostic",
        "cohort.datasets=[IMDCT]",
    )
    assert set(made.nodules["donor_dataset"]) == {"IMDCT"}


def test_row_22_cases_are_counted_as_cases(paper: Paper) -> None:
    _, made = paper.plan("m10_multi_nodule_realism")
    arms = {r["arm"]: r for r in made.arms.iter_rows(named=True)}
    assert (arms["single"]["asked_cases"], arms["multi"]["asked_cases"]) == (375, 125)
    assert arms["multi"]["got_cases"] == 125
    assert made.nodules.height > 500
    _, small = paper.plan("m10_multi_nodule_realism", "demo", "cohort.n_cases=3")
    assert small.cases.height == 3, "an arm of no cases is an empty one, not an error"


def test_row_23_names_are_safe_nulls_are_null_and_paths_relative(paper: Paper) -> None:
    for mode in (
        "m02_size_detection_curve",
        "m05_counterfactual",
        "m09_screening_simulation",
        "m11_digital_twin_isolation",
    ):
        result = build.build(paper.settings, {"mode": mode})
        for name in result.files:
            assert not set("<>=%: ") & set(name), name
            if name.endswith(".json"):
                text = (paper.settings.output / name).read_text()
                assert "NaN" not in text
                json.loads(text)
            if name.endswith(".csv"):
                assert str(paper.settings.data) not in (paper.settings.output / name).read_text()


def test_row_24_ids_are_text(paper: Paper, tmp_path: Path) -> None:
    from itrialspace_assets.demo.paper import make_profiles

    entry = datasets(load_settings())["DLCS24"]
    frame = (
        make_profiles("DLCS24", entry)
        .head(5)
        .with_columns(pl.Series("AnnotationID", ["007", "8.0", "12", "0x1", "1e3"]))
    )
    path = tmp_path / "DLCS24_nodule_profiles.csv"
    frame.write_csv(path)
    assert load_profiles(path, entry, "real").profiles["annotation_id"].to_list() == ["007", "8.0", "12", "0x1", "1e3"]
    luna = paper.index.filter(pl.col("dataset") == "LUNA16")
    assert luna["person_uid"].str.starts_with("LIDC-IDRI/").all()
    assert paper.index.filter(pl.col("dataset") == "IMDCT")["annotation_id"].str.contains("IMDCT_0").all(), (
        "keyed by CT, not by row"
    )


def test_row_25_unlabelled_is_no_radiology_and_codes_are_harmonised(paper: Paper) -> None:
    assert set(paper.index.filter(pl.col("dataset") == "LUNA16")["label_source"]) == {"none"}
    assert set(paper.index["sex"].drop_nulls()) == {"M", "F"}
    assert set(paper.index["smoking"].drop_nulls()) <= {"current", "former", "never"}


def test_row_26_a_manifest_says_what_it_was_planned_from(paper: Paper) -> None:
    build.build(paper.settings, {"mode": "m08_algorithm_comparison"})
    out, mode = paper.settings.output, "mode8_algorithm_comparison"
    about = json.loads((out / "trials" / mode / "trial.json").read_text())
    assert {p.name for p in plan_files(paper.settings, "m08_algorithm_comparison")} == {
        "trial.json",
        "arms.csv",
        "balance.csv",
        "balance.png",
    }
    tables = [p for p in (out / "manifests" / mode).rglob("*") if p.is_file()]
    assert sorted(tables) == manifest_files(paper.settings, "m08_algorithm_comparison")
    assert {p.suffix for p in tables} == {".csv", ".json"}
    for table in (p for p in tables if p.suffix == ".csv"):
        assert read_manifest(table), "nothing but manifests"
    assert {"version", "seed", "index_sha256", "pool_sha256", "file_sha256", "resolved", "size"} <= about.keys()
    assert about["resolved"]["trial"]["cohort"]["site"] == "NLST"


def test_a_site_tells_which_marginals_it_is_calibrated_to(paper: Paper) -> None:
    _, made = paper.plan(
        "m01_controlled_prevalence",
        "paper",
        "cohort.calibrate=[size, lobe, sex, age]",
        "cohort.hosts.datasets=[DLCS24, LUNA25]",
        "cohort.n_cases=600",
    )
    told = json.loads(made.arms["marginals"][0])
    assert {k for k, v in told.items() if v == "calibrated"} == {"label", "size", "lobe", "sex", "age"}
    sex = made.balance.filter((pl.col("marginal") == "sex") & (pl.col("level") == "M"))
    assert abs(sex["got"].item() - 0.59 * 600) <= 0.5
    lobes = made.balance.filter((pl.col("marginal") == "lobe") & pl.col("asked").is_not_null())
    assert (lobes["got"] - lobes["asked"]).abs().max() <= 1
    _, plain = paper.plan("m01_controlled_prevalence")
    told = json.loads(plain.arms["marginals"][0])
    assert told["age"] == "unavailable", "LUNA16 and LNDbv4 never state it"
    assert told["size"] == "calibrated"
    small = plain.nodules.filter(pl.col("size_bucket") == "<5mm")
    assert (small.filter(pl.col("relaxations") != "")["planned_diameter_mm"] >= 4).all(), (
        "NLST recorded none below 4 mm"
    )


def test_arms_that_are_to_be_independent_share_no_person() -> None:
    arms = [{"name": x, "published": x, "varies": "x", "level": x} for x in ("a", "b")]
    made = small_plan(4, trial=small_trial(arms=arms, trial={"independent_arms": True}))
    people = made.nodules.join(made.cases.select("case_uid", "arm", "host_person_uid"), on="case_uid")
    a, b = (set(t["donor_person_uid"]) | set(t["host_person_uid"]) for _, t in people.group_by("arm"))
    assert not a & b


def test_prevalence_by_reweighting_needs_no_new_images(paper: Paper) -> None:
    _, made = paper.plan("x_prevalence_reweighted")
    labels = made.weights.join(made.nodules.select("case_uid", "label"), on="case_uid")
    got = (
        labels.group_by("weighting")
        .agg(share=(pl.col("weight") * pl.col("label")).sum() / pl.col("weight").sum())
        .sort("weighting")
    )
    assert got["share"].to_numpy() == pytest.approx([0.01, 0.02, 0.05, 0.1, 0.2], abs=1e-6)


def test_the_shortcut_trial_balances_what_the_other_leaves_natural(paper: Paper) -> None:
    _, made = paper.plan("x_lobe_size_shortcut")
    balanced = made.balance.filter((pl.col("arm") == "balanced") & (pl.col("marginal") == "lobe"))
    assert balanced["got"].to_list() == [80] * 5
    with pytest.raises(ConfigError, match=r"cohort\.sizes|sizes"):
        paper.resolve("x_lobe_size_shortcut", "paper", "cohort.sizes={a: 1}")
