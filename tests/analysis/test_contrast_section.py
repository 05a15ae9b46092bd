"""The contrast section of a mode's report: its sentence, chart, tables and rows; and what it says without any."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.reports.contrast_section import contrast_part
from itrialspace_assets.analysis.reports.document import Chart, Estimate, Paragraph, Table
from itrialspace_assets.analysis.reports.part import Part
from itrialspace_assets.analysis.scoring.rows import Analysis, MetricRow
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.imaging.anatomy import SIZE_BUCKETS
from itrialspace_assets.trials.files import load_trial
from itrialspace_assets.trials.model import Trial
from tests.analysis.planted import answered, cases

STUDY = load_study(load_settings()).model_copy(update={"clusters": ["host_person_uid", "donor_person_uid"]})
ANALYSIS = Analysis("a_mode", "demo_v1", "procedural")


def part(mode: str, seen: pl.DataFrame, **more: Any) -> Part:
    trial = load_trial(load_settings(), mode)
    names = [(a.name, a.level) for a in trial.arms] or [("a", "x"), ("b", "y")]
    arms = pl.DataFrame({"arm": [n for n, _ in names], "level": [v for _, v in names], "number": range(len(names))})
    return contrast_part(trial, arms, seen, STUDY, ANALYSIS, 7, **more)


def blocks(of: Part, kind: type) -> list[Any]:
    return [b for section in of.sections for b in section.blocks if isinstance(b, kind)]


def points(chart: Chart) -> list[dict[str, Any]]:
    """Data of a chart, wherever its specification keeps them."""
    given = [chart.spec["data"].get("values"), *chart.spec.get("datasets", {}).values()]
    return next(rows for rows in given if rows and "estimate" in rows[0])


def test_the_size_mode_has_a_curve_over_millimetres_and_its_numbers() -> None:
    rate = dict(zip(SIZE_BUCKETS, np.linspace(0.3, 0.9, 6), strict=True))
    size = lambda f: f["size_bucket"].replace_strict(rate, return_dtype=pl.Float64).to_numpy()  # noqa: E731
    found = part("m02_size_detection_curve", answered(cases(400, 1), 2, size))
    (said,) = blocks(found, Paragraph)
    assert said.text.startswith("mock on tissue: Sensitivity rises with size: 0.")
    (chart,) = blocks(found, Chart)
    assert [p["x"] for p in points(chart)] == [4.0, 7.5, 12.5, 17.5, 25.0, 35.0]
    levels, tests = blocks(found, Table)
    assert [row[4] for row in levels.rows] == ["<5 mm", "5–10 mm", "10–15 mm", "15–20 mm", "20–30 mm", ">30 mm"]
    numbers = [v for row in levels.rows for v in row if isinstance(v, Estimate)]
    assert all(n.k is not None and n.n and n.value == pytest.approx(n.k / n.n) for n in numbers)
    assert sum(n.n or 0 for n in numbers) == 400
    trend = next(r for r in found.rows if r.metric == "trend_sensitivity")
    shown = next(v for v in tests.rows[0] if isinstance(v, Estimate))
    assert (shown.value, shown.low, shown.high) == (trend.estimate, trend.low, trend.high)
    assert (trend.analysis, trend.stratum) == ("a_mode", "size_bucket")


def test_strata_stand_in_the_order_of_the_trial_file() -> None:
    names = ("men_55_65", "men_65_75", "women_55_65", "women_65_75")
    found = part("m04_demographic_stratification", answered(cases(60, 3, names), 4))
    levels = blocks(found, Table)[0]
    order = [row[4] for row in levels.rows if row[5] == "sensitivity"]
    assert order == ["men 55-65", "men 65-75", "women 55-65", "women 65-75"]
    assert len(blocks(found, Chart)) == 1


def test_prevalence_shows_bands_and_the_measured_arm() -> None:
    found = part("m01_controlled_prevalence", answered(cases(200, 5, ("nlst_cohort",)), 6))
    (chart,) = blocks(found, Chart)
    assert {p["series"] for p in points(chart)} == {"from sensitivity and specificity", "as measured"}
    assert {p["panel"] for p in points(chart)} == {"PPV, mock", "NPV, mock"}
    assert "At a prevalence of a nodule of 5 %, PPV is 0." in blocks(found, Paragraph)[0].text


def test_a_crossing_shows_variances_that_were_estimated_or_why_not() -> None:
    same: dict[str, Any] = {"analysis": "m", "split": "s", "source": "tissue", "reader": "mock", "task": "presence"}
    same |= {"condition": "plain", "stratum": "all", "method": "none", "anatomy": "procedural", "n_slices": 90}
    ratio = MetricRow(**same, metric="variance_ratio_host_donor", estimate=2.4, low=1.2, high=None, flag=None)
    found = part("m13_digital_twin_cross", answered(cases(20, 7), 8), scored=[ratio])
    assert "vary 2.4 times as much with the host as with the donor, from 1.2 on" in blocks(found, Paragraph)[0].text
    lacks = MetricRow(
        **same, metric="variance_ratio_host_donor", estimate=None, low=None, high=None, flag="not crossed"
    )
    found = part("m13_digital_twin_cross", answered(cases(20, 7), 8), scored=[lacks])
    assert "could not be told apart: not crossed" in blocks(found, Paragraph)[0].text
    assert found.rows == [], "the rows of variances are the report's"


@pytest.mark.parametrize(
    "mode",
    [
        *("m02_size_detection_curve", "m05_counterfactual", "m07_bootstrap_confidence", "m11_digital_twin_isolation"),
        *("m08_algorithm_comparison", "m01_controlled_prevalence", "x_lobe_size_shortcut"),
    ],
)
def test_five_cases_without_negatives_form_a_section_that_says_why(mode: str) -> None:
    found = part(mode, answered(cases(5, 9), 10, twins=False))
    (section,) = found.sections
    text = " ".join(b.text for b in blocks(found, Paragraph))
    assert any(w in text for w in ("not tested", "not known", "Nothing could be compared")), text
    assert all(r.low is None for r in found.rows if r.estimate is None)
    assert all(r.flag for r in found.rows if r.estimate is None)
    assert section.heading == "What the mode compares"


def test_nothing_declared_or_nothing_seen_adds_nothing() -> None:
    trial = load_trial(load_settings(), "m02_size_detection_curve")
    silent = Trial.model_validate(trial.model_dump(mode="json") | {"contrast": "none"})
    arms = pl.DataFrame({"arm": ["a"], "level": ["x"], "number": [0]})
    seen = answered(cases(20, 11), 12)
    assert contrast_part(silent, arms, seen, STUDY, ANALYSIS, 7) == Part()
    assert contrast_part(trial, arms, seen.clear(), STUDY, ANALYSIS, 7) == Part()
