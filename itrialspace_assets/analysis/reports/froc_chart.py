"""FROC of readers that mark scans, as a chart: sensitivity against false marks a scan. Computes no estimate."""

from collections.abc import Sequence

from itrialspace_assets.analysis.estimates.froc import RATES
from itrialspace_assets.analysis.reports.charts import Axes, Point, scale_chart
from itrialspace_assets.analysis.reports.document import Chart
from itrialspace_assets.analysis.scoring.rows import MetricRow
from itrialspace_assets.records.provenance import mark_of


def froc_charts(rows: Sequence[MetricRow], anatomy: str) -> list[Chart]:
    """One chart a source: sensitivity with limits at the seven rates, a line a reader.

    Args:
        rows: all of a report.
        anatomy: ``real`` or ``procedural``.
    """
    at = {f"froc_{rate:g}": rate for rate in RATES}
    found = [r for r in rows if r.task == "detection" and r.stratum == "all" and r.metric in at]
    charts = []
    for source in dict.fromkeys(r.source for r in found):
        points = [
            Point(at[r.metric], r.reader, r.estimate, r.low, r.high, r.n_cases, r.flag, k=r.k)
            for r in found
            if r.source == source
        ]
        axes = Axes(
            "false marks a scan (read at the marks; lines lead the eye)", "sensitivity over nodules", is_log=True
        )
        title = f"FROC of whole scans, {source}"
        charts.append(scale_chart(f"froc_{source}", title, points, axes, mark_of(anatomy, source)))
    return [chart for chart in charts if chart is not None]
