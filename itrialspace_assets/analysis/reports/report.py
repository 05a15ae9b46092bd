"""Builds the report of a mode and that of a real dataset: metrics, figures and a page."""

from collections.abc import Sequence
from dataclasses import asdict

import polars as pl

from itrialspace_assets.analysis.protocol.study import Study, load_study
from itrialspace_assets.analysis.reports.figures import froc_figure, level_figure, mark_of
from itrialspace_assets.analysis.reports.flow import flow_table
from itrialspace_assets.analysis.reports.page import Figure, Page, Section, metric_sections, render, section_of
from itrialspace_assets.analysis.scoring.agreement import score_agreement
from itrialspace_assets.analysis.scoring.cases import case_rows, no_cases
from itrialspace_assets.analysis.scoring.contrasts import contrasts
from itrialspace_assets.analysis.scoring.detection_rows import report_detection
from itrialspace_assets.analysis.scoring.metrics import score_cells
from itrialspace_assets.analysis.scoring.observations import observe, strata_of, with_one_n
from itrialspace_assets.analysis.scoring.reweighting import with_weights
from itrialspace_assets.analysis.scoring.rows import Analysis, MetricRow
from itrialspace_assets.analysis.scoring.variance_rows import variance_rows
from itrialspace_assets.base.fingerprints import replace_file, sha256_bytes
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import Partition, Result
from itrialspace_assets.imaging.anatomy import SIZE_BUCKETS
from itrialspace_assets.imaging.pictures import markdown
from itrialspace_assets.readers.registry import slice_readers
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import read_table, write_table
from itrialspace_assets.synthesis.renderers import enabled
from itrialspace_assets.trials.files import load_trial


def build_mode(settings: Settings, partition: Partition) -> Result:
    """Metrics, figures and page of a mode over all sources and readers."""
    require_data_root(settings)
    mode = partition["mode"]
    trial, study = load_trial(settings, mode), load_study(settings)
    factors = ["size_bucket", "lobe", "dataset"]
    if trial.contrast not in ("none", "size_bucket", "dataset"):
        factors.append("arm")
    asked = [(r.name, reader) for r in enabled(settings) for reader in slice_readers(settings, r.name)]
    rows: list[MetricRow] = []
    cases = no_cases()
    compared: list[Section] = []
    figures = []
    if asked:
        seen = with_weights(settings, mode, _seen(settings, mode, mode, asked))
        rows += _scored(settings, mode, seen, factors, study)
        cases = case_rows(seen, strata_of(seen, factors), Analysis(mode, settings.split, settings.anatomy))
        compared = _compared(settings, seen, study)
        if trial.planner == "twin":
            rows += variance_rows(seen, study, Analysis(mode, settings.split, settings.anatomy), settings.seed)
    for source, reader in asked:
        found = [r for r in rows if (r.source, r.reader) == (source, reader)]
        title, mark = f"{mode}: {reader} on {source}", mark_of(settings.anatomy, source)
        figures.append(Figure(f"{source}, {reader}", _draw(found, title, mark)))
        detected = report_detection(settings, seen, study, mode, source, reader)
        if detected:
            rows += detected.rows
            title = f"{mode}: {reader} on {source}, FROC of whole scans"
            picture = froc_figure(detected.curve, detected.numbers, title, mark)
            figures.append(Figure(f"{source}, {reader}, FROC", picture))
    arms = read_table(settings.output, "arms", mode=mode).select(
        "arm", "level", "asked_cases", "got_cases", "asked_malignant", "got_malignant", "note"
    )
    flow = flow_table(settings, mode)
    page = Page(
        title=f"Report: {mode}",
        question=trial.question,
        mark="; ".join(mark_of(settings.anatomy, r.name) for r in enabled(settings)),
        figures=figures,
        sections=(
            section_of("Asked and planned", arms),
            section_of("From plan to answer", flow, "Rejected cases are not replaced. Counts are cases."),
            *compared,
            *metric_sections(rows),
        ),
    )
    return _finish(settings, mode, rows, page, cases)


