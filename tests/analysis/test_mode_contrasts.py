"""Contrasts of modes on made-up answers: a planted effect is found with its sign and covered, a null is not claimed."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.analysis.estimates import comparisons
from itrialspace_assets.analysis.estimates.variance import combinations, covariance, differences
from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.reports.findings import ContrastFinding, findings
from itrialspace_assets.analysis.scoring.cell_tests import Compared, shares_of
from itrialspace_assets.analysis.scoring.mode_contrasts import compare_modes
from itrialspace_assets.analysis.scoring.rows import Analysis
from itrialspace_assets.analysis.scoring.scored import coded, scored_of
from itrialspace_assets.analysis.scoring.strata import factor_of, factors_of, with_datasets
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.imaging.anatomy import LOBES, SIZE_BUCKETS
from itrialspace_assets.trials.files import load_trial, trial_files
from itrialspace_assets.trials.model import Contrast
from tests.analysis.oracles import two_way
from tests.analysis.planted import answered, cases

STUDY = load_study(load_settings()).model_copy(update={"clusters": ["host_person_uid", "donor_person_uid"]})
STEP = dict(zip(SIZE_BUCKETS, range(6), strict=True))
ARMS = ("a", "b", "c")


def arms(names: tuple[str, ...] = ARMS, levels: tuple[str, ...] | None = None) -> pl.DataFrame:
    return pl.DataFrame({"arm": names, "number": range(len(names)), "level": levels or names})


def of(
    contrast: Contrast, seen: pl.DataFrame, declared: pl.DataFrame | None = None, **more: Any
) -> tuple[Compared, list[ContrastFinding]]:
    """A contrast's tests and sentences."""
    factor = factor_of(contrast, arms() if declared is None else declared)
    found = compare_modes(contrast, factor, seen, STUDY, 7, **more)
    assert found is not None
    return found, findings(contrast, found, STUDY)


def rows_of(found: Compared, shape: str, **where: str) -> list[dict[str, Any]]:
    return found.tests.filter(shape=shape, condition="plain", **where).to_dicts()


def by_size(slope: float) -> Any:
    """Sensitivity of a half at the third bucket, with a slope a bucket."""
    return lambda f: 0.5 + slope * (f["size_bucket"].replace_strict(STEP, return_dtype=pl.Float64).to_numpy() - 2)


def by_column(column: str, **chance: float) -> Any:
    """Sensitivity of 0.7 but for some levels of a column."""
    return lambda f: f[column].replace_strict(chance, default=0.7, return_dtype=pl.Float64).to_numpy()


def test_a_trend_over_size_is_found_with_sign_and_covered() -> None:
    seen = answered(cases(900, 1), 2, by_size(0.08), conditions={"plain": 0.0, "bbox": 0.1})
    found, (said,) = of("size_bucket", seen)
    (trend,) = rows_of(found, "trend")
    assert trend["low"] < 0.08 < trend["high"]
    assert trend["resolves"] == pytest.approx((trend["high"] - trend["low"]) / 2)
    assert trend["stratum"] == "size_bucket"
    assert said.found
    assert said.text.startswith("Sensitivity rises with size: 0.3")
    assert " at <5 mm to 0.7" in said.text
    # the slope is that of an ordinary least-squares line through the six shares
    shares = found.levels.filter(condition="plain").sort(pl.col("level").replace_strict(STEP, return_dtype=pl.Int64))
    assert trend["estimate"] == pytest.approx(np.polyfit(range(6), shares["estimate"].to_numpy(), 1)[0])
    assert shares["at_mm"].to_list() == [4.0, 7.5, 12.5, 17.5, 25.0, 35.0]
    _, (none,) = of("size_bucket", answered(cases(900, 3), 4))
    assert not none.found
    assert none.text.startswith("No trend of sensitivity with size was found")
    assert "The least trend whose interval would leave out zero is 0.0" in none.text


@pytest.mark.parametrize(
    ("contrast", "column", "low", "declared", "name"),
    [
        ("lobe", "lobe", "right_lung_middle_lobe", arms(), "right middle lobe less the others −0."),
        ("donor_dataset", "donor_dataset", "B", arms(levels=("C", "B", "A")), "B less the others −0."),
        ("stratum", "arm", "b", arms(levels=("men", "women", "x")), "women less the others −0."),
        ("companions", "arm", "b", arms(("a", "b"), ("none", "all")), "all less none −0."),
    ],
)
def test_a_level_that_is_worse_is_named_with_its_sign(
    contrast: Contrast, column: str, low: str, declared: pl.DataFrame, name: str
) -> None:
    base = cases(500, 5, tuple(declared["arm"]))
    found, (said,) = of(contrast, answered(base, 6, by_column(column, **{low: 0.45})), declared)
    rows = [r for r in rows_of(found, "against_others") + rows_of(found, "difference") if r["stratum"].endswith(low)]
    (row,) = [r for r in rows if r["metric"] == "sensitivity"]
    assert row["low"] < -0.25 < row["high"] < 0
    assert row["p_corrected"] >= row["p"]
    assert said.found
    assert name in said.text
    assert found.factor.levels[0] == (LOBES[0] if contrast == "lobe" else "C" if contrast == "donor_dataset" else "a")
    _, (none,) = of(contrast, answered(base, 8), declared)
    assert not none.found
    assert none.text.startswith("No difference of sensitivity between")


