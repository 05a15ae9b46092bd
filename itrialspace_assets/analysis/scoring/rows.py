"""Rows of the table ``metrics``."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """An estimate with its interval and what it counts.

    A share has ``k`` successes; what is counted of slices is null where whole scans count.
    """

    analysis: str
    split: str
    source: str
    reader: str
    task: str
    condition: str
    stratum: str
    metric: str
    estimate: float | None
    low: float | None
    high: float | None
    method: str
    flag: str | None
    anatomy: str
    k: int | None = None
    n_slices: int | None = None
    n_pictures: int | None = None
    n_cases: int | None = None
    n_negatives: int | None = None
    n_hosts: int | None = None
    n_donors: int | None = None
    n_effective: float | None = None
    n_unanswered: int | None = None


@dataclass(frozen=True)
class Analysis:
    """What a report is of: the columns that all of its metrics share."""

    analysis: str
    split: str
    anatomy: str


def columns_of(row: MetricRow) -> dict[str, Any]:
    """A row as a mapping from column to value; ``dataclasses.asdict`` would copy each of thousands deeply."""
    return dict(vars(row))