def build_real(settings: Settings, partition: Partition) -> Result:
    """Metrics, figures and page of the real slices of a dataset."""
    require_data_root(settings)
    dataset, name = partition["dataset"], f"{REAL}-{partition['dataset']}"
    study, mark = load_study(settings), mark_of(settings.anatomy, REAL)
    asked = [(REAL, reader) for reader in slice_readers(settings, REAL)]
    rows: list[MetricRow] = []
    cases = no_cases()
    compared: list[Section] = []
    figures = []
    if asked:
        seen = _seen(settings, REAL, name, asked)
        factors = ["size_bucket", "lobe"]
        rows += _scored(settings, name, seen, factors, study)
        cases = case_rows(seen, strata_of(seen, factors), Analysis(name, settings.split, settings.anatomy))
        compared = _compared(settings, seen, study)
    for _, reader in asked:
        found = [r for r in rows if r.reader == reader]
        if found:
            figures.append(Figure(reader, _draw(found, f"{dataset}: {reader}", mark)))
    page = Page(
        title=f"Report: {name}",
        question=f"How do the readers do on the CTs of {dataset} themselves?",
        mark=mark,
        figures=figures,
        sections=(*compared, *metric_sections(rows)),
    )
    return _finish(settings, name, rows, page, cases)


def _seen(settings: Settings, mode: str, name: str, asked: Sequence[tuple[str, str]]) -> pl.DataFrame:
    """Observations of every source and reader that is asked.

    Args:
        settings: which split, and where tables lie.
        mode: trial mode, or ``real``.
        name: of the frozen list.
        asked: source and reader.
    """
    return with_one_n(pl.concat([observe(settings, source, mode, name, reader) for source, reader in asked]))


def _scored(settings: Settings, name: str, seen: pl.DataFrame, factors: list[str], study: Study) -> list[MetricRow]:
    analysis, strata = Analysis(name, settings.split, settings.anatomy), strata_of(seen, factors)
    return score_cells(seen, strata, study, analysis) + score_agreement(seen, study, analysis)


def _compared(settings: Settings, seen: pl.DataFrame, study: Study) -> list[Section]:
    """Readers and conditions compared in the primary endpoint's metric, if there are two of either."""
    found = contrasts(seen, study, settings.seed)
    if found is None:
        return []
    about = (
        f"{study.primary.metric} of {study.primary.task}: first less second, on the same persons. Exploratory. p is "
        "corrected within a source; resolves: the least difference whose interval would leave out zero. "
    )
    return [section_of("Readers and conditions compared", found.table, about + found.ties)]


def _draw(rows: Sequence[MetricRow], title: str, mark: str) -> bytes:
    metrics = pl.DataFrame([asdict(r) for r in rows], infer_schema_length=None)
    present = {r.stratum for r in rows}
    levels = [b for b in SIZE_BUCKETS if f"size_bucket={b}" in present]
    return level_figure(metrics, "size_bucket", levels, title, mark)


def _finish(settings: Settings, name: str, rows: list[MetricRow], page: Page, cases: pl.DataFrame) -> Result:
    """Write ``metrics``, ``metric_cases``, the page and its figures.

    Args:
        settings: where they go.
        name: of the analysis; the report's folder.
        rows: all metrics of the report.
        page: what it shows.
        cases: rows of ``metric_cases``.
    """
    values = [asdict(r) for r in rows]
    table = write_table(settings.output, "metrics", values, analysis=name)
    behind = write_table(settings.output, "metric_cases", cases, analysis=name)
    path = settings.output / "reports" / name / "report.html"
    written = {path: render(settings, load_study(settings), page)} | {
        path.with_name(f"figure_{number}.png"): figure.png for number, figure in enumerate(page.figures, start=1)
    }
    for file, data in written.items():
        replace_file(file, data)
    headline = [r for r in values if r["stratum"] == "all" and r["task"] == "presence"]
    columns = ("source", "reader", "condition", "metric", "estimate", "low", "high", "n_slices")
    return Result(
        {"metrics": len(rows), "metric_cases": cases.height},
        computed=len(rows),
        picture=page.figures[0].png if page.figures else None,
        preview=markdown(pl.DataFrame(headline, infer_schema_length=None).select(columns)) if headline else "",
        files={str(file.relative_to(settings.output)): sha256_bytes(data) for file, data in written.items()},
        written=(table, behind),
    )
