"""Charts for notebooks as Altair objects: the map of nodules, balance of a trial, estimates with limits.

Altair is imported when a chart is drawn. Every chart says in its title what its data are.
"""

from typing import Any

import polars as pl

from itrialspace_assets.base.nearest import not_found
from itrialspace_assets.records.provenance import mark_of

#: Size of a chart in pixels; ours.
_WIDTH, _HEIGHT = 560, 360
#: Data go by a name: Altair refuses more than 5000 rows in any other way.
_ROWS = "rows"
_SHOWN = ("nodule_uid", "dataset", "label", "reinsertion_lobe", "reinsertion_nodule_diam_mm")


def nodule_map(points: pl.DataFrame, nodules: pl.DataFrame, color: str, anatomy: str) -> Any:
    """Nodules on their two principal components.

    Args:
        points: rows of ``nodule_map``.
        nodules: rows of ``nodules``.
        color: column of ``nodules``.
        anatomy: real or procedural.

    Raises:
        NotFound: no such column.
    """
    import altair as alt

    if color not in nodules.columns:
        raise not_found("column", color, nodules.columns)
    shown = list(dict.fromkeys((*_SHOWN, color)))
    rows = points.select("nodule_uid", "x", "y").join(nodules.select(shown), on="nodule_uid")
    # label is a number by type and a class by meaning
    scale = color != "label" and nodules.schema[color].is_numeric()
    colours = alt.Scale(scheme="viridis" if scale else "tableau10")
    chart = (
        alt.Chart(alt.NamedData(name=_ROWS))
        .mark_circle(size=26, opacity=0.65)
        .encode(
            x=alt.X("x:Q", title="first principal component"),
            y=alt.Y("y:Q", title="second principal component"),
            color=alt.Color(f"{color}:{'Q' if scale else 'N'}", title=color, scale=colours),
            tooltip=[alt.Tooltip(f"{name}:{'Q' if nodules.schema[name].is_float() else 'N'}") for name in shown],
        )
        .properties(width=_WIDTH, height=_HEIGHT, title=_title(f"{rows.height} nodules", anatomy))
    )
    return _with_rows(chart, rows)


def balance(rows: pl.DataFrame, mode: str, anatomy: str) -> Any:
    """Share asked (line) and got (bar) of each level of the marginals that the trial asks for, else of all.

    Args:
        rows: of ``balance``.
        mode: the trial.
        anatomy: real or procedural.
    """
    import altair as alt

    rows = rows.filter(pl.col("got_share").is_not_null())
    asked_for = set(rows.filter(pl.col("asked_share").is_not_null())["marginal"])
    known = rows.filter(pl.col("marginal").is_in(asked_for)) if asked_for else rows
    base = alt.Chart(alt.NamedData(name=_ROWS)).encode(y=alt.Y("level:N", title=None, sort=None))
    tips = [alt.Tooltip("arm:N"), alt.Tooltip("asked_share:Q", format=".3f"), alt.Tooltip("got_share:Q", format=".3f")]
    got = base.mark_bar(color="#56B4E9").encode(
        x=alt.X("got_share:Q", title="share (bar: got, line: asked)"), tooltip=tips
    )
    asked = base.mark_tick(color="#000000", thickness=2).encode(x="asked_share:Q")
    chart = (
        alt.layer(got, asked)
        .properties(width=180)
        .facet(row=alt.Row("marginal:N", title=None), column=alt.Column("arm:N", title=None))
        .resolve_scale(y="independent")
        .properties(title=_title(f"{mode}: what was asked and what was planned", anatomy))
    )
    return _with_rows(chart, known)


def estimates(rows: pl.DataFrame, x: str, color: str, anatomy: str) -> Any:
    """Estimates with their limits; flagged ones are hollow.

    Args:
        rows: of ``metrics``.
        x: column along x.
        color: column that has one colour.
        anatomy: real or procedural.

    Raises:
        NotFound: no such column.
    """
    import altair as alt

    for column in (x, color):
        if column not in rows.columns:
            raise not_found("column", column, rows.columns)
    known = rows.filter(pl.col("estimate").is_not_null())
    names = [
        c for c in ("source", "reader", "condition", "stratum", "metric", "flag", "n_slices") if c in known.columns
    ]
    beside = alt.XOffset(f"{color}:N")
    base = alt.Chart(alt.NamedData(name=_ROWS)).encode(
        x=alt.X(f"{x}:N", title=x, sort=None), xOffset=beside, color=alt.Color(f"{color}:N", title=color)
    )
    limits = base.mark_rule().encode(y=alt.Y("low:Q", title="estimate"), y2="high:Q")
    marks = base.mark_point(size=60).encode(
        y=alt.Y("estimate:Q"),
        fill=alt.condition("datum.flag === null", alt.Color(f"{color}:N", legend=None), alt.value("white")),
        tooltip=[
            *(alt.Tooltip(f"{c}:Q", format=".3f") for c in ("estimate", "low", "high")),
            *(alt.Tooltip(f"{c}:N") for c in names),
        ],
    )
    sources = ", ".join(sorted(set(known["source"]))) or "nothing"
    chart = alt.layer(limits, marks).properties(
        width=_WIDTH, height=_HEIGHT, title=alt.Title("Estimates with limits", subtitle=mark_of(anatomy, sources))
    )
    return _with_rows(chart, known)


def _title(text: str, anatomy: str) -> Any:
    import altair as alt

    return alt.Title(text, subtitle="PROCEDURAL anatomy, no real people" if anatomy == "procedural" else "real anatomy")


def _with_rows(chart: Any, rows: pl.DataFrame) -> Any:
    chart.datasets = {_ROWS: rows.to_dicts()}
    return chart
