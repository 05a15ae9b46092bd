"""Charts of estimates as Vega-Lite specifications, drawn by Altair. Each carries what its data are.

A flagged estimate has a hollow mark; the number counted stands under its tick, or in the words that the mark speaks.
Computes no estimate and writes no file.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from itrialspace_assets.analysis.reports.document import Chart

#: Colours of series that stay apart for colour-blind readers: Okabe and Ito 2008, without yellow (too pale on white).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
WIDTH, HEIGHT = 420, 260


@dataclass(frozen=True)
class Point:
    """One estimate on a chart.

    Attributes:
        x: its level (text), or its place on a scale (number).
        series: what has one colour: a reader, a condition, a source.
        estimate: the value; points without one are left out of charts and stand in the tables.
        low: lower limit, if there is one.
        high: upper limit, if there is one.
        n: what was counted; shown under the tick of its level.
        flag: why it should not be trusted; its mark is hollow then.
        panel: points of one panel stand in one frame; empty: there is one frame.
    """

    x: str | float
    series: str
    estimate: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    flag: str | None = None
    panel: str = ""


@dataclass(frozen=True)
class Axes:
    """Titles of the axes, the range of y (None: from the data), and a line to compare with (chance, no difference)."""

    x: str
    y: str
    range: tuple[float, float] | None = (0.0, 1.0)
    reference: float | None = None


def levels_chart(
    name: str, title: str, points: Sequence[Point], levels: Sequence[str], axes: Axes, mark: str
) -> Chart | None:
    """Estimates with limits over levels in their declared order; None where no point has an estimate.

    Args:
        name: of the chart's files.
        title: above it.
        points: their x are levels.
        levels: the levels in the order of the trial or the study, not sorted as text.
        axes: titles, range, line to compare with.
        mark: what the data are.
    """
    import altair as alt

    known = [p for p in points if p.estimate is not None]
    if not known:
        return None
    ticks = {level: _tick(level, [p for p in known if p.x == level]) for level in levels}
    rows = [asdict(p) | {"x": ticks[str(p.x)], "flag": p.flag or ""} for p in known]
    series = list(dict.fromkeys(p.series for p in known))
    x = alt.X(
        "x:N", sort=[ticks[level] for level in levels], title=axes.x, axis=alt.Axis(labelAngle=0, labelExpr=_WRAP)
    )
    return _finished(name, title, rows, series, axes, mark, x, joined=False)


def scale_chart(name: str, title: str, points: Sequence[Point], axes: Axes, mark: str) -> Chart | None:
    """Estimates with a band of limits over a scale, joined by a line; None where no point has an estimate.

    Args:
        name: of the chart's files.
        title: above it.
        points: their x are numbers.
        axes: titles, range, line to compare with.
        mark: what the data are.
    """
    import altair as alt

    known = [p for p in points if p.estimate is not None]
    if not known:
        return None
    rows = [asdict(p) | {"flag": p.flag or ""} for p in known]
    series = list(dict.fromkeys(p.series for p in known))
    return _finished(name, title, rows, series, axes, mark, alt.X("x:Q", title=axes.x), joined=True)


#: A tick of two lines: the level, then what was counted.
_WRAP = "split(datum.label, '|')"


def _tick(level: str, points: Sequence[Point]) -> str:
    counted = sorted({p.n for p in points if p.n is not None})
    some = f"n {counted[0]}" if len(counted) == 1 else f"n {counted[0]}–{counted[-1]}" if counted else "n 0"
    return f"{level}|{some}"


def _finished(
    name: str,
    title: str,
    rows: Sequence[dict[str, Any]],
    series: Sequence[str],
    axes: Axes,
    mark: str,
    x: Any,
    joined: bool,
) -> Chart:
    """Layers of limits, marks and the line to compare with, in panels where points have some."""
    import altair as alt

    y = alt.Y(
        "estimate:Q", title=axes.y, scale=alt.Scale(domain=list(axes.range)) if axes.range else alt.Scale(zero=False)
    )
    colour = alt.Color("series:N", title=None, scale=alt.Scale(domain=list(series), range=list(COLOURS)[: len(series)]))
    aside = {} if joined else {"xOffset": alt.XOffset("series:N", sort=list(series))}
    said = [alt.Tooltip(f"{c}:{t}", title=n) for c, t, n in _SAID]
    base = alt.Chart(alt.InlineData(values=list(rows)))
    limits: Any = base.mark_area(opacity=0.18) if joined else base.mark_rule(strokeWidth=1.6)
    layers: list[Any] = [limits.encode(x=x, y="low:Q", y2="high:Q", color=colour, **aside)]
    if joined:
        layers.append(base.mark_line(strokeWidth=1.4).encode(x=x, y=y, color=colour))
    marks = base.mark_point(size=55, strokeWidth=1.6, filled=True, opacity=1)
    fill = alt.condition("datum.flag == ''", colour, alt.value("white"))
    layers.append(marks.encode(x=x, y=y, stroke=colour, fill=fill, tooltip=said, **aside))
    if axes.reference is not None:
        rule = alt.Chart(alt.InlineData(values=[{"at": axes.reference}])).mark_rule(strokeDash=[4, 4], color="#475569")
        layers.insert(0, rule.encode(y="at:Q"))
    panels = list(dict.fromkeys(r["panel"] for r in rows))
    drawn: Any = alt.layer(*layers, data=alt.InlineData(values=list(rows))).properties(width=WIDTH, height=HEIGHT)
    if len(panels) > 1:
        drawn = drawn.facet(facet=alt.Facet("panel:N", title=None, sort=panels), columns=2)
    heading = alt.TitleParams(title, subtitle=[mark], subtitleColor="#b91c1c", anchor="start")
    spec = drawn.properties(title=heading, background="white").to_dict()
    return Chart(name, title, _in_words(title, rows), spec)


_SAID = (
    ("series", "N", "series"),
    ("x", "N", "level"),
    ("estimate", "Q", "estimate"),
    ("low", "Q", "lower limit"),
    ("high", "Q", "upper limit"),
    ("n", "Q", "n"),
    ("flag", "N", "note"),
)


def _in_words(title: str, rows: Sequence[dict[str, Any]]) -> str:
    said = [f"{r['series']} at {str(r['x']).replace('|', ', ')}: {r['estimate']:.3g}" for r in rows[:12]]
    more = f"; and {len(rows) - 12} more" if len(rows) > 12 else ""
    return f"{title}. {'; '.join(said)}{more}."
