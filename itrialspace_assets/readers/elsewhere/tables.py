"""Opens tables that other programs wrote (CSV, Parquet) as text, and says what is wrong with them by row.

Rows are numbered from 0, without the header. Knows neither readers nor what an answer means.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.records.text_tables import read_csv

#: Column with the number of a row in its file.
ROW = "_row"
#: Texts of a missing value, in lower case; an answer in words may be one of them, so they do not count there.
_BLANK = ["", "nan", "na", "n/a", "null"]
#: Rows that a message names (ours); all are counted.
_NAMED = 5


def open_table(path: Path, renamed: dict[str, str]) -> pl.DataFrame:
    """A table as text, with the names of columns that we use, and ``_row``.

    Args:
        path: CSV, TSV (also gzip), or Parquet if the name ends so.
        renamed: our name of a column -> the table's own.

    Raises:
        ConfigError: no file, no table, or a column that ``renamed`` names is missing.
    """
    try:
        if path.suffix.lower() == ".parquet":
            frame = pl.read_parquet(path, glob=False)
            nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
            frame = frame.drop(nested).select(pl.all().cast(pl.String))
        else:
            frame = read_csv(path, "answers from elsewhere")
    except FileNotFoundError:
        raise ConfigError(f"{path}: expected a table, found none") from None
    except (TableError, OSError, pl.exceptions.PolarsError) as error:
        raise ConfigError(f"{path}: {str(error).splitlines()[0]}") from None
    require_columns(path, frame, list(renamed.values()))
    kept = [c for c in frame.columns if c not in renamed and c != ROW]
    frame = frame.select(*kept, *(pl.col(theirs).alias(ours) for ours, theirs in renamed.items()))
    return frame.with_columns(pl.all().str.strip_chars()).with_row_index(ROW)


def require_columns(path: Path, frame: pl.DataFrame, names: Sequence[str]) -> None:
    """Refuse a table without some columns.

    Args:
        path: its file, for the message.
        frame: the table.
        names: columns that it must have.

    Raises:
        ConfigError: one is missing; says which there are.
    """
    if missing := [n for n in names if n not in frame.columns]:
        there = ", ".join(c for c in frame.columns if c != ROW)
        raise ConfigError(
            f"{path}: expected the columns {', '.join(missing)}, got {there}; rename them, or name the table's own "
            "under options.columns of the reader in readers.yaml"
        )


def refuse(path: Path, frame: pl.DataFrame, bad: pl.Expr, expected: str, column: str) -> None:
    """Refuse a table with wrong rows.

    Args:
        path: its file, for the message.
        frame: the table, with ``_row``.
        bad: true where a row is wrong.
        expected: what was expected of it.
        column: whose value is shown.

    Raises:
        ConfigError: there are such rows; names the first of them.
    """
    wrong = frame.filter(bad.fill_null(False))
    if wrong.height:
        said = ", ".join(f"row {row} {value!r}" for row, value in wrong.select(ROW, column).head(_NAMED).rows())
        raise ConfigError(f"{path}: {wrong.height} rows: {column}: expected {expected}, got {said}")


def refuse_duplicates(path: Path, frame: pl.DataFrame, key: Sequence[str]) -> None:
    """Refuse a table in which two rows say something about the same.

    Args:
        path: its file, for the message.
        frame: the table, with ``_row``.
        key: columns that together name what a row is about.

    Raises:
        ConfigError: there are such rows; names the first of them.
    """
    same = frame.group_by(key, maintain_order=True).agg(pl.col(ROW)).filter(pl.col(ROW).list.len() > 1)
    if same.height:
        said = "; ".join(
            f"rows {', '.join(map(str, row[ROW][:_NAMED]))} about {' '.join(str(row[k]) for k in key if row[k])}"
            for row in same.head(_NAMED).iter_rows(named=True)
        )
        raise ConfigError(f"{path}: expected one row each, got several {same.height} times: {said}")


def numbers(path: Path, frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """A table with some columns as finite numbers, null where they are blank.

    Args:
        path: its file, for the message.
        frame: the table, with ``_row``.
        columns: which.

    Raises:
        ConfigError: a value is none; names the rows.
    """
    for name in columns:
        text = pl.col(name).str.to_lowercase()
        blank = pl.col(name).is_null() | text.is_in(_BLANK)
        value = pl.col(name).cast(pl.Float64, strict=False)
        refuse(path, frame, ~blank & ~value.is_finite().fill_null(False), "a finite number", name)
        frame = frame.with_columns(pl.when(~blank).then(value).alias(name))
    return frame


def without_blanks(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """A table with null in some columns where they are blank."""
    blank = pl.col(list(columns)).str.to_lowercase().is_in(_BLANK)
    return frame.with_columns(pl.when(~blank).then(pl.col(list(columns))))