def test_readers_are_compared_two_by_two() -> None:
    base = cases(500, 9)
    found, (said,) = of("reader", answered(base, 10, readers={"x": 0.0, "y": 0.15, "z": 0.15}))
    rows = {r["what"]: r for r in rows_of(found, "difference")}
    assert set(rows) == {"x less y", "x less z", "y less z"}
    assert rows["x less y"]["high"] < 0
    assert rows["x less y"]["metric"] == "auc_to_y"
    assert said.found
    assert "x less y −0." in said.text
    _, (one,) = of("reader", answered(base, 10))
    assert one.found is None
    assert "one reader only" in one.text


def test_rounds_have_a_trend_of_sensitivity_and_of_specificity() -> None:
    seen = answered(cases(500, 11, ARMS), 12, by_column("arm", a=0.8, b=0.7, c=0.6), 0.1)
    found, (said,) = of("round", seen, arms(levels=("1", "2", "3")))
    sensitivity, specificity = rows_of(found, "trend")
    assert sensitivity["low"] < -0.1 < sensitivity["high"] < 0
    assert specificity["low"] < 0 < specificity["high"]
    assert "Sensitivity falls with round: 0." in said.text
    assert "No trend of specificity with round was found" in said.text


def test_a_lesion_is_compared_with_the_same_plane_without_it() -> None:
    found, (said,) = of("counterfactual", answered(cases(300, 13, ARMS), 14, 0.8, 0.3))
    (effect,) = rows_of(found, "paired")
    assert effect["low"] < 0.5 < effect["high"]
    assert effect["n_slices"] == 900
    (arm,) = rows_of(found, "trend")
    assert arm["low"] < 0 < arm["high"]
    assert said.text.startswith("The lesion raises the share answered present (+0.")
    _, (none,) = of("counterfactual", answered(cases(300, 15, ARMS), 16, 0.4, 0.4))
    assert not none.found
    _, (blind,) = of("counterfactual", answered(cases(300, 15, ARMS), 16, 1.0, 1.0))
    assert blind.found is None
    assert "every pair was answered alike" in blind.text
    decoys = answered(cases(300, 15), 16).with_columns(guidance_site=pl.lit("never"))
    assert of("counterfactual", decoys)[0].tests["flag"].to_list() == ["no pairs"]


def test_a_twin_is_compared_with_the_real_finding_of_the_same_nodule() -> None:
    base = cases(600, 17)
    twins = answered(base, 18, 0.8)
    real = answered(base, 19, 0.6).with_columns(case_uid="real/" + pl.col("donor_nodule_uid"), source=pl.lit("real"))
    found, (said,) = of("isolation", twins, real=real)
    (row,) = rows_of(found, "paired")
    assert row["low"] < 0.2 < row["high"]
    assert row["n_slices"] == 600, "negatives have no real finding"
    assert said.text.startswith("Twins are answered rightly more often than the real findings (+0.")
    half = of("isolation", twins, real=real.filter(pl.col("case_uid").str.ends_with("0")))[0]
    assert rows_of(half, "paired")[0]["n_slices"] == 60, "only findings with both"
    none, (unknown,) = of("complete", twins)
    assert none.tests["flag"].to_list() == ["no real slice of the same findings was read"]
    assert unknown.found is None


def test_replicates_spread_as_sampling_says_or_more() -> None:
    names = tuple(f"b{i}" for i in range(20))
    declared = arms(names)
    found, (said,) = of("replicate", answered(cases(100, 20, names, 400, 400), 21), declared)
    row = rows_of(found, "spread_ratio", metric="sensitivity")[0]
    assert row["low"] < 1 < row["high"]
    assert row["expected_sd"] == pytest.approx(np.sqrt(0.7 * 0.3 / 100), rel=0.15)
    assert not said.found
    worse = {name: 0.7 + 0.1 * (-1) ** i for i, name in enumerate(names)}
    found, (said,) = of("replicate", answered(cases(100, 22, names, 400, 400), 23, by_column("arm", **worse)), declared)
    row = rows_of(found, "spread_ratio", metric="sensitivity")[0]
    assert row["low"] > 1
    assert row["observed_sd"] == pytest.approx(0.1, abs=0.03)
    assert "Sensitivity varies more between replicates than sampling alone explains" in said.text


