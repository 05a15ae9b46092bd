"""Charts of estimates as Vega-Lite specifications. Each carries what its data are.

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
_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
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
        k: successes, where the estimate is a share.
    """

    x: str | float
    series: str
    estimate: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    flag: str | None = None
    panel: str = ""
    k: int | None = None


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
    known = [p for p in points if p.estimate is not None]
    if not known:
        return None
    ticks = {level: _tick(level, [p for p in points if p.x == level]) for level in levels}
    x = {
        "field": "x",
        "type": "nominal",
        "title": axes.x,
        "scale": {"domain": list(ticks.values())},
        "axis": {"labelAngle": 0, "labelExpr": _WRAP, "labelLimit": 0},
    }
    rows = [_row(p, ticks[str(p.x)]) for p in known]
    offset = {"xOffset": {"field": "series", "scale": {"domain": _series(known)}}}
    spec = _marks(known, axes, {"x": x} | offset, max(WIDTH, LEVEL * len(levels)), joined=False)
    return _chart(name, title, mark, rows, spec)


def scale_chart(name: str, title: str, points: Sequence[Point], axes: Axes, mark: str) -> Chart | None:
    """Estimates with a band of limits over a scale, joined by a line; None where no point has an estimate.

    Args:
        name: of the chart's files.
        title: above it.
        points: their x are numbers.
        axes: titles, range, line to compare with.
        mark: what the data are.
    """
    known = [p for p in points if p.estimate is not None]
    if not known:
        return None
    scale = {"scale": {"type": "log", "base": 2, "nice": False}} if axes.is_log else {}
    x = {"field": "x", "type": "quantitative", "title": axes.x} | scale
    return _chart(name, title, mark, [_row(p, p.x) for p in known], _marks(known, axes, {"x": x}, WIDTH, joined=True))


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
    columns = [f for f in fields if not (estimated and f in ("low", "high", "k", "n", "flag"))]
    cells = tuple(tuple(_cell(row, f, estimated) for f in columns) for row in rows)
    return Table(f"numbers of {chart.name}", tuple(_NAMES.get(f, f) for f in columns), cells)


_NAMES = {"x": "level"}


def _cell(row: dict[str, Any], field: str, estimated: bool) -> Value:
    value = row.get(field)
    if estimated and field == "estimate":
        return Estimate(value, row.get("low"), row.get("high"), row.get("k"), row.get("n"), row.get("flag") or None)
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


#: Characters of a reason that fits under a tick.
_SHORT = 16
#: Lines of a tick: the level, then what was counted.
_WRAP = "split(datum.label, '|')"


def _tick(level: str, points: Sequence[Point]) -> str:
    """A level with what was counted there; without an estimate, the reason if it is one and short."""
    known = [p for p in points if p.estimate is not None]
    if not known:
        flags = {p.flag for p in points}
        why = flags.pop() if len(flags) == 1 else None
        return f"{level}|{why if why and len(why) <= _SHORT else 'no estimate'}"
    counted = sorted({p.n for p in known if p.n is not None})
    if not counted:
        return level
    return f"{level}|n {counted[0]}" if len(counted) == 1 else f"{level}|n {counted[0]}–{counted[-1]}"


def _row(point: Point, x: str | float) -> dict[str, Any]:
    row = {"x": x, "series": point.series, "estimate": point.estimate, "low": point.low, "high": point.high}
    flag = f"; {point.flag}" if point.flag else ""
    limits = f", limits {point.low:.3g} to {point.high:.3g}" if None not in (point.low, point.high) else ""
    counted = "" if point.n is None else f", n {point.n}" if point.k is None else f", {point.k} of {point.n}"
    place = f"{point.panel}, {point.series}" if point.panel else point.series
    said = f"{place}, {str(point.x).replace('|', ' ')}: {point.estimate:.3g}{limits}{counted}{flag}"
    return row | {"k": point.k, "n": point.n, "flag": point.flag or "", "panel": point.panel, "said": said}


def _marks(points: Sequence[Point], axes: Axes, across: dict[str, Any], width: int, joined: bool) -> dict[str, Any]:
    """Layers of limits, marks and the line to compare with, in panels where points have some.

    Args:
        points: those with an estimate.
        axes: titles, range, line to compare with.
        across: the channels along x.
        width: of a frame in pixels.
        joined: whether marks are joined by a line, and limits are a band.
    """
    series = _series(points)
    scale = {"domain": list(axes.range)} if axes.range else {"zero": False}
    y = {"field": "estimate", "type": "quantitative", "title": axes.y, "scale": scale}
    low, high = {"field": "low", "type": "quantitative"}, {"field": "high"}
    legend = {"orient": "bottom", "columns": 3, "labelLimit": 0} if len(series) > 1 else None
    colour, shape = (
        {
            "field": "series",
            "type": "nominal",
            "title": None,
            "legend": legend,
            "scale": {"domain": series, "range": [values[i % len(values)] for i in range(len(series))]},
        }
        for values in (COLOURS, SHAPES)
    )
    limits = {"type": "area", "opacity": 0.18} if joined else {"type": "rule", "strokeWidth": 1.6}
    layer: list[dict[str, Any]] = []
    if axes.reference is not None:
        rule = {"type": "rule", "strokeDash": [4, 4], "color": "#475569", "aria": False}
        layer.append({"mark": rule, "encoding": {"y": {"datum": axes.reference}}})
    if any(p.low is not None for p in points):  # else Vega warns of a scale without ends
        layer.append({"mark": limits | {"aria": False}, "encoding": across | {"y": low, "y2": high, "color": colour}})
    if joined:
        line = {"type": "line", "strokeWidth": 1.4, "aria": False}
        layer.append({"mark": line, "encoding": across | {"y": y, "color": colour}})
    hollow = {"condition": {"test": "datum.flag == ''"} | colour, "value": "white"}
    said = [{"field": field, "title": name} for field, name in _SAID]
    shown = {
        "y": y,
        "shape": shape,
        "stroke": colour,
        "fill": hollow,
        "tooltip": said,
        "description": {"field": "said"},
    }
    point = {"type": "point", "size": 60, "strokeWidth": 1.8, "filled": True, "opacity": 1}
    layer.append({"mark": point, "encoding": across | shown})
    frame = {"width": width, "height": HEIGHT, "layer": layer}
    panels = list(dict.fromkeys(p.panel for p in points))
    if len(panels) == 1:
        return frame
    facet = {"field": "panel", "type": "nominal", "title": None, "sort": panels}
    return {"facet": facet, "columns": 2, "spec": frame}


def _chart(name: str, title: str, mark: str, rows: list[dict[str, Any]], spec: dict[str, Any]) -> Chart:
    heading = {
        "text": textwrap.wrap(title, _LINE),
        "subtitle": textwrap.wrap(mark, _LINE),
        "subtitleColor": "#991b1b",
        "anchor": "start",
    }
    top = {"$schema": _SCHEMA, "title": heading, "background": "white", "data": {"values": rows}}
    return Chart(name, title, _in_words(title, rows), top | spec)


def _series(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(p.series for p in points))


_SAID = (
    ("series", "series"),
    ("x", "level"),
    ("estimate", "estimate"),
    ("low", "lower limit"),
    ("high", "upper limit"),
    ("k", "k"),
    ("n", "n"),
    ("flag", "note"),
)


def _in_words(title: str, rows: Sequence[dict[str, Any]]) -> str:
    more = f"; and {len(rows) - 6} more" if len(rows) > 6 else ""
    return f"{title}. {'; '.join(r['said'] for r in rows[:6])}{more}."
