"""Charts of estimates as Vega-Lite specifications, drawn by Altair. Each carries what its data are.

A flagged estimate has a hollow mark; the number counted stands under its tick, or in the words that the mark speaks.
Computes no estimate and writes no file.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from itrialspace_assets.analysis.reports.document import Chart, Estimate, Table, Value

#: Colours of series that stay apart for colour-blind readers: Okabe and Ito 2008, without yellow (too pale on white).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
SHAPES = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "triangle-right")
#: Size of a frame in pixels, and the least width of a level with its tick; ours.
WIDTH, HEIGHT, LEVEL = 440, 260, 66
#: Characters of a line of a title; ours: the width of a frame.
_LINE = 72


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
    """Titles of the axes, the range of y (None: from the data), a line to compare with (chance, no difference), and
    whether x is a scale of doublings."""

    x: str
    y: str
    range: tuple[float, float] | None = (0.0, 1.0)
    reference: float | None = None
    is_log: bool = False


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
    order = list(ticks.values())
    x = alt.X(
        "x:N", scale=alt.Scale(domain=order), title=axes.x, axis=alt.Axis(labelAngle=0, labelExpr=_WRAP, labelLimit=0)
    )
    return _finished(name, title, known, [_row(p, ticks[str(p.x)]) for p in known], axes, mark, x, len(levels))


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
    scale = alt.Scale(type="log", base=2, nice=False) if axes.is_log else alt.Undefined
    x = alt.X("x:Q", title=axes.x, scale=scale)
    return _finished(name, title, known, [_row(p, p.x) for p in known], axes, mark, x, None)


def marks_of(chart: Chart) -> list[str]:
    """Lines of a chart that say what its data are: the subtitle of its specification, unwrapped."""
    title = chart.spec.get("title")
    lines = title.get("subtitle", []) if isinstance(title, dict) else []
    return [" ".join([lines] if isinstance(lines, str) else lines)] if lines else []


def table_of_chart(chart: Chart) -> Table:
    """The numbers of a chart as a table: every field of its data that is not drawn text."""
    rows = _values(chart.spec)
    fields = [f for f in dict.fromkeys(f for row in rows for f in row) if f != "said"]
    fields = [f for f in fields if any(row.get(f) not in (None, "") for row in rows)]
    estimated = "estimate" in fields
    columns = [f for f in fields if not (estimated and f in ("low", "high", "n", "flag"))]
    cells = tuple(tuple(_cell(row, f, estimated) for f in columns) for row in rows)
    return Table(f"numbers of {chart.name}", tuple(_NAMES.get(f, f) for f in columns), cells)


_NAMES = {"x": "level"}


def _cell(row: dict[str, Any], field: str, estimated: bool) -> Value:
    value = row.get(field)
    if estimated and field == "estimate":
        return Estimate(value, row.get("low"), row.get("high"), None, row.get("n"), row.get("flag") or None)
    return value.replace("|", ", ") if isinstance(value, str) else value


def _values(spec: Any) -> list[dict[str, Any]]:
    """The first data of a specification, from the outside inwards."""
    if isinstance(spec, dict):
        data = spec.get("data")
        if isinstance(data, dict) and isinstance(data.get("values"), list):
            return list(data["values"])
        if spec.get("datasets"):
            return list(next(iter(spec["datasets"].values())))
    inner = spec.values() if isinstance(spec, dict) else spec if isinstance(spec, list) else ()
    return next((found for part in inner if (found := _values(part))), [])


#: Lines of a tick: the level, then what was counted.
_WRAP = "split(datum.label, '|')"


def _tick(level: str, points: Sequence[Point]) -> str:
    counted = sorted({p.n for p in points if p.n is not None})
    if not counted:
        return level if points else f"{level}|no estimate"
    return f"{level}|n {counted[0]}" if len(counted) == 1 else f"{level}|n {counted[0]}–{counted[-1]}"


def _row(point: Point, x: str | float) -> dict[str, Any]:
    row = {"x": x, "series": point.series, "estimate": point.estimate, "low": point.low, "high": point.high}
    flag = f"; {point.flag}" if point.flag else ""
    limits = f", limits {point.low:.3g} to {point.high:.3g}" if None not in (point.low, point.high) else ""
    counted = "" if point.n is None else f", n {point.n}"
    place = f"{point.panel}, {point.series}" if point.panel else point.series
    said = f"{place}, {str(point.x).replace('|', ' ')}: {point.estimate:.3g}{limits}{counted}{flag}"
    return row | {"n": point.n, "flag": point.flag or "", "panel": point.panel, "said": said}


def _finished(
    name: str,
    title: str,
    points: Sequence[Point],
    rows: Sequence[dict[str, Any]],
    axes: Axes,
    mark: str,
    x: Any,
    levels: int | None,
) -> Chart:
    """Layers of limits, marks and the line to compare with, in panels where points have some.

    Args:
        name: of the chart's files.
        title: above it.
        points: those with an estimate.
        rows: the same as data.
        axes: titles, range, line to compare with.
        mark: what the data are.
        x: the encoding of x.
        levels: how many there are; None: x is a scale, and marks are joined.
    """
    import altair as alt

    joined, series = levels is None, list(dict.fromkeys(p.series for p in points))
    y = alt.Y(
        "estimate:Q", title=axes.y, scale=alt.Scale(domain=list(axes.range)) if axes.range else alt.Scale(zero=False)
    )
    legend = alt.Legend(orient="bottom", columns=3, labelLimit=0) if len(series) > 1 else None
    colour = alt.Color(
        "series:N", title=None, legend=legend, scale=alt.Scale(domain=series, range=_cycled(COLOURS, len(series)))
    )
    shape = alt.Shape(
        "series:N", title=None, legend=legend, scale=alt.Scale(domain=series, range=_cycled(SHAPES, len(series)))
    )
    aside = {} if joined else {"xOffset": alt.XOffset("series:N", scale=alt.Scale(domain=series))}
    base: Any = alt.Chart(alt.NamedData("rows"))  # put in at the end: altair copies what it holds many times
    limits: Any = base.mark_area(opacity=0.18, aria=False) if joined else base.mark_rule(strokeWidth=1.6, aria=False)
    layers: list[Any] = [limits.encode(x=x, y="low:Q", y2="high:Q", color=colour, **aside)]
    if joined:
        layers.append(base.mark_line(strokeWidth=1.4, aria=False).encode(x=x, y=y, color=colour))
    marks = base.mark_point(size=60, strokeWidth=1.8, filled=True, opacity=1)
    fill = alt.condition("datum.flag == ''", colour, alt.value("white"))
    said = [alt.Tooltip(f"{c}:{t}", title=n) for c, t, n in _SAID]
    words = alt.Description("said:N")
    layers.append(
        marks.encode(x=x, y=y, shape=shape, stroke=colour, fill=fill, tooltip=said, description=words, **aside)
    )
    if axes.reference is not None:
        rule = base.mark_rule(strokeDash=[4, 4], color="#475569", aria=False)
        layers.insert(0, rule.encode(y=alt.datum(axes.reference)))
    width = WIDTH if levels is None else max(WIDTH, LEVEL * levels)
    panels = list(dict.fromkeys(p.panel for p in points))
    drawn: Any = alt.layer(*layers).properties(width=width, height=HEIGHT)
    if len(panels) > 1:
        drawn = drawn.facet(facet=alt.Facet("panel:N", title=None, sort=panels), columns=2)
    heading = alt.TitleParams(
        textwrap.wrap(title, _LINE), subtitle=textwrap.wrap(mark, _LINE), subtitleColor="#991b1b", anchor="start"
    )
    drawn = drawn.properties(title=heading, background="white")
    # to validate takes most of the time of a chart: a test does it
    spec = drawn.to_dict(validate=False) | {"data": {"values": list(rows)}}
    return Chart(name, title, _in_words(title, rows), spec)


def _cycled(values: Sequence[str], count: int) -> list[str]:
    return [values[i % len(values)] for i in range(count)]


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
    more = f"; and {len(rows) - 6} more" if len(rows) > 6 else ""
    return f"{title}. {'; '.join(r['said'] for r in rows[:6])}{more}."
