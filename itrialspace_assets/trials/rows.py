"""Rows of the tables ``trials``, ``arms``, ``balance`` and ``feasibility``: their columns as typed fields.

What each column means is said once, in ``records.tables``. ``cases`` and ``case_nodules`` have thousands of rows and
are made as whole columns, in ``frames``. Computes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from itrialspace_assets.records.tables import TABLES


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """A row of ``trials``."""

    trial: str
    mode: str
    planner: str
    question: str
    size: str
    seed: int
    overrides: str
    relaxed: bool
    file_sha256: str
    index_sha256: str
    pool_sha256: str
    resolved: str
    anatomy: str


@dataclass(frozen=True, kw_only=True)
class ArmRow:
    """A row of ``arms``."""

    trial: str
    mode: str
    arm: str
    number: int
    varies: str
    level: str
    published: str
    folder: str
    asked_cases: int
    got_cases: int
    asked_malignant: int | None
    got_malignant: int
    clean_cases: int
    donor_pool: int
    host_pool: int
    donors: int
    donors_effective: float
    host_persons: int
    hosts_effective: float
    scaled: int
    relaxations: str
    marginals: str
    note: str | None


@dataclass(frozen=True, kw_only=True)
class BalanceRow:
    """A row of ``balance``."""

    mode: str
    trial: str
    arm: str
    marginal: str
    level: str
    status: str
    asked_share: float | None
    got_share: float
    asked: int | None
    got: int
    standardised_difference: float | None


@dataclass(frozen=True, kw_only=True)
class FeasibilityRow:
    """A row of ``feasibility``."""

    mode: str
    trial: str
    arm: str
    step: int
    of: str
    constraint: str
    left: int
    needed: int | None
    binding: bool
    price: str | None


def table_of(name: str, rows: Sequence[TrialRow | ArmRow | BalanceRow | FeasibilityRow]) -> pl.DataFrame:
    """Rows as a frame of their table, sorted by key."""
    return TABLES[name].frame([vars(row) for row in rows])
