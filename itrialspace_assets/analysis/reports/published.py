"""The published report's tables: accuracy by reader, task and condition, in percent, over one common N.

Their structure is that of the original's report.md (docs/facts/evaluation.md), with counts added.
"""

from collections.abc import Sequence

from itrialspace_assets.analysis.reports.document import Paragraph, Section, Table
from itrialspace_assets.analysis.reports.metric_tables import conditions_in_order
from itrialspace_assets.analysis.scoring.rows import MetricRow
from itrialspace_assets.records.tables import TASK_OPTIONS

_METRIC = "accuracy_one_n"


def published_section(rows: Sequence[MetricRow]) -> Section:
    """A table a source: reader and task against conditions, and the best condition, the first of equals.

    Args:
        rows: all of a report.
    """
    found = [r for r in rows if r.metric == _METRIC and r.stratum == "all" and r.estimate is not None]
    if not found:
        none = Paragraph("No slice was answered by every reader in every task under every condition.", "note")
        return Section("Accuracy on one common N", (none,))
    chance = ", ".join(f"{task} 1 of {len(TASK_OPTIONS[task])}" for task in dict.fromkeys(r.task for r in found))
    rule = Paragraph(
        "The published rule: only slices that every reader answered in every task that it does, under every condition. "
        "Percent of right answers, (right/slices); an answer that could not be read is wrong. By guessing among the "
        f"options: {chance}."
    )
    tables = [
        _table(source, [r for r in found if r.source == source]) for source in dict.fromkeys(r.source for r in found)
    ]
    return Section("Accuracy on one common N", (rule, *tables))


def _table(source: str, rows: Sequence[MetricRow]) -> Table:
    conditions = conditions_in_order(rows)
    cells = {(r.reader, r.task, r.condition): r for r in rows}
    table = []
    for reader, task in dict.fromkeys((r.reader, r.task) for r in rows):
        here = [cells.get((reader, task, c)) for c in conditions]
        most = max(r.estimate for r in here if r is not None and r.estimate is not None)
        best = next(r.condition for r in here if r is not None and r.estimate == most)
        table.append(
            (
                reader,
                task,
                *("–" if r is None else f"{100 * (r.estimate or 0):.1f} ({r.k}/{r.n_slices})" for r in here),
                best,
            )
        )
    return Table(
        f"accuracy_{source}", ("reader", "task", *conditions, "best"), tuple(table), f"Source {source}, percent."
    )
