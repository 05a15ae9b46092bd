"""The first number of a report: the study's primary endpoint, for each reader and source."""

from collections.abc import Sequence

from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.reports.document import Headline, Number, Paragraph, ReportStanding, Section
from itrialspace_assets.analysis.reports.metric_tables import estimate_of
from itrialspace_assets.analysis.scoring.rows import MetricRow

#: Metrics that have other names among people.
_NAMES = {"auc": "slice-ROC AUC", "balanced_accuracy": "balanced accuracy"}


def endpoint_of(study: Study) -> str:
    """The primary endpoint in words."""
    primary = study.primary
    return f"{_NAMES.get(primary.metric, primary.metric)} of {primary.task}, condition {primary.condition}"


def is_primary(row: MetricRow, study: Study) -> bool:
    """Whether a row of ``metrics`` is the primary endpoint over all slices of its analysis."""
    primary = study.primary
    return (row.stratum, row.task, row.metric, row.condition) == (
        "all",
        primary.task,
        primary.metric,
        primary.condition,
    )


def headline(rows: Sequence[MetricRow], study: Study, exploratory: bool) -> Section:
    """The primary endpoint as the first section.

    Args:
        rows: all of a report.
        study: names task, metric and condition.
        exploratory: the study is not the one that was locked.
    """
    level = f"{100 * (1 - study.alpha):g} %"
    endpoint = f"{endpoint_of(study)}, with {level} limits"
    found = [Number(f"{r.reader} on {r.source}", estimate_of(r)) for r in rows if is_primary(r, study)]
    standing: ReportStanding = "exploratory" if exploratory else "primary"
    if not found:
        none = Paragraph(f"{endpoint}: no enabled reader was asked here.", "warning")
        return Section("Primary endpoint", (none,), standing)
    return Section("Primary endpoint", (Headline("primary", endpoint, tuple(found)),), standing)
