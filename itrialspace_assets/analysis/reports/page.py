"""A report as one HTML page: figures, then tables under headings."""

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from itrialspace_assets.analysis.protocol.study import Study, changed_since_lock
from itrialspace_assets.analysis.scoring.rows import MetricRow
from itrialspace_assets.base.settings import Settings


@dataclass(frozen=True)
class Figure:
    """A picture (PNG) and what it shows, in a few words."""

    name: str
    png: bytes


@dataclass(frozen=True)
class Section:
    """A table under a heading, with a note about it."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""


@dataclass(frozen=True)
class Page:
    """What a page says; ``mark`` tells which kind of data it shows."""

    title: str
    question: str
    mark: str
    figures: Sequence[Figure]
    sections: Sequence[Section]


def section_of(heading: str, frame: pl.DataFrame, note: str = "") -> Section:
    """A frame as a section.

    Args:
        heading: text above the table.
        frame: the table; its columns are shown under their names, its rows in their order.
        note: text between heading and table; empty: none.
    """
    return Section(heading, frame.columns, frame.rows(), note)


#: Heading of a column of ``metrics``, in the order in which they are shown.
_SHOWN = {
    "source": "source",
    "reader": "reader",
    "condition": "condition",
    "stratum": "stratum",
    "metric": "metric",
    "estimate": "estimate",
    "low": "low",
    "high": "high",
    "k": "k",
    "n_slices": "slices",
    "n_pictures": "pictures",
    "n_cases": "cases",
    "n_negatives": "negatives",
    "n_hosts": "hosts",
    "n_donors": "donors",
    "n_effective": "effective n",
    "n_unanswered": "unanswered",
    "flag": "note",
}
_DECIMALS = {"estimate": 3, "low": 3, "high": 3, "n_effective": 1}
#: Metrics that are shown for strata; the table ``metrics`` holds the rest.
_OF_STRATA = (
    *("auc", "sensitivity", "specificity", "balanced_accuracy", "accuracy", "macro_recall", "weighted_kappa"),
    "sensitivity_at_1_fp_per_lesion_free_scan",
)
_ABOUT_METRICS = (
    "All conditions over all slices; strata under the plain condition, with fewer metrics. Intervals are two-way "
    "leave-cluster-out over host and donor persons; k counts successes, effective n independent cases."
)
_ABOUT_DETECTION = (
    "Marks on whole scans, lesion-free ones among them; docs/facts/evaluation.md says when a mark hits. froc_R is the "
    "sensitivity over nodules where R marks a scan are false, fp_per_lesion_free_scan_R what lesion-free scans get "
    "there, cpm the mean over the seven R. Intervals are percentiles of resampled persons."
)
#: Heading and note of a task's table, where they are not its name and the usual one. Presence is read from slices.
_TASKS = {"presence": ("Presence (slice-ROC)", _ABOUT_METRICS), "detection": ("Detection (FROC)", _ABOUT_DETECTION)}


def metric_sections(rows: Sequence[MetricRow]) -> list[Section]:
    """Metrics as a table for each task."""
    sections = []
    for task in dict.fromkeys(r.task for r in rows):
        of_task = [r for r in rows if r.task == task]
        shown = [_shown(r) for r in of_task if r.stratum == "all" or _is_shown(r)]
        heading, note = _TASKS.get(task, (task.capitalize(), _ABOUT_METRICS))
        if shown:
            sections.append(Section(heading, list(_SHOWN.values()), shown, note))
    return sections


def _is_shown(row: MetricRow) -> bool:
    return row.condition == "plain" and row.metric in _OF_STRATA


def _shown(row: MetricRow) -> list[Any]:
    values = asdict(row)
    return [round(values[c], _DECIMALS[c]) if c in _DECIMALS and values[c] is not None else values[c] for c in _SHOWN]


def render(settings: Settings, study: Study, page: Page) -> bytes:
    """HTML of a page, with the study that it belongs to; the pictures are embedded.

    Args:
        settings: names the split, and where the study's lock lies.
        study: the protocol that the page shows.
        page: title, figures and tables.
    """
    from jinja2 import Environment

    template = Environment(autoescape=True).from_string(
        Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    )
    return template.render(
        title=page.title,
        question=page.question,
        mark=page.mark,
        split=settings.split,
        study=study.study,
        study_sha=study.sha256,
        exploratory=changed_since_lock(settings, study),
        primary=f"{study.primary.metric} of {study.primary.task}, condition {study.primary.condition}",
        figures=[(figure.name, base64.b64encode(figure.png).decode()) for figure in page.figures],
        sections=[(s.heading, s.columns, s.rows, s.note) for s in page.sections],
    ).encode()