def test_the_shortcut_test_tells_interaction_from_two_main_effects() -> None:
    declared, base = arms(("natural", "balanced")), cases(1500, 24, ("natural", "balanced"), 80, 80)
    first = (base["lobe"] == LOBES[0]).to_numpy()
    step = base["size_bucket"].replace_strict(STEP, return_dtype=pl.Float64).to_numpy() - 2.5
    add = 0.5 + 0.06 * step - 0.15 * first
    found, (said,) = of("lobe_size", answered(base, 25, lambda _: add), declared)
    (trend,) = rows_of(found, "trend")
    assert trend["low"] < 0.06 < trend["high"]
    lobe = next(r for r in rows_of(found, "against_others") if r["stratum"] == f"lobe={LOBES[0]}")
    assert lobe["low"] < -0.15 < lobe["high"]
    assert not said.found, said.text
    cross = 0.5 + np.where(first, 0.14, -0.02) * step
    found, (said,) = of("lobe_size", answered(base, 26, lambda _: cross), declared)
    row = next(r for r in rows_of(found, "interaction") if r["stratum"] == f"lobe={LOBES[0]}")
    assert row["low"] < 0.16 < row["high"]
    assert said.found
    assert "slope over size in left upper lobe less in the other lobes +0.1" in said.text


def test_a_balanced_arm_is_weighted_to_the_natural_lobes_and_sizes() -> None:
    declared, base = arms(("natural", "balanced")), cases(1500, 27, ("natural", "balanced"), 80, 80)
    small = pl.col("size_bucket").is_in(list(SIZE_BUCKETS[:2])) & (pl.col("lobe") == LOBES[0])
    rare = (pl.col("arm") == "balanced") | small
    few = base.filter(rare | (pl.int_range(pl.len()) % 10 == 0))  # natural: small nodules of one lobe are common
    found, (said,) = of("lobe_size", answered(few, 28, by_size(0.08)), declared)
    (row,) = rows_of(found, "reweighted")
    assert row["low"] < 0 < row["high"]
    assert "Sensitivity is what lobes and sizes explain" in said.text
    leaning = by_size(0.08)
    more = answered(few, 31, lambda f: leaning(f) + 0.2 * (f["arm"] == "natural").to_numpy())
    row = rows_of(of("lobe_size", more, declared)[0], "reweighted")[0]
    assert 0 < row["low"] < 0.2 < row["high"]
    gone = few.filter((pl.col("arm") == "natural") | (pl.col("size_bucket") != "<5mm"))
    (row,) = rows_of(of("lobe_size", answered(gone, 30), declared)[0], "reweighted")
    assert "lie in lobes and sizes that balanced lacks" in row["flag"]


def test_what_cannot_be_tested_is_null_with_its_reason() -> None:
    few = of("size_bucket", answered(cases(30, 31), 32))
    assert "no level; without <5 mm: fewer than 10 clusters" in few[1][0].text
    assert few[1][0].found is None
    assert few[0].tests.filter(shape="trend").select("estimate", "low", "p").null_count().row(0) == (1, 1, 1)
    one = cases(300, 33, size_bucket=["<5mm"] * 300)
    assert "one level only" in of("size_bucket", answered(one, 34))[1][0].text
    rare = (pl.col("size_bucket") != ">30mm") | (pl.int_range(pl.len()) < 30)
    _, (some,) = of("size_bucket", answered(cases(300, 35).filter(rare), 36, by_size(0.08)))
    assert " at 20–30 mm (trend +0.0" in some.text
    assert "Note: without >30 mm: fewer than 10 clusters." in some.text
    sure = of("lobe", answered(cases(500, 37), 38, 1.0))
    assert not sure[1][0].found
    assert "No difference of sensitivity between lobes was found" in sure[1][0].text
    assert rows_of(sure[0], "against_others")[0]["resolves"] > 0, "all right is no proof of no difference"
    unread = answered(cases(100, 39), 40).with_columns(status=pl.lit("unsupported"), answer=pl.lit(None, pl.String))
    assert "the reader does not answer this task" in of("lobe", unread)[1][0].text
    assert of("size_bucket", unread.clear())[1] == []


