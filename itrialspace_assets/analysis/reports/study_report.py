"""Builds the study's report: the primary endpoint of all modes and datasets, and the fidelity of rendered CTs."""

import re
from collections.abc import Sequence

import polars as pl

from itrialspace_assets.analysis.protocol.study import Study, changed_since_lock, load_study
from itrialspace_assets.analysis.reports.charts import Axes, Point, levels_chart
from itrialspace_assets.analysis.reports.document import Block, Paragraph, Report, Section, Standing, Table
from itrialspace_assets.analysis.reports.files import write_report
from itrialspace_assets.analysis.reports.headline import endpoint_of
from itrialspace_assets.analysis.reports.metric_tables import estimate_of
from itrialspace_assets.analysis.reports.preamble import data_lines, protocol_lines
from itrialspace_assets.analysis.reports.wording import number
from itrialspace_assets.analysis.scoring.rows import MetricRow
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import Partition, Result
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.provenance import mark_of
from itrialspace_assets.records.store import read_all


def build_study(settings: Settings, partition: Partition) -> Result:
    """One report over all modes and datasets; transfer only where it can be estimated at all."""
    require_data_root(settings)
    study = load_study(settings)
    primary = _primary(settings, study)
    standing: Standing = "exploratory" if changed_since_lock(settings, study) else "primary"
    sections = [
        Section("Primary endpoint by mode and dataset", tuple(_shown(settings, study, primary)), standing),
        _transfer(settings),
        _fidelity(settings),
    ]
    report = Report(
        name="study",
        title=f"Study report: {study.study}",
        question="What was estimated over all modes and datasets?",
        data=data_lines(settings, list(dict.fromkeys(r.source for r in primary))),
        protocol=protocol_lines(settings, study, ()),
        sections=tuple(sections),
    )
    written = write_report(settings.output, report)
    return Result({}, computed=1, picture=written.picture, preview=_preview(primary), files=written.files)


def _primary(settings: Settings, study: Study) -> list[MetricRow]:
    """The primary endpoint over all slices of each mode and dataset, by source, reader and analysis."""
    rows = read_all(settings.output, "metrics").filter(
        pl.col("stratum") == "all",
        pl.col("metric") == study.primary.metric,
        pl.col("task") == study.primary.task,
        pl.col("condition") == study.primary.condition,
    )
    found = [MetricRow(**row) for row in rows.to_dicts()]
    return sorted(found, key=lambda r: (r.source == REAL, r.source, r.reader, r.analysis))


def _shown(settings: Settings, study: Study, rows: Sequence[MetricRow]) -> list[Block]:
    if not rows:
        return [Paragraph("No report of a mode or dataset holds the primary endpoint yet.", "warning")]
    blocks: list[Block] = []
    for source in dict.fromkeys(r.source for r in rows):
        here = [r for r in rows if r.source == source]
        points = [
            Point(_short(r.analysis), r.reader, r.estimate, r.low, r.high, r.n_slices, r.flag, k=r.k) for r in here
        ]
        title = f"{endpoint_of(study)}: {'real datasets' if source == REAL else f'modes rendered by {source}'}"
        axes = Axes(
            "dataset" if source == REAL else "mode",
            "estimate with limits",
            reference=0.5 if study.primary.metric == "auc" else None,
        )
        levels = list(dict.fromkeys(_short(r.analysis) for r in sorted(here, key=lambda r: r.analysis)))
        chart = levels_chart(f"primary_{source}", title, points, levels, axes, mark_of(settings.anatomy, source))
        blocks += [chart] if chart else []
    columns = ("mode or dataset", "source", "reader", "estimate", "negatives", "cases", "hosts", "donors", "unanswered")
    cells = tuple(
        (
            r.analysis,
            r.source,
            r.reader,
            estimate_of(r),
            r.n_negatives,
            r.n_cases,
            r.n_hosts,
            r.n_donors,
            r.n_unanswered,
        )
        for r in rows
    )
    return [
        *_ranges(rows),
        *blocks,
        Table("primary", columns, cells, f"{endpoint_of(study)}, {100 * (1 - study.alpha):g} % limits."),
    ]


def _ranges(rows: Sequence[MetricRow]) -> list[Paragraph]:
    """In words, for each reader and source: how many modes or datasets have an estimate, and from where to where."""
    said = []
    for source, reader in dict.fromkeys((r.source, r.reader) for r in rows):
        here = [r for r in rows if (r.source, r.reader) == (source, reader)]
        known = sorted(r.estimate for r in here if r.estimate is not None)
        what = "datasets" if source == REAL else "modes"
        span = f", from {number(known[0])} to {number(known[-1])}" if known else ""
        flagged = sum(r.estimate is not None and r.flag is not None for r in here)
        held = f"; {flagged} of them flagged" if flagged else ""
        said.append(f"{reader} on {source}: an estimate in {len(known)} of {len(here)} {what}{span}{held}.")
    return [Paragraph(text) for text in said]


def _short(analysis: str) -> str:
    """``m02`` of a published mode, the dataset of real slices; else the whole name."""
    found = re.match(r"m\d\d(?=_)", analysis)
    return found[0] if found else analysis.removeprefix(f"{REAL}-")


def _transfer(settings: Settings) -> Section:
    why = (
        "not estimable by construction: anatomy is procedural"
        if settings.anatomy == "procedural"
        else "not built in this version"
    )
    return Section("Real against synthetic", (Paragraph(f"Transfer and equivalence: {why}.", "note"),))


def _fidelity(settings: Settings) -> Section:
    """Mean distances over the three planes, and how to read them."""
    rows = read_all(settings.output, "fidelity").filter(pl.col("plane") == "average").sort("kind", "value", "compared")
    band = rows.filter(pl.col("kind") == "real_to_real", pl.col("value").is_not_null())["value"].to_list()
    said = "; ".join(rows["note"].drop_nulls().unique().sort())
    if band:
        said = f"Real datasets lie {min(band):.3g} to {max(band):.3g} apart: the yardstick of the rest. {said}"
    if "descriptor_distance" in rows["metric"]:
        said += " Measured with a descriptor that needs no weights: not FID, and not to be compared with published FID."
    columns = ["kind", "reference", "compared", "metric", "value", "images_reference", "images_compared"]
    names = tuple(c.replace("_", " ") for c in columns)
    table = Table("fidelity", names, tuple(rows.select(columns).rows()), said.strip(), folded=rows.height > 20)
    return Section("Fidelity of rendered CTs", (table,))


def _preview(rows: Sequence[MetricRow]) -> str:
    from itrialspace_assets.imaging.pictures import markdown

    columns = ["analysis", "source", "reader", "estimate", "low", "high", "n_slices", "flag"]
    return markdown(pl.DataFrame([[getattr(r, c) for c in columns] for r in rows], schema=columns, orient="row"))
