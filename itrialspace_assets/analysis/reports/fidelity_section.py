"""Section of the study's report: how far rendered CTs and lesions lie from real ones, beside the real floor.

Reads ``fidelity`` and ``nodule_fidelity``; measures nothing.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl

from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.reports.charts import COLOURS, WIDTH
from itrialspace_assets.analysis.reports.document import (
    Block,
    Chart,
    Estimate,
    Paragraph,
    ReportStanding,
    Section,
    Table,
)
from itrialspace_assets.analysis.reports.part import Part
from itrialspace_assets.analysis.scoring.nodule_likeness import nodule_likeness
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.records.provenance import mark_of
from itrialspace_assets.records.store import read_all

HEADING = "Fidelity of rendered CTs"
_KINDS = {"real_to_synthetic": "rendered to real", "real_to_real": "real to real"}
_NOT_FID = "Measured with a descriptor that needs no weights: not FID, and not to be compared with published FID."


def fidelity_part(settings: Settings, study: Study, standing: ReportStanding = "exploratory") -> Part:
    """The section; without a distance it says why and holds no number.

    Args:
        settings: where tables lie.
        study: alpha, clusters.
        standing: whether the study file declares the comparison.
    """
    rows = read_all(settings.output, "fidelity").filter(pl.col("plane") == "average")
    known = rows.filter(pl.col("value").is_not_null()).sort(
        "kind", "reference", "compared", descending=[True, *[False] * 2]
    )
    if known.is_empty():
        why = rows["note"].drop_nulls().unique().sort().to_list() or ["no rendered image and no real CT to compare"]
        return Part([], [Section(HEADING, tuple(Paragraph(f"{text}.", "note") for text in why), "context")])
    name = known["metric"][0]
    blocks: list[Block] = [
        Paragraph(
            "Fréchet distance of features of slices, mean of three planes; smaller is more alike. A distance grows as "
            "images get fewer, so each is also taken at one number of images a side, and beside it stands how far two "
            "halves of the same real set lie apart at that number: no rendered set can be asked to lie closer. Limits "
            "are of resampled scans."
        )
    ]
    if name == "descriptor_distance":
        blocks.append(Paragraph(_NOT_FID, "warning"))
    flags = known["flag"].drop_nulls().unique().sort().to_list()
    blocks += [Paragraph(f"{text}.", "warning") for text in flags]
    chart = floor_chart(known.to_dicts(), name, "; ".join(_marks(settings, known)))
    blocks += [chart] if chart else []
    blocks.append(_distances(known))
    blocks.append(_nodules(settings, study))
    return Part([], [Section(HEADING, tuple(blocks), standing)])


def _marks(settings: Settings, rows: pl.DataFrame) -> list[str]:
    sources = {name.split("/")[0] for name in (*rows["reference"], *rows["compared"])}
    return [mark_of(settings.anatomy, source) for source in sorted(sources)]


def _distances(rows: pl.DataFrame) -> Table:
    columns = ("reference", "compared", "distance, all images", "images", "distance, equal images", "images a side")
    lines = tuple(
        (
            r["reference"],
            r["compared"],
            round(r["value"], 4),
            f"{r['images_reference']} and {r['images_compared']}",
            _estimate(r, "matched", "low", "high"),
            r["images_matched"],
            _estimate(r, "floor", "floor_low", "floor_high"),
            _place(r),
        )
        for r in rows.iter_rows(named=True)
    )
    note = "Floor: two halves of the reference at the same number of images, and where 95 of 100 such distances lie."
    return Table("fidelity", (*columns, "floor", "against the floor"), lines, note)


def _estimate(row: dict[str, Any], value: str, low: str, high: str) -> Estimate:
    """Columns of a row of ``fidelity`` as one number with limits.

    Args:
        row: the row.
        value: column of the value.
        low: of its lower limit.
        high: of its upper limit.
    """
    numbers = (None if row[c] is None else round(row[c], 4) for c in (value, low, high))
    return Estimate(*numbers, n=row["images_matched"], flag=row["flag"])  # type: ignore[misc]


def _place(row: dict[str, Any]) -> str | None:
    """Where a distance with its limits lies beside the band of the floor."""
    if row["matched"] is None:
        return None
    if row["low"] > row["floor_high"]:
        return "above the floor"
    return "within the floor" if row["high"] <= row["floor_high"] else "not told apart from the floor"


def floor_chart(rows: Sequence[dict[str, Any]], metric: str, mark: str) -> Chart | None:
    """Distances at equal numbers of images with limits, each over the band of its own floor; None without one.

    Args:
        rows: of ``fidelity``, mean over planes.
        metric: what the distance is called.
        mark: what the data are.
    """
    import altair as alt

    known = [
        {c: r[c] for c in ("matched", "low", "high", "floor", "floor_low", "floor_high", "images_matched")}
        | {"kind": _KINDS[r["kind"]]}
        | {"pair": f"{r['compared']} | to {r['reference']}, n {r['images_matched']}", "flag": r["flag"] or ""}
        for r in rows
        if r["matched"] is not None
    ]
    if not known:
        return None
    title = f"{metric.replace('_', ' ').capitalize() if metric != 'fid' else 'FID'} beside the real floor"
    data = alt.Chart(alt.InlineData(values=known))
    order = [r["pair"] for r in known]
    y = alt.Y("pair:N", sort=order, title=None, axis=alt.Axis(labelExpr="split(datum.label, ' | ')", labelLimit=320))
    x_title = "distance (band: two halves of the real set)"
    kinds = list(_KINDS.values())
    colour = alt.Color("kind:N", title=None, scale=alt.Scale(domain=kinds, range=[COLOURS[1], COLOURS[0]]))
    band: Any = data.mark_bar(color="#475569", opacity=0.22, height=16).encode(
        y=y, x=alt.X("floor_low:Q", title=x_title, scale=alt.Scale(zero=True)), x2="floor_high:Q"
    )
    middle: Any = data.mark_tick(color="#475569", thickness=2).encode(y=y, x=alt.X("floor:Q", title=x_title))
    limits: Any = data.mark_rule(strokeWidth=1.6).encode(
        y=y, x=alt.X("low:Q", title=x_title), x2="high:Q", color=colour
    )
    said = [
        alt.Tooltip(f"{c}:{t}")
        for c, t in (("pair", "N"), ("matched", "Q"), ("low", "Q"), ("high", "Q"), ("flag", "N"))
    ]
    marks: Any = data.mark_point(size=60, strokeWidth=1.6, filled=True, opacity=1).encode(
        y=y,
        x=alt.X("matched:Q", title=x_title),
        stroke=colour,
        fill=alt.condition("datum.flag == ''", colour, alt.value("white")),
        tooltip=said,
    )
    heading = alt.TitleParams(title, subtitle=[mark], subtitleColor="#b91c1c", anchor="start")
    spec = alt.layer(band, middle, limits, marks).properties(width=WIDTH, height=alt.Step(34), title=heading)
    words = [f"{r['pair'].replace(' | ', ' ')}: {r['matched']:.3g}, floor {r['floor']:.3g}" for r in known[:12]]
    more = f"; and {len(known) - 12} more" if len(known) > 12 else ""
    return Chart(
        "fidelity", title, f"{title}. {'; '.join(words)}{more}.", spec.properties(background="white").to_dict()
    )


def _nodules(settings: Settings, study: Study) -> Table:
    """Rendered lesions by density beside the nodules that they were made from."""
    rows = nodule_likeness(read_all(settings.output, "nodule_fidelity"), study)
    columns = ("renderer", "rendered as", "measure", "rendered", "real", "in common, or rendered less real", "left out")
    lines = tuple(
        (
            r.source,
            r.attenuation,
            r.measure,
            r.rendered,
            r.real,
            Estimate(r.value, r.low, r.high, n=r.n, flag=r.flag),
            r.without,
        )
        for r in rows
    )
    note = (
        "Each rendered lesion beside its own donor nodule in the donor's real CT, by the density that the trial asks "
        "for; how dense real nodules are is declared in no table. Left out: lesions whose donor's CT is not in the "
        "data root, or with too few voxels. Histograms of few voxels share less than 1 by chance alone."
    )
    return Table("nodule_fidelity", columns, lines, note)
