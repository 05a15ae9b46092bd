"""Builds the study's report over all modes and datasets from its parts."""

import re
from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from itrialspace_assets.analysis.evidence.gather import gather
from itrialspace_assets.analysis.evidence.sections import evidence_part, stated
from itrialspace_assets.analysis.protocol.study import LockState, Study, load_study, lock_state
from itrialspace_assets.analysis.reports.charts import Axes, Point, levels_chart
from itrialspace_assets.analysis.reports.document import Block, Paragraph, Report, ReportStanding, Section, Table
from itrialspace_assets.analysis.reports.fidelity_section import fidelity_part
from itrialspace_assets.analysis.reports.files import write_report
from itrialspace_assets.analysis.reports.headline import endpoint_of, headline
from itrialspace_assets.analysis.reports.metric_tables import estimate_of
from itrialspace_assets.analysis.reports.part import Part
from itrialspace_assets.analysis.reports.preamble import data_lines, protocol_lines
from itrialspace_assets.analysis.reports.transfer_section import DeclaredMargin, transfer_part
from itrialspace_assets.analysis.reports.wording import number
from itrialspace_assets.analysis.scoring.answer_table import answer_table
from itrialspace_assets.analysis.scoring.outcomes import study_outcomes
from itrialspace_assets.analysis.scoring.rows import Analysis, MetricRow, columns_of
from itrialspace_assets.analysis.scoring.training import trained_on
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import Partition, Result
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.provenance import mark_of
from itrialspace_assets.records.store import read_all, write_table

#: Name of the analysis in ``metrics`` and of the report's folder.
NAME = "study"
#: Margin of equivalence where the study file declares none (ours): such a result is exploratory, and said to be.
MARGIN = 0.05


def build_study(settings: Settings, partition: Partition) -> Result:
    """One report over all modes and datasets; transfer only where it can be estimated at all."""
    require_data_root(settings)
    study = load_study(settings)
    state = lock_state(settings, study)
    primary = _primary(settings, study)
    standing: ReportStanding = "exploratory" if state.exploratory else "primary"
    transfer = _transfer(settings, study, state)
    evidence = evidence_part(settings, gather(settings, study, NAME, None, stated(study), state=state))
    report = Report(
        name=NAME,
        title=f"Study report: {study.study}",
        question=study.question or "What was estimated over all modes and datasets?",
        data=data_lines(settings, list(dict.fromkeys(r.source for r in primary))),
        protocol=protocol_lines(settings, study, state, ()),
        sections=(
            *_decisive(study, state, primary),
            Section("Primary endpoint by mode and dataset", tuple(_shown(settings, study, primary)), standing),
            *transfer.sections,
            *fidelity_part(settings, study).sections,
            *evidence.sections,
        ),
    )
    table = write_table(settings.output, "metrics", [columns_of(r) for r in transfer.rows], analysis=NAME)
    written = write_report(settings.output, report)
    return Result(
        {"metrics": len(transfer.rows)},
        computed=1,
        picture=written.picture,
        preview=_preview(primary),
        files=written.files,
        written=(table,),
    )


def _decisive(study: Study, state: LockState, rows: Sequence[MetricRow]) -> list[Section]:
    """The numbers that the study is decided by, where its file names the mode of its primary endpoint."""
    if study.primary.mode is None:
        return []
    asked = (study.primary.mode, study.primary.source, study.primary.reader)
    found = [
        row
        for row in rows
        if all(a in (None, b) for a, b in zip(asked, (row.analysis, row.source, row.reader), strict=True))
    ]
    return [headline(found, study, state.exploratory)]


def _transfer(settings: Settings, study: Study, state: LockState) -> Part:
    """Real against synthetic slices: the same findings, the real mix, equivalence."""
    declared = study.margin is not None and not state.exploratory
    asked = DeclaredMargin(
        MARGIN if study.margin is None else study.margin.value, "planned" if declared else "exploratory"
    )
    analysis = Analysis(NAME, settings.split, settings.anatomy)
    part = transfer_part(
        answer_table(study_outcomes(settings)), study, analysis, asked, trained_on(settings), settings.seed
    )
    if study.margin is not None or not part.rows:
        return part
    note = Paragraph(f"The study declares no margin of equivalence: {MARGIN:g} is taken as an example.", "warning")
    return Part(part.rows, [replace(s, blocks=(note, *s.blocks)) for s in part.sections])


def _primary(settings: Settings, study: Study) -> list[MetricRow]:
    """The primary endpoint over all slices of each mode and dataset, by source, reader and analysis."""
    rows = read_all(settings.output, "metrics").filter(
        pl.col("analysis") != NAME,
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


def _preview(rows: Sequence[MetricRow]) -> str:
    from itrialspace_assets.imaging.pictures import markdown

    columns = ["analysis", "source", "reader", "estimate", "low", "high", "n_slices", "flag"]
    return markdown(pl.DataFrame([[getattr(r, c) for c in columns] for r in rows], schema=columns, orient="row"))
