"""What may be asked of nodules: filters as people and pages send them, and the rows that meet them.

A missing value meets no filter but those that ask for missing values.
"""

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from typing import Annotated, Any

import numpy as np
import polars as pl
from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.explorer.search.columns import ABOUT, SEARCHED, Coded, Columns, Mask, Value, about
from itrialspace_assets.records.tables import TABLES

#: Most ids of a selection that is sent as ids; ours.
MAX_UIDS = 200_000

#: A column; the list of names is for those who read the description, what is wrong is said by ``about``.
Name = Annotated[str, Field(min_length=1, max_length=60, json_schema_extra={"enum": list(ABOUT)})]
Number = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1, max_length=200)]


def _finite(value: Value) -> Value:
    if isinstance(value, float) and not np.isfinite(value):
        raise ValueError("expected a finite number")
    return value


class AnyOf(StrictModel):
    """The value is one of these; null: it is missing."""

    column: Name
    any: tuple[Annotated[Value, AfterValidator(_finite)], ...] = Field(min_length=1, max_length=1000)


class Between(StrictModel):
    """The number lies within these bounds, both included; a bound that is left out does not count."""

    column: Name
    low: Number | None = None
    high: Number | None = None

    @model_validator(mode="after")
    def _bounded(self) -> "Between":
        if self.low is None and self.high is None:
            raise ValueError("expected low, high or both")
        return self


class Contains(StrictModel):
    """The text contains this, whatever the case."""

    column: Name
    contains: Text


class Missing(StrictModel):
    """The value is missing, or it is not."""

    column: Name
    missing: bool


class Chosen(StrictModel):
    """The nodule is one of these; ids that are not in the index are met by none."""

    uids: tuple[Annotated[str, Field(max_length=300)], ...] = Field(max_length=MAX_UIDS)


def _kind(given: Any) -> str:
    has = given.__contains__ if isinstance(given, dict) else lambda key: hasattr(given, key)
    return next((key for key in ("any", "contains", "missing", "uids") if has(key)), "between")


Filter = Annotated[
    Annotated[AnyOf, Tag("any")]
    | Annotated[Between, Tag("between")]
    | Annotated[Contains, Tag("contains")]
    | Annotated[Missing, Tag("missing")]
    | Annotated[Chosen, Tag("uids")],
    Discriminator(_kind),
]


def column_of(one: Filter) -> str | None:
    """The column that a filter is about; None: it names nodules."""
    return None if isinstance(one, Chosen) else one.column


def mask_of(columns: Columns, one: Filter) -> Mask:
    """Which rows meet a filter.

    Raises:
        ConfigError: there is no such column, or it holds values of another type.
    """
    return columns.kept(("mask", _key(one)), lambda: _mask(columns, one))


def mask_of_text(columns: Columns, text: str) -> Mask:
    """Which rows hold a text in one of their ids or in their dataset's name, whatever the case."""

    def make() -> Mask:
        return np.asarray(np.logical_or.reduce([columns.texts(name).holding(text) for name in SEARCHED]))

    return columns.kept(("text", text), make)


def all_of(height: int, masks: Sequence[Mask]) -> Mask:
    """Rows that meet all of some masks; all rows where there is none."""
    met = np.ones(height, bool)
    for mask in masks:
        met &= mask
    return met


def rows_of(columns: Columns, filters: Iterable[Filter], text: str = "") -> Mask:
    """Which rows meet every filter and hold the text.

    Args:
        columns: of the index.
        filters: all must be met.
        text: in an id; empty: any.

    Raises:
        ConfigError: a filter names no column, or asks for a value of another type.
    """
    masks = [mask_of(columns, one) for one in filters]
    return all_of(columns.height, [*masks, mask_of_text(columns, text)] if text else masks)


def _key(one: Filter) -> Hashable:
    if isinstance(one, Chosen):  # the ids themselves may take megabytes
        return hashlib.sha256("\n".join(one.uids).encode("utf-8", "surrogatepass")).hexdigest()
    if isinstance(one, AnyOf):  # 1, 1.0 and true are equal, but not of one type
        return one, tuple(map(type, one.any))
    return one


def _mask(columns: Columns, one: Filter) -> Mask:
    if isinstance(one, Chosen):
        return columns.texts("nodule_uid").among(one.uids)
    if isinstance(one, Between):
        return between(columns, one.column, one.low, one.high)
    if isinstance(one, Missing):
        gone = missing(columns, one.column)
        return gone if one.missing else ~gone
    if isinstance(one, Contains):
        return columns.texts(one.column).holding(one.contains)
    known = [v for v in one.any if v is not None]
    met = among(columns, one.column, known)
    return met | missing(columns, one.column) if None in one.any else met


def between(columns: Columns, name: str, low: float | None, high: float | None) -> Mask:
    """Which rows have a number within bounds, both included; a missing value is within none.

    Args:
        columns: of the index.
        name: of a column of numbers.
        low: least; None: any.
        high: greatest; None: any.

    Raises:
        ConfigError: there is no such column, or it holds no numbers.
    """
    values = columns.numbers(name)
    above = values >= (-np.inf if low is None else low)
    return above & (values <= (np.inf if high is None else high))  # NaN, a missing value, is neither


def among(columns: Columns, name: str, values: Sequence[Any]) -> Mask:
    """Which rows have one of some values.

    Args:
        columns: of the index.
        name: of a column.
        values: any of these, none missing.

    Raises:
        ConfigError: there is no such column, or it holds values of another type.
    """
    wanted = _typed(name, values, TABLES["nodules"].schema[name])
    coded = columns.few(name)
    if coded is not None:
        known = set(wanted)
        return _lookup(coded, [code for code, value in enumerate(coded.values, start=1) if value in known])
    if about(name).type == "text":
        return columns.texts(name).among(wanted.to_list())
    return np.isin(columns.numbers(name), wanted.cast(pl.Float64).to_numpy())


def missing(columns: Columns, name: str) -> Mask:
    """Which rows have no value in a column.

    Raises:
        ConfigError: there is no such column.
    """
    coded = columns.few(name)
    if coded is not None:
        return _lookup(coded, [0])
    return columns.texts(name).missing() if about(name).type == "text" else np.isnan(columns.numbers(name))


def _lookup(coded: Coded, codes: list[int]) -> Mask:
    chosen = np.zeros(len(coded.values) + 1, bool)
    chosen[codes] = True
    return chosen[coded.codes]


def _typed(column: str, values: Sequence[Any], dtype: pl.DataType) -> pl.Series:
    kind = about(column).type
    fits: tuple[type, ...] = {"text": (str,), "flag": (bool,), "integer": (int,), "number": (int, float)}[kind]
    wrong = [v for v in values if type(v) not in fits]
    if wrong:
        raise ConfigError(f"column {column}: expected values of type {kind}, got {str(wrong[0])[:60]!r}")
    try:
        return pl.Series(values, dtype=dtype)
    except (OverflowError, TypeError, pl.exceptions.PolarsError):
        raise ConfigError(f"column {column}: expected whole numbers of 64 bits") from None
