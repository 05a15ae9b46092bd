"""Weights over cases that stand for cohorts of another prevalence: read from ``case_weights`` and put on answers."""

from collections.abc import Iterable

import polars as pl

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.records.store import read_all

_PREFIX = "prevalence="


def weightings(columns: Iterable[str]) -> list[str]:
    """Those columns that hold weights of a prevalence, by rising prevalence."""
    return sorted((c for c in columns if c.startswith(_PREFIX)), key=lambda c: float(c.removeprefix(_PREFIX)))


def with_weights(settings: Settings, mode: str, observations: pl.DataFrame) -> pl.DataFrame:
    """Observations with a column of weights for each prevalence that a mode stands for; null: the case is not of it.

    Args:
        settings: where tables lie.
        mode: trial mode.
        observations: rows with ``case_uid``.
    """
    weights = read_all(settings.output, "case_weights", mode=mode).filter(pl.col("weighting").str.starts_with(_PREFIX))
    if weights.is_empty():
        return observations
    wide = weights.pivot("weighting", index="case_uid", values="weight")
    return observations.join(wide, on="case_uid", how="left", maintain_order="left")
