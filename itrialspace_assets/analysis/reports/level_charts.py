"""Charts of metrics over conditions and over levels of a factor, one for each source. Computes no estimate."""

from collections.abc import Sequence

from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.reports.charts import Axes, Point, levels_chart
from itrialspace_assets.analysis.reports.document import Block, Chart, Paragraph, Section
from itrialspace_assets.analysis.reports.levels import FACTORS, factor_of, in_order, level_of, shown
from itrialspace_assets.analysis.reports.metric_tables import MAIN, conditions_in_order
from itrialspace_assets.analysis.scoring.rows import MetricRow
from itrialspace_assets.records.provenance import mark_of

#: Slices from which on a stratum is drawn; smaller ones stand in tables alone (issue 19, section 6).
ENOUGH = 5
#: Metrics under each condition, beside the primary one.
_ASIDE = ("sensitivity", "specificity")


def condition_section(rows: Sequence[MetricRow], study: Study, anatomy: str) -> Section:
    """The primary metric, sensitivity and specificity under each condition, a frame a reader.

    Args:
        rows: all of a report.
        study: names task and metric.
        anatomy: ``real`` or ``procedural``.
    """
    task, names = study.primary.task, MAIN[study.primary.task]
    metrics = [m for m in dict.fromkeys((study.primary.metric, *_ASIDE)) if m in names]
    found = [r for r in rows if r.task == task and r.stratum == "all" and r.metric in metrics]
    conditions = conditions_in_order(found)
    blocks: list[Chart | Paragraph | None] = []
    for source in dict.fromkeys(r.source for r in found):
        here = [r for r in found if r.source == source]
        here.sort(key=lambda r: (r.reader, metrics.index(r.metric), conditions.index(r.condition)))
        points = [_point(r, names[r.metric], r.condition, r.reader) for r in here]
        title = f"{task.capitalize()} under each condition, {source}{without_negatives(rows, source)}"
        axes = Axes("metric", f"estimate, {_level(study)} limits", reference=0.5 if "auc" in metrics else None)
        drawn = [names[m] for m in metrics if any(r.metric == m for r in here)]
        blocks.append(levels_chart(f"conditions_{source}", title, points, drawn, axes, mark_of(anatomy, source)))
    return Section("Under each condition", _some(blocks))


def factor_section(rows: Sequence[MetricRow], factor: str, arms: Sequence[str], study: Study, anatomy: str) -> Section:
    """Sensitivity (of presence) or accuracy (of other tasks) by the levels of a factor.

    Of one reader all conditions are shown, of several the primary condition.

    Args:
        rows: all of a report.
        factor: whose strata.
        arms: names of the trial's arms in the order of its file.
        study: names task and condition.
        anatomy: ``real`` or ``procedural``.
    """
    metric = "sensitivity" if study.primary.task == "presence" else "accuracy"
    found = [r for r in rows if (r.task, r.metric, factor_of(r.stratum)) == (study.primary.task, metric, factor)]
    order = in_order(factor, {level_of(r.stratum) for r in found}, arms)
    name = FACTORS.get(factor, factor.replace("_", " "))
    blocks: list[Chart | Paragraph | None] = []
    for source in dict.fromkeys(r.source for r in found):
        here = sorted((r for r in found if r.source == source), key=lambda r: order.index(level_of(r.stratum)))
        one = len({r.reader for r in here}) == 1
        drawn = [r for r in here if one or r.condition == study.primary.condition]
        small = {level_of(r.stratum) for r in drawn if (r.n_slices or 0) < ENOUGH}
        big = [level for level in order if level not in small]
        points = [
            _point(r, shown(level_of(r.stratum)), r.condition if one else r.reader)
            for r in drawn
            if level_of(r.stratum) in big
        ]
        of = here[0].reader if one else f"condition {study.primary.condition}"
        title = f"{metric.capitalize()} by {name}: {of} on {source}{without_negatives(rows, source)}"
        axes = Axes(name, f"{metric}, {_level(study)} limits")
        blocks.append(
            levels_chart(f"{factor}_{source}", title, points, [shown(b) for b in big], axes, mark_of(anatomy, source))
        )
        if small:
            left = ", ".join(shown(level) for level in order if level in small)
            blocks.append(
                Paragraph(f"On {source}, in the table alone with fewer than {ENOUGH} slices: {left}.", "note")
            )
    return Section(f"By {name}", _some(blocks))


def without_negatives(rows: Sequence[MetricRow], source: str) -> str:
    """What a title says where no slice of a source is a negative; else nothing."""
    of = [r for r in rows if (r.source, r.task, r.metric, r.stratum) == (source, "presence", "specificity", "all")]
    return " (no negatives)" if of and not any(r.n_slices for r in of) else ""


def _level(study: Study) -> str:
    return f"{100 * (1 - study.alpha):g} %"


def _point(row: MetricRow, x: str, series: str, panel: str = "") -> Point:
    return Point(x, series, row.estimate, row.low, row.high, row.n_slices, row.flag, panel, row.k)


def _some(blocks: Sequence[Chart | Paragraph | None]) -> tuple[Block, ...]:
    return tuple(b for b in blocks if b is not None) or (Paragraph("No number can be estimated here.", "note"),)
