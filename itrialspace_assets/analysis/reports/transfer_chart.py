"""Synthetic against real shares, cell by cell, beside the line on which they are equal and the margin about it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from itrialspace_assets.analysis.reports.charts import COLOURS, HEIGHT
from itrialspace_assets.analysis.reports.document import Chart

_SAID = (
    *(("reader", "N", "reader"), ("task", "N", "task"), ("condition", "N", "condition"), ("real", "Q", "real")),
    *(("synthetic", "Q", "synthetic"), ("verdict", "N", "within the margin"), ("note", "N", "note")),
)


@dataclass(frozen=True)
class CellPoint:
    """One cell: its real and its synthetic share, whether they are equivalent, and what to beware of."""

    reader: str
    task: str
    condition: str
    real: float
    synthetic: float
    verdict: str
    note: str


def transfer_chart(name: str, title: str, points: Sequence[CellPoint], margin: float, mark: str) -> Chart | None:
    """A point a cell; hollow where equivalence is not shown. None without a point.

    Args:
        name: of the chart's files.
        title: above it.
        points: the cells.
        margin: largest difference that does not matter.
        mark: what the data are.
    """
    import altair as alt

    if not points:
        return None
    readers = list(dict.fromkeys(p.reader for p in points))
    ends = [{"real": x, "synthetic": x, "low": max(0.0, x - margin), "high": min(1.0, x + margin)} for x in _scale()]
    line = alt.Chart(alt.InlineData(values=ends))
    x = alt.X("real:Q", title="share of right answers, real slices", scale=alt.Scale(domain=[0, 1]))
    title_y = "the same, synthetic slices"
    y = alt.Y("synthetic:Q", title=title_y, scale=alt.Scale(domain=[0, 1]))
    colour = alt.Color("reader:N", title=None, scale=alt.Scale(domain=readers, range=list(COLOURS)[: len(readers)]))
    band: Any = line.mark_area(color="#475569", opacity=0.12).encode(x=x, y=alt.Y("low:Q", title=title_y), y2="high:Q")
    equal: Any = line.mark_line(strokeDash=[4, 4], color="#475569").encode(x=x, y=y)
    cells: Any = (
        alt.Chart(alt.InlineData(values=[asdict(p) for p in points]))
        .mark_point(size=60, strokeWidth=1.6, filled=True, opacity=1)
        .encode(
            x=x,
            y=y,
            stroke=colour,
            fill=alt.condition("datum.verdict == 'equivalent'", colour, alt.value("white")),
            shape=alt.Shape("task:N", title=None, legend=alt.Legend(symbolStrokeColor="#334155")),
            tooltip=[alt.Tooltip(f"{c}:{t}", title=n) for c, t, n in _SAID],
        )
    )
    heading = alt.TitleParams(title, subtitle=[mark], subtitleColor="#b91c1c", anchor="start")
    spec = alt.layer(band, equal, cells).properties(width=HEIGHT + 60, height=HEIGHT + 60, title=heading)
    said = [f"{p.reader}, {p.task}, {p.condition}: real {p.real:.3g}, synthetic {p.synthetic:.3g}" for p in points[:12]]
    more = f"; and {len(points) - 12} more" if len(points) > 12 else ""
    return Chart(name, title, f"{title}. {'; '.join(said)}{more}.", spec.properties(background="white").to_dict())


def _scale() -> list[float]:
    return [i / 20 for i in range(21)]
