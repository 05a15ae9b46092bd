"""Metrics as tables: one a task with its main metrics side by side, and all of them folded."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from itrialspace_assets.analysis.protocol.standing import Quantity, standing_of
from itrialspace_assets.analysis.protocol.study import LockState, Study
from itrialspace_assets.analysis.reports.document import (
    Block,
    Estimate,
    Paragraph,
    ReportStanding,
    Section,
    Table,
    Value,
)
from itrialspace_assets.analysis.reports.levels import factor_of, level_of, shown, strata_in_order
from itrialspace_assets.analysis.scoring.rows import MetricRow
from itrialspace_assets.analysis.scoring.scored import UNREAD
from itrialspace_assets.records.tables import CONDITIONS

#: Metrics of a task that stand side by side, by the column's heading; the rest are folded.
_YES_NO = {
    "auc": "AUC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
}
_CLASSES = {
    "accuracy": "accuracy",
    "accuracy_majority": "always the commonest class",
    "macro_recall": "macro-recall",
}
MAIN = {
    "presence": _YES_NO,
    "malignancy": _YES_NO,
    "lobe": _CLASSES,
    "size": _CLASSES | {"weighted_kappa": "weighted kappa", "error_mm": "error, mm"},
    "detection": {
        "cpm": "CPM",
        "froc_1": "sensitivity at 1 false mark a scan",
        "afroc": "AFROC",
        "wafroc": "wAFROC",
    },
}
_HEADINGS = {"presence": "Presence (slice-ROC)", "detection": "Detection (FROC)"}
_ABOUT_SLICES = (
    "Limits are two-way leave-cluster-out over host and donor persons. Under the limits: successes over slices for a "
    "share, else n slices. A letter on a number says why it should not be tested, or why it is missing."
)
_ABOUT_SCANS = (
    "Marks on whole scans, lesion-free ones among them; docs/facts/evaluation.md says when a mark hits. CPM is the "
    "mean sensitivity over seven rates of false marks a scan. Limits are percentiles of resampled persons."
)


def estimate_of(row: MetricRow) -> Estimate:
    """A row of ``metrics`` as a number of a report. A share of whole scans has cases for n."""
    n = row.n_cases if row.n_slices is None else row.n_slices
    return Estimate(row.estimate, row.low, row.high, row.k, n, row.flag)


def metric_sections(
    rows: Sequence[MetricRow], study: Study, state: LockState, arms: Sequence[str] = ()
) -> list[Section]:
    """Metrics as a section for each task; the table of all says of each number what it is to the study.

    Args:
        rows: all of a report.
        study: what was declared.
        state: of its lock.
        arms: names of the trial's arms in the order of its file.
    """
    sections = []
    for task in dict.fromkeys(r.task for r in rows):
        of_task = [r for r in rows if r.task == task]
        heading = _HEADINGS.get(task, task.capitalize())
        note = _ABOUT_SCANS if task == "detection" else _ABOUT_SLICES
        said = {id(r): standing_of(study, _asked(r), state) for r in of_task}
        planned = any(value != "exploratory" for value in said.values())
        blocks = (*_tables(task, of_task, arms, note), _all_metrics(task, of_task, said))
        sections.append(Section(heading, blocks, "planned" if planned else "exploratory"))
    return sections


def _tables(task: str, rows: Sequence[MetricRow], arms: Sequence[str], note: str) -> Iterable[Block]:
    main = MAIN.get(task, {})
    whole = [r for r in rows if r.stratum == "all"]
    if all(r.estimate is None for r in whole):
        reasons = "; ".join(sorted({r.flag for r in whole if r.flag}))
        yield Paragraph(f"No number can be estimated: {reasons or 'no slices'}.", "note")
    elif any(r.metric in main for r in whole):
        yield _wide(f"{task}_by_condition", main, whole, ("condition", lambda r: r.condition), note)
    plain = [r for r in rows if r.stratum != "all" and r.condition == "plain"]
    for factor in dict.fromkeys(factor_of(r.stratum) for r in plain):
        order = strata_in_order([r.stratum for r in plain if factor_of(r.stratum) == factor], arms)
        found = sorted(
            (r for r in plain if factor_of(r.stratum) == factor),
            key=lambda r: (r.source, r.reader, order.index(r.stratum)),
        )
        if any(r.metric in main and r.estimate is not None for r in found):
            of_level = (factor.replace("_", " "), lambda r: shown(level_of(r.stratum)))
            yield _wide(f"{task}_by_{factor}", main, found, of_level, "The plain picture.", folded=True)


def _asked(row: MetricRow) -> Quantity:
    return Quantity(
        task=row.task,
        metric=row.metric,
        condition=row.condition,
        stratum=row.stratum,
        analysis=row.analysis,
        source=row.source,
        reader=row.reader,
    )


def _all_metrics(task: str, rows: Sequence[MetricRow], said: Mapping[int, ReportStanding]) -> Table:
    """Every number over all slices, and what it is to the study.

    Args:
        task: the task.
        rows: its rows.
        said: standing of each row, by identity.
    """
    columns = ("metric", "source", "reader", "condition", "stratum", "estimate", "in the study")
    cells = tuple(
        (
            *(r.metric, r.source, r.reader, r.condition, r.stratum, estimate_of(r), said[id(r)]),
            *(r.n_negatives, r.n_hosts, r.n_donors, r.n_unanswered),
        )
        for r in rows
        if r.stratum == "all"
    )
    note = "Every metric over all slices. The table metrics holds those of strata too."
    return Table(
        f"{task}_all_metrics", (*columns, "negatives", "hosts", "donors", "unanswered"), cells, note, folded=True
    )


def _wide(
    name: str,
    main: dict[str, str],
    rows: Sequence[MetricRow],
    of: tuple[str, Callable[[MetricRow], str]],
    note: str,
    folded: bool = False,
) -> Table:
    """Metrics side by side, a row for each reader, source and level.

    Args:
        name: of the table's files.
        main: heading of each metric's column.
        rows: of one task; levels in the order in which they are shown.
        of: heading of the levels' column, and the level of a row.
        note: above the table.
        folded: whether it opens at a click.
    """
    heading, level = of
    keys: dict[tuple[str, str, str], dict[str, MetricRow]] = {}
    for row in rows:
        keys.setdefault((row.reader, row.source, level(row)), {})[row.metric] = row
    columns = {m: h for m, h in main.items() if any(m in found for found in keys.values())}
    table: list[tuple[Value, ...]] = []
    silent: dict[str, None] = {}
    for (reader, source, at), found in keys.items():
        if all(r.estimate is None and r.flag == UNREAD for r in found.values()):
            silent[f"{reader} does not answer this task."] = None
            continue
        numbers = [estimate_of(found[m]) if m in found else None for m in columns]
        one = next(iter(found.values()))
        counts = (one.n_negatives, one.n_hosts, one.n_donors, one.n_unanswered)
        table.append((reader, source, at, *numbers, *counts))
    names = ("reader", "source", heading, *columns.values(), "negatives", "hosts", "donors", "unanswered")
    return Table(name, names, tuple(table), " ".join((note, *silent)), folded)


def conditions_in_order(rows: Sequence[MetricRow]) -> list[str]:
    """Conditions that occur, the plain picture first."""
    found = {r.condition for r in rows}
    return [c for c in CONDITIONS if c in found]
