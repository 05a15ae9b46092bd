"""Section of the study's report: do synthetic slices tell what real slices tell? Equivalence, and order of the cells.

Reads no table; what is compared is in ``scoring.transfer_rows``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from itrialspace_assets.analysis.estimates.equivalence import DIFFERENT, EQUIVALENT, NOT_SHOWN
from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.reports.document import (
    Block,
    Estimate,
    Paragraph,
    ReportStanding,
    Section,
    Table,
    Value,
)
from itrialspace_assets.analysis.reports.part import Part
from itrialspace_assets.analysis.reports.transfer_chart import CellPoint, transfer_chart
from itrialspace_assets.analysis.scoring.answer_table import AnswerTable, unseen
from itrialspace_assets.analysis.scoring.rows import Analysis
from itrialspace_assets.analysis.scoring.training import Trained
from itrialspace_assets.analysis.scoring.transfer_rows import (
    ALL_MODES,
    Ranks,
    TransferComparison,
    comparisons,
    ranks,
    transfer_rows,
    why_not,
)
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.provenance import mark_of

HEADING = "Real against synthetic"
#: Strata without a counterpart that are shown of a single mode (ours).
_SHOWN = 10
_HOW = {"paired": "same finding", "standardised": "real mix", "as_drawn": "as drawn"}


@dataclass(frozen=True)
class DeclaredMargin:
    """What the study file declares of this question.

    Attributes:
        margin: largest difference of two shares that does not matter.
        standing: whether the study file declares the comparison, or it is exploratory.
    """

    margin: float
    standing: ReportStanding = "exploratory"


def transfer_part(
    found: AnswerTable,
    study: Study,
    analysis: Analysis,
    asked: DeclaredMargin,
    trained: Mapping[str, Trained],
    root: int,
) -> Part:
    """Rows of ``metrics`` and the section; where nothing can be compared the section says why and holds no number.

    Args:
        found: of ``answer_table.answer_table``.
        study: alpha, clusters, primary endpoint.
        analysis: what is reported.
        asked: the margin.
        trained: of ``training.trained_on``.
        root: root seed.
    """
    reason = why_not(found)
    if reason is not None:
        return Part([], [Section(HEADING, (Paragraph(f"{reason}.", "note"),), "context")])
    rows, sections = [], []
    for source in sorted(set(found.counted["source"]) - {REAL}):
        compared = list(comparisons(found, source, study, margin=asked.margin))
        kept, unknown = unseen(found, trained, source)
        if _answers(kept) < _answers(found) and why_not(kept) is None:
            compared += comparisons(kept, source, study, margin=asked.margin, unseen=True)
        about = _about_training(found, kept, unknown, trained, source)
        rows += [row for one in compared for row in transfer_rows(one, analysis)]
        sections.append(_section(compared, study, analysis, asked, about, source, root))
    return Part(rows, sections)


def _answers(found: AnswerTable) -> int:
    return int((found.right >= 0).sum())


def _about_training(
    whole: AnswerTable, kept: AnswerTable, unknown: Sequence[str], trained: Mapping[str, Trained], source: str
) -> Paragraph:
    """What reader and renderer declare to have seen, and what that leaves."""
    readers = whole.cells["reader"].unique().sort().to_list()
    names = [n for n in (*readers, source) if n in trained]
    undeclared = [n for n in (*readers, source) if n not in trained]
    said = "; ".join(f"{n}: {trained[n].text}" for n in names)
    said += f"; {', '.join(undeclared)}: not declared" if undeclared else ""
    lost = _answers(whole) - _answers(kept)
    if not lost:
        seen = "No answer is about a person of a dataset that is named there, so there is one set of results."
    elif why_not(kept) is not None:
        seen = "Without the people of these datasets one side has no answer left, so there is one set of results."
    else:
        seen = f"Rows marked 'unseen' leave out the people of these datasets ({lost} answers)."
    names_unknown = sorted({*unknown, *undeclared})
    beyond = f" What {', '.join(names_unknown)} saw is not known: overlap cannot be excluded." if names_unknown else ""
    return Paragraph(f"Trained on: {said}. {seen}{beyond}", "warning" if names_unknown else "note")


def _section(
    compared: Sequence[TransferComparison],
    study: Study,
    analysis: Analysis,
    asked: DeclaredMargin,
    about: Paragraph,
    source: str,
    root: int,
) -> Section:
    """The section of one renderer.

    Args:
        compared: its comparisons.
        study: alpha, primary endpoint.
        analysis: what is reported.
        asked: the margin.
        about: what was trained on what.
        source: the renderer.
        root: root seed.
    """
    mark = f"{mark_of(analysis.anatomy, source)}; beside real CT as acquired"
    blocks: list[Block] = [
        Paragraph(
            f"Share of right answers to synthetic slices ('{source}') less that to real slices; presence is asked of "
            "slices that show a nodule. Twins are paired with the same real finding. Other modes are standardised to "
            "the real mix of lobe, size class and dataset; strata without two synthetic hosts and donors count on "
            "neither side. 'As drawn' is the published way, without strata."
        ),
        Paragraph(
            f"Equivalent: two one-sided tests show a difference within {asked.margin:g} (each at {study.alpha:g}, not "
            "corrected for the number of cells). Different: not so, and the test of no difference rejects. Not shown: "
            "neither; it is no sign of equivalence."
        ),
        about,
    ]
    orders = [ranks(one, study, root) for one in compared]
    blocks.append(_summary(compared, orders, source))
    charted = next((c for c in compared if c.mode == ALL_MODES and not c.unseen), compared[0] if compared else None)
    if charted is not None:
        title = f"Synthetic against real, {charted.mode.replace('_', ' ')} ({_HOW[charted.kind]})"
        chart = transfer_chart(f"transfer_{source}", title, _points(charted), asked.margin, mark)
        blocks += [chart] if chart else []
    primary = [(c, at) for c in compared for at in _primary(c, study)]
    if primary:
        blocks.append(_cells(f"transfer_primary_{source}", primary, "Task and condition of the primary endpoint."))
    every = [(c, at) for c in compared for at in range(c.cells.height)]
    blocks.append(_cells(f"transfer_cells_{source}", every, "All cells.", folded=True))
    blocks.append(_lacking(compared, source))
    return Section(f"{HEADING}: {source}", tuple(blocks), asked.standing)


def _name(of: TransferComparison) -> str:
    return f"{of.mode.replace('_', ' ') if of.mode == ALL_MODES else of.mode}{', unseen' if of.unseen else ''}"


def _summary(compared: Sequence[TransferComparison], orders: Sequence[Ranks], source: str) -> Table:
    """One line a comparison: how many cells are equivalent, gaps, rank correlation, whether the better reader stays."""
    lines = []
    for one, order in zip(compared, orders, strict=True):
        said = [one.verdicts.verdict.tolist().count(v) for v in (EQUIVALENT, DIFFERENT, NOT_SHOWN)]
        known, whole, won = sum(said), order.all, order.winners
        lacking = one.lacking.group_by("task").agg(pl.col("share").sum())["share"].max()
        lines.append(
            (
                *(_name(one), _HOW[one.kind], *(f"{n}/{known}" for n in said)),
                Estimate(None, flag=order.note) if whole is None else _round(whole.mean_gap),
                None if whole is None else _largest(one),
                Estimate(whole.rho if whole else None, order.low, order.high, n=_n(whole), flag=order.note),
                _span(order.without_reader),
                _span(order.without_task),
                f"{won.pairs}/{won.of_pairs}" + (f" ({won.tied} tied)" if won.tied else ""),
                f"{won.orders}/{won.of_orders}",
                _round(won.lost) if won.of_orders else None,
                _round(lacking) if one.kind == "standardised" and isinstance(lacking, float) else None,
            )
        )
    columns = (
        *("mode", "how", "equivalent", "different", "not shown", "mean gap", "largest gap", "Spearman's rho"),
        *("without a reader", "without a task", "same better reader", "same order of readers", "cost of the choice"),
        "real mix without counterpart",
    )
    note = (
        "Counts are cells: reader, task, condition. Rank correlation does not see a shift, and its cells share "
        "readers, tasks and persons: limits come from what persons move in all cells together, readers and tasks being "
        "fixed; beside it the lowest and highest value without one reader or one task. Same better reader: pairs of "
        "readers under one task and condition. Cost of the choice: most that the reader that is best on synthetic "
        "slices lacks to the best on real ones."
    )
    return Table(f"transfer_{source}", columns, tuple(lines), note)


def _round(value: float) -> float:
    return round(value, 3)


def _n(whole: object) -> int | None:
    return getattr(whole, "cells", None)


def _largest(of: TransferComparison) -> str:
    """Largest gap, and the cell that has it."""
    gaps = of.cells.with_row_index("at").with_columns(
        gap=pl.Series(of.verdicts.tests.difference).fill_nan(None).abs(), counts=pl.Series(of.compared)
    )
    top = gaps.filter("counts").sort("gap", "reader", "task", "condition", descending=[True, False, False, False])
    cell = top.row(0, named=True)
    return f"{cell['gap']:.3f} ({cell['reader']}, {cell['task']}, {cell['condition']})"


def _span(values: Mapping[str, float | None]) -> str | None:
    known = {name: v for name, v in values.items() if v is not None}
    if not known:
        return None
    low, high = min(known, key=lambda n: known[n]), max(known, key=lambda n: known[n])
    return f"{known[low]:.3f} (without {low}) to {known[high]:.3f} (without {high})"


def _points(of: TransferComparison) -> list[CellPoint]:
    made, real, judged = of.found.studied, of.found.targeted, of.verdicts
    return [
        CellPoint(
            cell["reader"],
            cell["task"],
            cell["condition"],
            round(float(real[at]), 4),
            round(float(made[at]), 4),
            str(judged.verdict[at]),
            judged.flag[at] or "",
        )
        for at, cell in enumerate(of.cells.iter_rows(named=True))
        if of.compared[at]
    ]


def _primary(of: TransferComparison, study: Study) -> list[int]:
    """Cells of the primary endpoint's task and condition."""
    mine = (of.cells["task"] == study.primary.task) & (of.cells["condition"] == study.primary.condition)
    return mine.arg_true().to_list()


