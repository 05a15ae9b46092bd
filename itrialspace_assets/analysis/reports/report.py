"""Builds the report of a mode and that of a real dataset from their parts."""

from collections.abc import Mapping, Sequence

import polars as pl

from itrialspace_assets.analysis.evidence.gather import gather
from itrialspace_assets.analysis.evidence.sections import evidence_part, stated
from itrialspace_assets.analysis.frozen import ListKey, locks
from itrialspace_assets.analysis.protocol.study import LockState, Study, load_study, lock_state
from itrialspace_assets.analysis.reports.comparisons import compared
from itrialspace_assets.analysis.reports.contrast_section import contrast_part
from itrialspace_assets.analysis.reports.document import Report, Section, Table
from itrialspace_assets.analysis.reports.files import write_report
from itrialspace_assets.analysis.reports.flow import flow_section
from itrialspace_assets.analysis.reports.froc_chart import froc_charts
from itrialspace_assets.analysis.reports.headline import headline, is_primary
from itrialspace_assets.analysis.reports.level_charts import condition_section, factor_section
from itrialspace_assets.analysis.reports.levels import shown
from itrialspace_assets.analysis.reports.metric_tables import metric_sections
from itrialspace_assets.analysis.reports.mistakes import mistakes_section
from itrialspace_assets.analysis.reports.part import Part
from itrialspace_assets.analysis.reports.preamble import data_lines, protocol_lines
from itrialspace_assets.analysis.reports.published import published_section
from itrialspace_assets.analysis.reports.trust import flagged, trust_part
from itrialspace_assets.analysis.scoring.agreement import score_agreement
from itrialspace_assets.analysis.scoring.cases import case_rows, no_cases
from itrialspace_assets.analysis.scoring.controls import control_rows, under_controls
from itrialspace_assets.analysis.scoring.detection_rows import report_detection
from itrialspace_assets.analysis.scoring.metrics import score_cells
from itrialspace_assets.analysis.scoring.observations import observe, strata_of, with_one_n
from itrialspace_assets.analysis.scoring.reweighting import with_weights
from itrialspace_assets.analysis.scoring.rows import Analysis, MetricRow, columns_of
from itrialspace_assets.analysis.scoring.strata import factors_of, with_datasets
from itrialspace_assets.analysis.scoring.variance_rows import variance_rows
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import Partition, Result
from itrialspace_assets.imaging.pictures import markdown
from itrialspace_assets.readers.registry import slice_readers
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.provenance import mark_of
from itrialspace_assets.records.store import read_table, write_table
from itrialspace_assets.synthesis.renderers import enabled
from itrialspace_assets.trials.files import load_trial
from itrialspace_assets.trials.model import Trial


def build_mode(settings: Settings, partition: Partition) -> Result:
    """The report of a mode over all sources and readers."""
    require_data_root(settings)
    mode = partition["mode"]
    trial, study = load_trial(settings, mode), load_study(settings)
    state = lock_state(settings, study)
    analysis = Analysis(mode, settings.split, settings.anatomy)
    sources = [r.name for r in enabled(settings)]
    asked = [(source, reader) for source in sources for reader in slice_readers(settings, source)]
    planned = read_table(settings.output, "arms", mode=mode).sort("number")
    arms = planned["arm"].to_list()
    factors = factors_of(trial.contrast)
    parts: list[Part] = []
    cases = no_cases()
    if asked:
        nodules = read_table(settings.output, "case_nodules", mode=mode)
        seen = with_weights(settings, mode, with_datasets(_seen(settings, mode, mode, asked), nodules))
        strata = strata_of(seen, factors)
        cases = case_rows(seen, strata, analysis)
        variances = variance_rows(seen, study, analysis, settings.seed) if trial.planner == "twin" else []
        real = _real_findings(settings, trial, seen)
        parts = [
            contrast_part(trial, planned, seen, study, analysis, settings.seed, variances, real),
            Part(_scored(seen, strata, study, analysis)),
            Part(variances),
            *(Part(report_detection(settings, seen, study, mode, *one)) for one in asked),
            compared(settings, seen, study, state),
            _trust(settings, seen, study, analysis, state),
            Part(sections=[mistakes_section(settings, seen)]),
        ]
    rows = flagged([row for part in parts for row in part.rows], study)
    contrast, *others = [part.sections for part in parts] or [[]]
    evidence = evidence_part(settings, gather(settings, study, mode, rows, stated(study), False, state))
    sections = [
        headline(rows, study, state.exploratory),
        *contrast,
        *_charts(rows, factors, arms, study, settings.anatomy),
        published_section(rows),
        *(section for found in others for section in found),
        *metric_sections(rows, study, state, arms),
        flow_section(settings, mode, arms),
        _planned(planned),
        *evidence.sections,
    ]
    report = Report(
        name=mode,
        title=f"Report: {mode}",
        question=trial.question,
        data=data_lines(settings, sources),
        protocol=protocol_lines(settings, study, state, [(source, mode) for source in sources]),
        sections=tuple(sections),
    )
    return _finish(settings, study, rows, report, cases)