def test_sums_of_cells_have_the_two_way_variance_of_an_oracle() -> None:
    rows = coded(answered(cases(240, 41, ("a", "b", "c"), 15, 12), 42).filter(presence="present"), STUDY)
    scored = scored_of(rows.with_columns(level=pl.col("arm")), ("source", "reader", "condition", "level"))
    (metric,) = shares_of(scored, ("sensitivity",))
    weights = np.array([[1.0, -0.5, -0.5], [1.0, -1.0, 0.0]])
    found = combinations(metric.estimates, weights)
    right, arm = (rows["answer"] == "present").to_numpy(), rows["arm"].to_numpy()
    host, donor = (rows[c].to_numpy() for c in ("_host", "_donor"))

    def sum_of(mask: np.ndarray) -> float:
        return float(sum(w * right[mask & (arm == a)].mean() for w, a in zip(weights[0], "abc", strict=True)))

    assert found.value[0] == pytest.approx(sum_of(np.ones(len(arm), bool)))
    assert found.variance.value[0] == pytest.approx(two_way(sum_of, host, donor))
    pair = differences(metric.estimates, np.array([0]), np.array([1]))
    assert found.value[1] == pytest.approx(pair.value[0])
    assert found.variance.value[1] == pytest.approx(pair.variance.value[0])
    both = covariance(found, np.arange(2))
    assert np.linalg.eigvalsh(both).min() > -1e-12
    assert np.trace(both) == pytest.approx(found.variance.value.sum(), rel=0.2)


def test_metrics_have_a_row_for_every_test_and_keys_that_differ() -> None:
    seen = answered(cases(200, 43, ARMS), 44, conditions={"plain": 0.0, "bbox": 0.1}, readers={"x": 0.0, "y": 0.1})
    for contrast in ("size_bucket", "stratum", "counterfactual", "reader", "replicate", "lobe_size"):
        found, _ = of(contrast, seen)
        rows = found.rows(Analysis("m", "s", "procedural"))
        keys = [(r.source, r.reader, r.task, r.condition, r.stratum, r.metric) for r in rows]
        assert len(set(keys)) == len(keys) == found.tests.height, contrast
        assert all(r.estimate is not None or r.flag for r in rows), contrast


def test_every_shipped_trial_declares_a_contrast_with_a_factor() -> None:
    settings = load_settings()
    declared = {mode: load_trial(settings, mode).contrast for mode in trial_files(settings)}
    assert "none" not in declared.values()
    assert len(set(declared.values())) == 14, "x_prevalence_reweighted shares that of mode 1"
    factor = factor_of("stratum", arms(("z", "a"), ("old", "young")))
    assert (factor.levels, factor.shown) == (("z", "a"), ("old", "young")), "declared, not sorted"
    assert factor_of("arm", arms(("z", "a"), ("x", "x"))).shown == ("z", "a")
    assert "arm" in factors_of("stratum")
    assert factors_of("isolation") == ["size_bucket", "lobe", "host_dataset", "donor_dataset"]
    seen = pl.DataFrame({"case_uid": ["a", "b"], "dataset": ["H", "I"]})
    nodules = {"case_uid": ["a", "a"], "nodule_idx": [1, 0], "donor_dataset": ["X", "Y"]}
    nodules |= {"donor_nodule_uid": ["X/1", "Y/1"]}
    told = with_datasets(seen, pl.DataFrame(nodules))
    assert told["donor_dataset"].to_list() == ["Y", None]
    assert told["host_dataset"].to_list() == ["H", "I"]


@pytest.mark.slow
@pytest.mark.parametrize("hosts", [25, 80])
def test_nulls_are_claimed_no_more_often_than_alpha(hosts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trend, levels at once, pairs: p below 0.05 in at most 5 % of simulated nulls, within simulation error.

    Persons differ, so that cases of a person are alike.
    """
    monkeypatch.setattr(comparisons, "DRAWS", 2000)  # a p of 0.05 is then known to 0.005
    draws, claims = 125, {"trend": 0, "omnibus_p": 0, "paired": 0, "against_others": 0}
    for seed in range(draws):
        rng = np.random.default_rng([hosts, seed])
        base = cases(300, seed, hosts=hosts, donors=hosts)
        names = base["host_person_uid"].to_list()
        own = dict(zip(sorted(set(names)), rng.normal(0, 0.15, len(set(names))), strict=True))
        chance = np.clip(0.6 + np.array([own[n] for n in names]), 0, 1)
        seen = answered(base, seed + 1, lambda _, c=chance: c, lambda _, c=chance: c)
        size, lobe, pair = (of(c, seen)[0] for c in ("size_bucket", "lobe", "counterfactual"))
        for found, shape, column in (
            (size, "trend", "p_corrected"),
            (size, "omnibus_p", "p"),
            (lobe, "against_others", "p_corrected"),
            (pair, "paired", "p"),
        ):
            p = [r[column] for r in rows_of(found, shape)]
            claims[shape] += min(p) < 0.05
    allowed = 0.05 * draws + 2.6 * np.sqrt(draws * 0.05 * 0.95)  # 99.5 % of what 5 % gives by chance
    assert all(0 < c <= allowed for c in claims.values()), claims
