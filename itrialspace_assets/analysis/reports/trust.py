"""Does each reader look at the picture? Shares of answers that stay the same under controls, and what follows.

A reader relies on the picture if its answers change once the picture is gone; it is stable if they stay when the same
question is asked in another way. Both are called only where the interval lies on one side of a declared share
(docs/facts/evaluation.md#reader-trust). Answers that change by themselves also change without the picture, so for a
reader that is not stable the first says little.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.reports.charts import COLOURS, HEIGHT, WIDTH
from itrialspace_assets.analysis.reports.document import (
    Block,
    Chart,
    Estimate,
    Paragraph,
    ReportStanding,
    Section,
    Table,
    Value,
)
from itrialspace_assets.analysis.reports.part import Part
from itrialspace_assets.analysis.scoring.controls import CONTROLS, Control
from itrialspace_assets.analysis.scoring.rows import MetricRow

#: Whether something holds: the interval says so, says not so, leaves it open, or nothing was read.
TrustVerdict = Literal["yes", "no", "open", "not read"]
_TURN_ON = (
    "Cut control pictures with ITRIALSPACE_CONTROLS=blank,box_only,contralateral_box; let a reader that takes words be "
    "asked in other ways with controls: [text_only, options_rotated, prompt_paraphrase] in its entry of readers.yaml. "
    "Then run again, with another split (ITRIALSPACE_SPLIT) where the lists are frozen already."
)
_ABOUT = (
    "Share of answers that stay the same when the picture is taken away, replaced by the box alone, shown with the box "
    "on the other side, or when the same question is asked with the options in another order or in other words. "
    "A refusal is a changed answer and is also counted in its own column. Slices that were answered in both ways."
)


@dataclass(frozen=True)
class Thresholds:
    """Shares of unchanged answers above which a reader is called indifferent to the picture, or stable (ours)."""

    indifferent: float = 0.9
    stable: float = 0.9


@dataclass(frozen=True)
class Reading:
    """What the controls say of one reader in one task, under the plain condition.

    Attributes:
        source: image source.
        reader: name of the reader.
        task: the task.
        without: share unchanged without the picture: on a blank one or, where none was read, by the text alone.
        same: the least share unchanged among the ways of asking the same question that were read.
        relies: whether answers depend on the picture.
        stable: whether they stay when the same question is asked in another way.
    """

    source: str
    reader: str
    task: str
    without: MetricRow | None
    same: MetricRow | None
    relies: TrustVerdict
    stable: TrustVerdict


@dataclass(frozen=True)
class TrustFlag:
    """Why a reader's accuracy in a task should not be read as seeing; shown beside the accuracy."""

    source: str
    reader: str
    task: str
    text: str


@dataclass(frozen=True)
class TrustFlags:
    """All flags of a report."""

    flags: tuple[TrustFlag, ...]

    def of(self, source: str, reader: str, task: str) -> str | None:
        """What is to be said beside the numbers of a reader in a task; None: nothing.

        Args:
            source: image source.
            reader: name of the reader.
            task: the task.
        """
        said = [f.text for f in self.flags if (f.source, f.reader, f.task) == (source, reader, task)]
        return "; ".join(said) or None


def readings(rows: Sequence[MetricRow], study: Study, thresholds: Thresholds = Thresholds()) -> list[Reading]:
    """What the controls say of each source, reader and task that was read under any.

    Args:
        rows: of ``scoring.controls.control_rows``.
        study: from how many clusters on an interval is used.
        thresholds: shares above which a reader is called indifferent, or stable.
    """
    plain = {(r.source, r.reader, r.task, r.metric): r for r in rows if r.condition == "plain"}
    found = []
    for source, reader, task in dict.fromkeys((r.source, r.reader, r.task) for r in rows):
        of = {c: plain.get((source, reader, task, f"unchanged_{c.name}")) for c in CONTROLS}
        without = [r for c, r in of.items() if c.kind == "no picture" and r is not None and r.estimate is not None]
        ways = [r for c, r in of.items() if c.kind == "same question" and r is not None and r.estimate is not None]
        gone = _above(without[0], thresholds.indifferent, study) if without else "not read"
        each = [_above(r, thresholds.stable, study) for r in ways]
        stable: TrustVerdict = (
            "not read" if not each else "no" if "no" in each else "yes" if set(each) == {"yes"} else "open"
        )
        relies: TrustVerdict = "no" if gone == "yes" else "yes" if gone == "no" else gone
        least = min(ways, key=lambda r: r.estimate or 0.0, default=None)
        found.append(Reading(source, reader, task, without[0] if without else None, least, relies, stable))
    return found


def _above(row: MetricRow, share: float, study: Study) -> TrustVerdict:
    """Whether a share lies above another one, by its interval; open where there is none that can be used."""
    few = row.flag is not None and f"fewer than {study.min_clusters} clusters" in row.flag
    if row.low is None or row.high is None or few:
        return "open"
    return "yes" if row.low >= share else "no" if row.high < share else "open"


