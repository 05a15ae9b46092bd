"""Rows of the table ``metrics``."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scope:
    """What is scored: the columns that all metrics of one reader on one source in one report share."""

    analysis: str
    split: str
    source: str
    reader: str
    anatomy: str


@dataclass(frozen=True)
class MetricRow:
    """An estimate with its interval; shares (0 to 1), numbers of slices and persons."""

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
    n_cases: int
    n_negatives: int
    n_persons: int
    n_effective: float | None
    n_unanswered: int
    flag: str | None
    anatomy: str