def build_real(settings: Settings, partition: Partition) -> Result:
    """The report of the real slices of a dataset."""
    require_data_root(settings)
    dataset, name = partition["dataset"], f"{REAL}-{partition['dataset']}"
    study, analysis = load_study(settings), Analysis(name, settings.split, settings.anatomy)
    state = lock_state(settings, study)
    asked = [(REAL, reader) for reader in slice_readers(settings, REAL)]
    factors = ["size_bucket", "lobe"]
    parts: list[Part] = []
    cases = no_cases()
    if asked:
        seen = _seen(settings, REAL, name, asked)
        strata = strata_of(seen, factors)
        cases = case_rows(seen, strata, analysis)
        parts = [
            Part(_scored(seen, strata, study, analysis)),
            compared(settings, seen, study, state),
            _trust(settings, seen, study, analysis, state),
            Part(sections=[mistakes_section(settings, seen)]),
        ]
    rows = flagged([row for part in parts for row in part.rows], study)
    evidence = evidence_part(settings, gather(settings, study, name, rows, stated(study), False, state))
    sections = [
        headline(rows, study, state.exploratory),
        *_charts(rows, factors, (), study, settings.anatomy),
        published_section(rows),
        *(section for part in parts for section in part.sections),
        *metric_sections(rows, study, state),
        *evidence.sections,
    ]
    report = Report(
        name=name,
        title=f"Report: {name}",
        question=f"How do the readers do on the CTs of {dataset} themselves?",
        data=data_lines(settings, [REAL]),
        protocol=protocol_lines(settings, study, state, [(REAL, name)]),
        sections=tuple(sections),
    )
    return _finish(settings, study, rows, report, cases)


def _seen(settings: Settings, mode: str, name: str, asked: Sequence[tuple[str, str]]) -> pl.DataFrame:
    """Observations of every source and reader that is asked.

    Args:
        settings: which split, and where tables lie.
        mode: trial mode, or ``real``.
        name: of the frozen list.
        asked: source and reader.
    """
    return with_one_n(pl.concat([observe(settings, source, mode, name, reader) for source, reader in asked]))


def _real_findings(settings: Settings, trial: Trial, seen: pl.DataFrame) -> pl.DataFrame | None:
    """Observations of real slices of the hosts' datasets, for twins of single scans; None where there is no real CT.

    Args:
        settings: which split, and where tables lie.
        trial: twins alone have real findings of their own.
        seen: of ``_seen``.
    """
    if trial.contrast not in ("isolation", "complete") or settings.anatomy == "procedural":
        return None
    frozen = locks(settings, settings.split)
    names = {f"{REAL}-{dataset}" for dataset in seen["dataset"].unique()}
    here = sorted(name for name in names if ListKey(settings.split, REAL, name) in frozen)
    both = [r for r in slice_readers(settings, REAL) if r in set(seen["reader"])]
    found = [observe(settings, REAL, REAL, name, reader) for name in here for reader in both]
    return pl.concat(found) if found else None


def _trust(settings: Settings, seen: pl.DataFrame, study: Study, analysis: Analysis, state: LockState) -> Part:
    """Whether readers look at the picture, from the controls that they were read under.

    Args:
        settings: which split, and where tables lie.
        seen: of ``_seen``.
        study: alpha and clusters; whether controls are planned.
        analysis: what is reported.
        state: of the study's lock.
    """
    rows = control_rows(under_controls(settings, seen, analysis.analysis), study, analysis)
    marks = [mark_of(settings.anatomy, source) for source in sorted(seen["source"].unique())]
    planned = bool(study.controls) and not state.exploratory
    return trust_part(rows, study, "; ".join(marks), standing="planned" if planned else "exploratory")


def _scored(seen: pl.DataFrame, strata: Mapping[str, pl.Series], study: Study, analysis: Analysis) -> list[MetricRow]:
    return score_cells(seen, strata, study, analysis) + score_agreement(seen, study, analysis)


def _charts(
    rows: Sequence[MetricRow], factors: Sequence[str], arms: Sequence[str], study: Study, anatomy: str
) -> list[Section]:
    """Sections of charts: conditions, each factor, FROC.

    Args:
        rows: all of the report.
        factors: of the strata.
        arms: names of the trial's arms in the order of its file.
        study: names task, metric and condition.
        anatomy: ``real`` or ``procedural``.
    """
    if not rows:
        return []
    curves = froc_charts(rows, anatomy)
    return [
        condition_section(rows, study, anatomy),
        *(factor_section(rows, factor, arms, study, anatomy) for factor in factors),
        *([Section("Marks on whole scans", tuple(curves))] if curves else []),
    ]


def _planned(arms: pl.DataFrame) -> Section:
    columns = ["arm", "level", "asked_cases", "got_cases", "asked_malignant", "got_malignant", "note"]
    names = tuple(c.replace("_", " ") for c in columns)
    table = Table(
        "asked_and_planned",
        names,
        tuple((a, shown(level), *rest) for a, level, *rest in arms.select(columns).rows()),
        "Arms in the order of the trial file.",
    )
    return Section("Asked and planned", (table,), "context")


def _finish(settings: Settings, study: Study, rows: list[MetricRow], report: Report, cases: pl.DataFrame) -> Result:
    """Write ``metrics``, ``metric_cases`` and the report.

    Args:
        settings: where they go.
        study: names the primary endpoint, which the preview shows.
        rows: all metrics of the report.
        report: what is written.
        cases: rows of ``metric_cases``.
    """
    values = [columns_of(r) for r in rows]
    table = write_table(settings.output, "metrics", values, analysis=report.name)
    behind = write_table(settings.output, "metric_cases", cases, analysis=report.name)
    written = write_report(settings.output, report)
    primary = [columns_of(r) for r in rows if is_primary(r, study)]
    columns = ("source", "reader", "condition", "metric", "estimate", "low", "high", "n_slices", "flag")
    return Result(
        {"metrics": len(rows), "metric_cases": cases.height},
        computed=len(rows),
        picture=written.picture,
        preview=markdown(pl.DataFrame(primary, infer_schema_length=None).select(columns)) if primary else "",
        files=written.files,
        written=(table, behind),
    )
