"""Readers and conditions compared in the primary endpoint's metric, as a chart of differences and a table."""

from collections.abc import Sequence
from typing import Any, Literal

import polars as pl

from itrialspace_assets.analysis.protocol.standing import comparison_standing
from itrialspace_assets.analysis.protocol.study import LockState, Study
from itrialspace_assets.analysis.reports.charts import Axes, Point, levels_chart
from itrialspace_assets.analysis.reports.document import Block, Estimate, Paragraph, ReportStanding, Section, Table
from itrialspace_assets.analysis.reports.part import Part
from itrialspace_assets.analysis.scoring.contrasts import contrasts
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.records.provenance import mark_of
from itrialspace_assets.records.tables import CONDITIONS

_AXES: tuple[Literal["reader", "condition"], ...] = ("reader", "condition")
#: Gains that are named (the published report names as many).
_GAINS = 8


def compared(settings: Settings, seen: pl.DataFrame, study: Study, state: LockState) -> Part:
    """Paired differences, if there are two readers or two conditions.

    Args:
        settings: the root seed, and what the anatomy is.
        seen: of ``observations.observe``, for all readers.
        study: names task and metric, alpha and clusters.
        state: of its lock.
    """
    found = contrasts(seen, study, settings.seed)
    if found is None:
        return Part()
    said = {axis: comparison_standing(study, axis, state) for axis in _AXES}
    rows = [row | {"in the study": said[row["compared"]]} for row in found.table.to_dicts()]
    about = (
        f"{study.primary.metric} of {study.primary.task}: first less second, on the same persons. p is corrected "
        "within a source; resolves: the least difference whose interval would leave out zero."
    )
    blocks: list[Block] = [Paragraph(text) for text in (_in_words(rows, study), found.ties) if text]
    blocks += _charts(settings, rows, study)
    blocks.append(_table(rows, about))
    return Part(sections=[Section("Readers and conditions compared", tuple(blocks), _standing(rows))])


def _standing(rows: Sequence[dict[str, Any]]) -> ReportStanding:
    return "planned" if any(row["in the study"] == "planned" for row in rows) else "exploratory"


def _in_words(rows: Sequence[dict[str, Any]], study: Study) -> str:
    """How many conditions differ from the plain picture, and the largest gains; empty without any."""
    with_plain = [r for r in rows if r["compared"] == "condition"]
    if not with_plain:
        return ""
    low = sum(r["p"] is not None and r["p"] < study.alpha for r in with_plain)
    gains = sorted((r for r in with_plain if r["difference"] > 0), key=lambda r: -r["difference"])[:_GAINS]
    named = "; ".join(f"{r['within']} on {r['source']}, {r['first']} {r['difference']:+.3f}" for r in gains)
    return (
        f"{low} of {len(with_plain)} comparisons with the plain picture have p < {study.alpha:g} before correction. "
        f"Largest gains: {named or 'none'}."
    )


def _charts(settings: Settings, rows: Sequence[dict[str, Any]], study: Study) -> list[Block]:
    charts = []
    for source in dict.fromkeys(r["source"] for r in rows):
        here = [r for r in rows if r["source"] == source and r["compared"] == "condition"]
        levels = [c for c in CONDITIONS if c in {r["first"] for r in here}]
        points = [Point(r["first"], r["within"], r["difference"], r["low"], r["high"], None, r["note"]) for r in here]
        title = f"What guidance changes in {study.primary.metric} of {study.primary.task}, {source}"
        axes = Axes("condition", "difference to the plain picture", range=None, reference=0.0)
        charts.append(levels_chart(f"gains_{source}", title, points, levels, axes, mark_of(settings.anatomy, source)))
    return [chart for chart in charts if chart is not None]


def _table(rows: Sequence[dict[str, Any]], about: str) -> Table:
    columns = tuple(c for c in rows[0] if c not in ("low", "high", "note"))  # the correction is the study's
    cells = tuple(
        tuple(Estimate(r[c], r["low"], r["high"], flag=r["note"]) if c == "difference" else r[c] for c in columns)
        for r in rows
    )
    return Table("comparisons", columns, cells, about, folded=len(rows) > 20)
