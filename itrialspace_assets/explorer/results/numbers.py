"""The numbers of the reports, and the cases behind one of them, from the catalog."""

from collections.abc import Mapping
from typing import Annotated, Any

import duckdb
import polars as pl
from pydantic import Field

from itrialspace_assets.base.errors import NotFound
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.catalog.questions import ready

#: Ready question that names the cases behind a number.
_BEHIND = "cases_of"
#: Columns of ``metrics`` that a figure or a table shows.
_SHOWN = (
    *("analysis", "source", "reader", "task", "condition", "stratum", "metric", "estimate", "low", "high", "method"),
    *("k", "n_slices", "n_cases", "n_negatives", "n_hosts", "n_donors", "n_unanswered", "flag"),
)


_Key = Annotated[str, Field(min_length=1, max_length=300)]


class MetricKey(StrictModel):
    """Where a number stands in ``metrics``."""

    analysis: _Key = Field(description="report: a mode, real-<dataset>, or study")
    task: _Key = Field(description="task")
    condition: _Key = Field(description="guidance")
    stratum: _Key = Field(description="stratum, as all or size_bucket=5-10mm")
    metric: _Key = Field(description="metric")
    source: _Key = Field(description="real, or the renderer's name")
    reader: _Key = Field(description="reader")


class Choices(StrictModel):
    """Values that numbers of a report have, in each column that one chooses by."""

    analysis: str
    task: tuple[str, ...]
    condition: tuple[str, ...]
    metric: tuple[str, ...]
    source: tuple[str, ...]
    reader: tuple[str, ...]


class BehindCase(StrictModel):
    """A slice that counts in a number; ``lost`` is what it costs it, null where the number is no sum over slices."""

    source: str
    reader: str
    case_uid: str
    slice_uid: str
    condition: str
    truth: str | None
    answer: str | None
    status: str | None
    score: float | None
    contribution: float | None
    lost: float | None
    diameter_mm: float | None


class Behind(StrictModel):
    """Cases behind a number, those that cost it most first; ``total`` counts all."""

    total: int
    cases: tuple[BehindCase, ...]


def choices(db: duckdb.DuckDBPyConnection) -> tuple[Choices, ...]:
    """What one can choose by in each report that has numbers."""
    columns = ("task", "condition", "metric", "source", "reader")
    lists = ", ".join(f"list(DISTINCT {c} ORDER BY {c})" for c in columns)
    rows = db.execute(f"SELECT analysis, {lists} FROM metrics GROUP BY analysis ORDER BY analysis").fetchall()
    return tuple(Choices(**dict(zip(("analysis", *columns), row, strict=True))) for row in rows)


def numbers(db: duckdb.DuckDBPyConnection, chosen: Mapping[str, str], limit: int) -> pl.DataFrame:
    """Numbers of the reports in the order of their keys.

    Args:
        db: the catalog.
        chosen: value of each column that is fixed; columns of ``metrics``.
        limit: most rows.
    """
    keys = [c for c in _SHOWN[:7] if c in chosen]
    where = " AND ".join(f"{c} = ${c}" for c in keys) or "true"
    sql = f"SELECT {', '.join(_SHOWN)} FROM metrics WHERE {where} ORDER BY {', '.join(_SHOWN[:7])} LIMIT {int(limit)}"
    found: pl.DataFrame = db.sql(sql, params={c: chosen[c] for c in keys}).pl()
    return found


def behind(db: duckdb.DuckDBPyConnection, place: MetricKey, limit: int) -> Behind:
    """The cases behind a number.

    Args:
        db: the catalog.
        place: of the number.
        limit: most cases that are listed.

    Raises:
        NotFound: there is no such number.
    """
    key = place.model_dump()
    where = " AND ".join(f"{c} = ${c}" for c in key)
    if not db.execute(f"SELECT metric FROM metrics WHERE {where}", key).fetchall():
        raise NotFound(f"{place.metric} of {place.analysis}: expected a number there, found none")
    rows: pl.DataFrame = db.sql(ready()[_BEHIND].sql, params=key).pl()
    found = rows.head(limit).with_columns(condition=pl.lit(place.condition))
    return Behind(total=rows.height, cases=tuple(_case(row) for row in found.iter_rows(named=True)))


def _case(row: Mapping[str, Any]) -> BehindCase:
    return BehindCase(**{name: row[name] for name in BehindCase.model_fields})
