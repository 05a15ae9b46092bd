"""Charts of a mode's contrast: estimates over levels in declared order, over size, and over prevalence."""

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.reports.charts import Axes, Point, levels_chart, scale_chart
from itrialspace_assets.analysis.reports.document import Chart
from itrialspace_assets.analysis.reports.findings import of_condition
from itrialspace_assets.analysis.scoring.cell_tests import Compared
from itrialspace_assets.analysis.scoring.predictive import Predictive
from itrialspace_assets.analysis.scoring.rows import Analysis
from itrialspace_assets.records.provenance import mark_of
from itrialspace_assets.trials.model import Contrast

_TITLES: dict[Contrast, str] = {
    "size_bucket": "Sensitivity over size",
    "round": "Results over rounds",
    "lobe": "Sensitivity by lobe",
    "lobe_size": "Sensitivity over size by lobe, balanced arm",
    "stratum": "Results by stratum",
    "arm": "Results by arm",
    "donor_dataset": "Sensitivity by donor dataset",
    "companions": "Sensitivity by companions",
    "replicate": "Results of replicates",
    "reader": "Readers",
    "counterfactual": "Answered present, with the lesion and without it",
    "isolation": "Right answers, twin and real finding",
    "complete": "Right answers, twin and real finding",
}
#: Differences within pairs: they stand in the table of tests.
_DIFFERENCES = ("right_less_real", "lesion_effect")
_MM = Axes("mean diameter of the bin (mm)", "sensitivity")
Row = dict[str, Any]


def contrast_charts(contrast: Contrast, compared: Compared, study: Study, analysis: Analysis) -> Iterator[Chart]:
    """A chart for each source that has estimates.

    Args:
        contrast: of the trial.
        compared: its levels.
        study: condition of the primary endpoint, which charts with other series are restricted to.
        analysis: what is reported.
    """
    if compared.levels.is_empty():
        return
    for (source,), rows in compared.levels.group_by("source", maintain_order=True):
        mark, name, title = mark_of(analysis.anatomy, str(source)), f"contrast_{source}", _TITLES[contrast]
        here = rows.filter(pl.col("condition") == of_condition(rows, study))
        if contrast == "size_bucket":
            points = [_point(r, r["at_mm"], r["condition"], _reader(r, rows)) for r in in_order(rows, compared)]
            chart = scale_chart(name, title, _placed(points), _MM, mark)
        elif contrast == "lobe_size":
            lobes = [(r, _shown(r, compared).split(", ")[0]) for r in in_order(here, compared)]
            points = [_point(r, r["at_mm"], lobe, _reader(r, rows)) for r, lobe in lobes]
            chart = scale_chart(name, title, _placed(points), _MM, mark)
        elif contrast in ("isolation", "complete", "counterfactual"):
            chart = _pairs(name, title, here, compared, mark)
        else:
            chart = _over_levels(name, title, rows, compared, mark)
        if chart is not None:
            yield chart


def _pairs(name: str, title: str, rows: pl.DataFrame, compared: Compared, mark: str) -> Chart | None:
    """Both sides of pairs over arms, or over tasks where there is one level.

    Args:
        name: of the chart.
        title: above it.
        rows: levels of one source and condition.
        compared: order and names of the levels.
        mark: what the data are.
    """
    sides = rows.filter(~pl.col("metric").is_in(_DIFFERENCES))
    tasks = len(compared.factor.levels) == 1
    points = [
        _point(r, r["task"] if tasks else _shown(r, compared), r["metric"].replace("_", " "), _reader(r, rows))
        for r in in_order(sides, compared)
    ]
    levels = sides["task"].unique(maintain_order=True).to_list() if tasks else list(compared.factor.shown)
    return levels_chart(name, title, points, _there(levels, points), Axes("task" if tasks else "arm", "share"), mark)


def _over_levels(name: str, title: str, rows: pl.DataFrame, compared: Compared, mark: str) -> Chart | None:
    """Metrics over the levels of a factor under every condition; a panel for each metric and reader.

    Args:
        name: of the chart.
        title: above it.
        rows: levels of one source.
        compared: order and names of the levels.
        mark: what the data are.
    """
    metrics = rows["metric"].unique(maintain_order=True).to_list()
    several = len(metrics) > 1
    points = [
        _point(
            r,
            _shown(r, compared),
            r["condition"],
            ", ".join(filter(None, [r["metric"] if several else "", _reader(r, rows)])),
        )
        for r in in_order(rows, compared)
    ]
    axes = Axes(compared.factor.column.replace("_", " "), "share" if several else metrics[0])
    return levels_chart(name, title, points, _there(compared.factor.shown, points), axes, mark)


def prevalence_charts(values: Predictive, study: Study, analysis: Analysis) -> Iterator[Chart]:
    """PPV and NPV over prevalence with bands, and what arms measured, for each source and task.

    Args:
        values: curves and measured values.
        study: condition of the primary endpoint.
        analysis: what is reported.
    """
    condition = of_condition(values.curve, study)
    curves = values.curve.filter(pl.col("condition") == condition)
    for (source, task), rows in curves.group_by("source", "task", maintain_order=True):
        arms = values.measured.filter(
            pl.col("source") == source, pl.col("task") == task, pl.col("condition") == condition
        )
        points = [
            _point(r, r["prevalence"], series, f"{r['value'].upper()}, {r['reader']}")
            for series, of in (("from sensitivity and specificity", rows), ("as measured", arms))
            for r in of.sort("reader", "value", "prevalence").to_dicts()
        ]
        what = f"share of {'slices with a nodule' if task == 'presence' else 'malignant findings'}"
        axes, mark = Axes(what, "predictive value"), mark_of(analysis.anatomy, str(source))
        title = f"Predictive values over the {what}"
        if chart := scale_chart(f"prevalence_{source}_{task}", title, _placed(points), axes, mark):
            yield chart


def in_order(rows: pl.DataFrame, compared: Compared) -> list[Row]:
    """Levels by task, reader, condition, metric and declared order; those that were not declared are left out.

    Args:
        rows: of ``Compared.levels``.
        compared: what has the order.
    """
    place = pl.col("level").replace_strict(compared.factor.order(), default=None, return_dtype=pl.Int64)
    known = rows.with_columns(_place=place).filter(pl.col("_place").is_not_null())
    return known.sort("source", "task", "reader", "condition", "_metric", "_place").to_dicts()


def _shown(row: Row, compared: Compared) -> str:
    return compared.factor.shown[compared.factor.order()[row["level"]]]


def _reader(row: Row, rows: pl.DataFrame) -> str:
    """Panel of a reader; none where there is one reader, or where readers are what is compared."""
    return "" if rows["reader"].n_unique() == 1 or row["level"] == row["reader"] else str(row["reader"])


def _placed(points: Sequence[Point]) -> list[Point]:
    return [p for p in points if p.x is not None]


def _there(levels: Sequence[str], points: Sequence[Point]) -> list[str]:
    """Those levels that have an estimate, in their order."""
    some = {p.x for p in points if p.estimate is not None}
    return [level for level in levels if level in some]


def _point(row: Row, x: str | float, series: str, panel: str) -> Point:
    return Point(x, series, row["estimate"], row["low"], row["high"], row["n_slices"], row["flag"], panel)