def trust_flags(rows: Sequence[MetricRow], study: Study, thresholds: Thresholds = Thresholds()) -> TrustFlags:
    """What must stand beside the accuracy of a reader whose answers do not depend on the picture.

    Args:
        rows: of ``scoring.controls.control_rows``.
        study: from how many clusters on an interval is used.
        thresholds: shares above which a reader is called indifferent, or stable.
    """
    return TrustFlags(tuple(_flags(rows, study, thresholds)))


def _flags(rows: Sequence[MetricRow], study: Study, thresholds: Thresholds) -> Iterator[TrustFlag]:
    for one in readings(rows, study, thresholds):
        if one.relies == "no" and one.without is not None:
            text = f"answers do not depend on the picture: {_counted(one.without)} stay the same without it"
            yield TrustFlag(one.source, one.reader, one.task, text)
    for row in rows:
        if row.metric == "unchanged_box_only" and _above(row, thresholds.indifferent, study) == "yes":
            text = (
                f"under {row.condition}, answers come from the guidance: {_counted(row)} stay the same without anatomy"
            )
            yield TrustFlag(row.source, row.reader, row.task, text)


def _counted(row: MetricRow) -> str:
    return f"{row.k} of {row.n_slices} ({row.estimate:.0%}, interval {row.low:.0%} to {row.high:.0%})"


def flagged(rows: Sequence[MetricRow], study: Study) -> list[MetricRow]:
    """Rows of a report; every number of a reader whose answers do not depend on the picture says so in its flag.

    Args:
        rows: all of a report, those of ``scoring.controls.control_rows`` among them.
        study: from how many clusters on an interval is used.
    """
    trust = trust_flags([r for r in rows if r.metric.startswith(("unchanged_", "refused_"))], study)
    if not trust.flags:
        return list(rows)
    found = []
    for row in rows:
        said = trust.of(row.source, row.reader, row.task)
        found.append(row if said is None else replace(row, flag="; ".join(filter(None, (row.flag, said)))))
    return found


def trust_part(
    rows: list[MetricRow],
    study: Study,
    mark: str,
    thresholds: Thresholds = Thresholds(),
    standing: ReportStanding = "exploratory",
) -> Part:
    """Rows of ``metrics`` and the section that shows them; without any row the section says how to get some.

    Args:
        rows: of ``scoring.controls.control_rows``.
        study: from how many clusters on an interval is used.
        mark: what the data are.
        thresholds: shares above which a reader is called indifferent, or stable; from the study file where it has them.
        standing: what the section is to the study.
    """
    heading = "Do readers look at the picture?"
    if not rows:
        nothing = Paragraph(f"No answer under a control was read, so this is not known. {_TURN_ON}", "warning")
        return Part([], [Section(heading, (nothing,), standing)])
    found = readings(rows, study, thresholds)
    blocks: list[Block] = [Paragraph(_ABOUT)]
    blocks += [
        Paragraph(f"{flag.reader} on {flag.source}, {flag.task}: {flag.text}.", "warning")
        for flag in trust_flags(rows, study, thresholds).flags
    ]
    blocks += [_quadrants(found, thresholds), _shares(rows)]
    chart = _chart(found, thresholds, mark)
    if chart is not None:
        blocks.insert(-1, chart)
    if missing := [c.name for c in CONTROLS if not any(r.metric == f"unchanged_{c.name}" for r in rows)]:
        blocks.append(Paragraph(f"Not read: {', '.join(missing)}. {_TURN_ON}", "note"))
    return Part(rows, [Section(heading, tuple(blocks), standing)])


def _quadrants(found: Sequence[Reading], thresholds: Thresholds) -> Table:
    rows: list[tuple[Value, ...]] = [
        (r.source, r.reader, r.task, _shown(r.without), _shown(r.same), *_said(r)) for r in found
    ]
    note = (
        f"Without the picture: on a blank one or, where none was read, by the text alone. Called independent of the "
        f"picture where the interval lies at or above {thresholds.indifferent:.0%}, dependent where it lies below; "
        f"stable where the intervals of every way of asking the same question lie at or above {thresholds.stable:.0%}, "
        "unstable where one lies below; else open. Thresholds are ours."
    )
    columns = ("source", "reader", "task", "unchanged without the picture", "unchanged when asked in another way")
    return Table("reader_trust", (*columns, "depends on the picture", "stable", "so"), tuple(rows), note)


#: What follows from both verdicts: (depends on the picture, stable) -> words.
_SO = {
    ("yes", "yes"): "looks at the picture, and answers alike when asked alike",
    ("no", "yes"): "answers alike with and without the picture",
    ("no", "no"): "does not need the picture, but the words of the question",
    ("yes", "no"): "answers change by themselves: that they change without the picture says little",
}


