"""Predictive values over prevalence: Bayes' rule, a band with the variance of both rates, and measured arms."""

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.reports.findings import of_prevalence
from itrialspace_assets.analysis.scoring.predictive import PREVALENCES, predictive
from itrialspace_assets.analysis.scoring.rows import Analysis
from itrialspace_assets.base.settings import load_settings
from tests.analysis.planted import answered, cases

STUDY = load_study(load_settings()).model_copy(update={"clusters": ["host_person_uid", "donor_person_uid"]})


def at(table: pl.DataFrame, value: str, prevalence: float) -> dict[str, float]:
    return table.filter(value=value, prevalence=prevalence).row(0, named=True)


def test_the_curve_is_bayes_rule_and_meets_what_an_arm_measures() -> None:
    seen = answered(cases(400, 1), 2, 0.8, 0.2)
    found = predictive(seen, STUDY)
    shown = pl.col("presence") == "present"
    said = pl.col("answer") == "present"
    sensitivity = seen.filter(shown).select(said.mean()).item()
    specificity = seen.filter(~shown).select((~said).mean()).item()
    for prevalence in PREVALENCES:
        right = sensitivity * prevalence
        expected = right / (right + (1 - specificity) * (1 - prevalence))
        assert at(found.curve, "ppv", prevalence)["estimate"] == pytest.approx(expected, abs=1e-9)
        right = specificity * (1 - prevalence)
        expected = right / (right + (1 - sensitivity) * prevalence)
        assert at(found.curve, "npv", prevalence)["estimate"] == pytest.approx(expected, abs=1e-9)
    half, measured = at(found.curve, "ppv", 0.5), at(found.measured, "ppv", 0.5)
    assert half["estimate"] == pytest.approx(measured["estimate"])
    assert (half["low"], half["high"]) == pytest.approx((measured["low"], measured["high"]), abs=2e-3)
    rows = found.rows(Analysis("m", "s", "procedural"))
    assert {r.metric for r in rows} >= {"ppv_at_0.05", "npv_at_0.5"}
    assert len({(r.reader, r.condition, r.metric) for r in rows}) == len(rows) == 2 * len(PREVALENCES)
    (sentence,) = of_prevalence(found, STUDY, 0.04)
    assert sentence.text.startswith("At a prevalence of a nodule of 3 %, PPV is 0.1"), sentence.text


@pytest.mark.slow
def test_bands_cover_the_truth_of_a_low_prevalence() -> None:
    covered = []
    for seed in range(30):
        row = at(predictive(answered(cases(200, seed, hosts=40, donors=40), seed, 0.8, 0.1), STUDY).curve, "ppv", 0.05)
        covered.append(row["low"] <= 0.8 * 0.05 / (0.8 * 0.05 + 0.1 * 0.95) <= row["high"])
    assert np.mean(covered) >= 0.85, "95 % but for chance: 30 draws below 0.85 happen once in 250"


def test_rates_of_one_have_limits_and_missing_classes_have_reasons() -> None:
    none_wrong = predictive(answered(cases(300, 3), 4, 0.8, 0.0), STUDY).curve
    row = at(none_wrong, "ppv", 0.05)
    assert row["estimate"] == row["high"] == 1.0
    assert 0.2 < row["low"] < 1.0
    assert row["method"].startswith("limits of sensitivity and specificity")
    alone = predictive(answered(cases(300, 5), 6, twins=False), STUDY).curve
    assert set(alone["flag"]) == {"no negatives"}
    assert alone["estimate"].null_count() == alone.height
    silent = predictive(answered(cases(300, 7), 8, 0.0, 0.0), STUDY).curve
    assert at(silent, "ppv", 0.05)["flag"] == "never answered present"
    assert predictive(answered(cases(10, 9), 1).clear(), STUDY).curve.is_empty()


def test_weights_stand_for_other_shares_of_malignant_findings() -> None:
    base = cases(600, 10).with_columns(pl.col("label").alias("_l"))
    weight = pl.when(pl.col("_l") == 1).then(0.1 / pl.col("_l").mean()).otherwise(0.9 / (1 - pl.col("_l").mean()))
    seen = answered(base.with_columns(weight.alias("prevalence=0.1")), 11, twins=False).with_columns(
        task=pl.lit("malignancy"),
        answer=pl.when(pl.col("answer") == "present").then(pl.lit("malignant")).otherwise(pl.lit("benign")),
    )
    found = predictive(seen, STUDY)
    assert set(found.curve["task"]) == {"malignancy"}
    weighted = found.measured.filter(value="ppv", level="all, prevalence=0.1").row(0, named=True)
    assert weighted["prevalence"] == pytest.approx(0.1)
    assert weighted["estimate"] == pytest.approx(at(found.curve, "ppv", 0.1)["estimate"])