def _cells(name: str, cells: Sequence[tuple[TransferComparison, int]], note: str, *, folded: bool = False) -> Table:
    """Cells of comparisons, one a line.

    Args:
        name: of the table's files.
        cells: comparison, and place of the cell in it.
        note: what they are.
        folded: whether it opens at a click.
    """
    columns = ("mode", "how", "reader", "task", "condition", "measure", "synthetic", "real", "difference", "p", "shown")
    lines: list[tuple[Value, ...]] = []
    for one, at in cells:
        cell, tests, judged = one.cells.row(at, named=True), one.verdicts.tests, one.verdicts
        none = one.found.reason[at] if judged.verdict[at] is None else judged.flag[at]
        value, low, high = (_known(x[at]) for x in (tests.difference, tests.low, tests.high))
        lines.append(
            (
                *(_name(one), _HOW[one.kind], cell["reader"], cell["task"], cell["condition"], cell["measure"]),
                Estimate(_known(one.found.studied[at]), n=cell["n"], flag=none),
                Estimate(_known(one.found.targeted[at]), n=cell["n_real"], flag=none),
                Estimate(value, low, high, n=cell["n"], flag=none),
                _known(judged.p[at]),
                judged.verdict[at],
            )
        )
    return Table(name, columns, tuple(lines), f"{note} p is that of the two one-sided tests.", folded)


def _known(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None


def _lacking(compared: Sequence[TransferComparison], source: str) -> Table:
    """Strata of the real mix that synthetic slices lack, commonest first; of a single mode the ``_SHOWN`` commonest."""
    lines: list[tuple[Value, ...]] = []
    for one in (c for c in compared if c.kind == "standardised"):
        strata = one.lacking.group_by("stratum").agg(pl.col("n_real").max(), pl.col("share").max())
        rows = strata.sort("share", "stratum", descending=[True, False])
        shown = rows if one.mode == ALL_MODES else rows.head(_SHOWN)
        lines += [(_name(one), stratum, n, round(share, 4)) for stratum, n, share in shown.iter_rows()]
    columns = ("mode", "stratum of the real mix", "real slices", "share of the real mix")
    note = f"Strata that no synthetic slice stands for in some cell: of all modes together, and the {_SHOWN} commonest "
    return Table(f"transfer_lacking_{source}", columns, tuple(lines), f"{note}of each mode.", folded=True)