def _said(of: Reading) -> tuple[str, str, str]:
    if (of.relies, of.stable) in _SO:
        return of.relies, of.stable, _SO[of.relies, of.stable]
    if of.relies == "no":
        return of.relies, of.stable, "answers do not depend on the picture"
    return of.relies, of.stable, "not decided: too few persons, or a control was not read"


def _shares(rows: Sequence[MetricRow]) -> Table:
    refused = {(r.source, r.reader, r.task, r.condition, r.metric): r for r in rows}
    of = {f"unchanged_{c.name}": c for c in CONTROLS}
    shown: list[tuple[Value, ...]] = []
    for r in rows:
        if r.metric in of:
            control: Control = of[r.metric]
            other = refused.get((r.source, r.reader, r.task, r.condition, f"refused_{control.name}"))
            shown.append((r.source, r.reader, r.task, r.condition, control.says, _shown(r), _shown(other)))
    columns = ("source", "reader", "task", "condition", "shown or asked instead", "unchanged", "refused or no option")
    return Table(
        "controls", columns, tuple(shown), "95 % intervals are clustered by host and donor persons.", folded=True
    )


def _shown(row: MetricRow | None) -> Estimate | None:
    return None if row is None else Estimate(row.estimate, row.low, row.high, row.k, row.n_slices, row.flag)


def _chart(found: Sequence[Reading], thresholds: Thresholds, mark: str) -> Chart | None:
    """Readers by stability (x) and dependence on the picture (y) with limits; None where no reader has both.

    Args:
        found: what the controls say.
        thresholds: where the lines stand.
        mark: what the data are.
    """
    import altair as alt

    rows = [_point(r, r.same, r.without) for r in found if r.same is not None and r.without is not None]
    rows = [r for r in rows if r["x"] is not None and r["y"] is not None]
    if not rows:
        return None
    title = "Readers by what their answers depend on"
    data = alt.InlineData(values=rows)
    series = list(dict.fromkeys(str(r["reader"]) for r in rows))
    unit = alt.Scale(domain=[0, 1])
    x = alt.X("x:Q", scale=unit, title="unchanged when asked in another way (stable →)")
    y = alt.Y("y:Q", scale=unit, title="changed without the picture (depends on it →)")
    colour = alt.Color("reader:N", title=None, scale=alt.Scale(domain=series, range=list(COLOURS)[: len(series)]))
    base = alt.Chart(data)
    lines = alt.Chart(alt.InlineData(values=[{"x": thresholds.stable, "y": 1 - thresholds.indifferent}]))
    rule: dict[str, Any] = {"strokeDash": [4, 4], "color": "#475569"}
    said = [alt.Tooltip(f"{c}:N") for c in ("reader", "source", "task", "stable", "depends")]
    fill = alt.condition("datum.hollow", alt.value("white"), colour)
    several = len({r["source"] for r in rows}) > 1
    shape: dict[str, Any] = {"shape": alt.Shape("source:N", title=None)} if several else {}
    layers = [
        lines.mark_rule(**rule).encode(x="x:Q"),
        lines.mark_rule(**rule).encode(y="y:Q"),
        base.mark_rule(strokeWidth=1.2).encode(x=alt.X("x_low:Q", scale=unit), x2="x_high:Q", y=y, color=colour),
        base.mark_rule(strokeWidth=1.2).encode(x=x, y=alt.Y("y_low:Q", scale=unit), y2="y_high:Q", color=colour),
        base.mark_point(size=60, filled=True, opacity=1, strokeWidth=1.6).encode(
            x=x, y=y, stroke=colour, fill=fill, tooltip=said, **shape
        ),
    ]
    drawn = alt.layer(*layers, data=data).properties(width=WIDTH, height=HEIGHT)
    panels = list(dict.fromkeys(str(r["task"]) for r in rows))
    faceted = drawn.facet(facet=alt.Facet("task:N", title=None, sort=panels), columns=2)
    heading = alt.TitleParams(title, subtitle=[mark], subtitleColor="#b91c1c", anchor="start")
    words = "; ".join(
        f"{r['reader']} on {r['source']}, {r['task']}: {r['x']:.0%} unchanged when asked in another way, {r['y']:.0%} "
        "changed without the picture"
        for r in rows[:12]
    )
    spec = faceted.properties(title=heading, background="white").to_dict()
    return Chart("reader_trust", title, f"{title}. {words}.", spec)


def _point(of: Reading, same: MetricRow, without: MetricRow) -> dict[str, str | float | bool | None]:
    def turned(value: float | None) -> float | None:
        return None if value is None else 1 - value

    return {
        "reader": of.reader,
        "source": of.source,
        "task": of.task,
        "x": same.estimate,
        "x_low": same.low,
        "x_high": same.high,
        "y": turned(without.estimate),
        "y_low": turned(without.high),
        "y_high": turned(without.low),
        "stable": of.stable,
        "depends": of.relies,
        "hollow": "yes" not in (of.stable, of.relies) and "no" not in (of.stable, of.relies),
    }
