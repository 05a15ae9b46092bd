"""A table that a user brings, read strictly: a wrong value is an error that names file, row and column.

CSV, Parquet or a polars frame. Rows are numbered from 0, without the header. Knows no columns of its own.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from itrialspace_assets.analysis.estimates.cells import Flags, Floats
from itrialspace_assets.base.errors import TableError
from itrialspace_assets.records.text_tables import NUMBER, read_text_table

TableSource = Path | str | pl.DataFrame

#: Names of a column of scores.
SCORE = ("probability", "score", "rating")
#: Texts that stand for a truth of 1 and of 0.
TRUE, FALSE = ("1", "1.0", "true"), ("0", "0.0", "false")


@dataclass(frozen=True)
class UserTable:
    """A table with the name that errors call it by."""

    name: str
    frame: pl.DataFrame

    @classmethod
    def read(cls, source: TableSource, what: str) -> "UserTable":
        """A table from a file or a frame.

        Args:
            source: CSV (plain or gzip), Parquet, or a frame.
            what: what it holds, for messages.

        Raises:
            TableError: no such file, or it is no table.
        """
        if isinstance(source, pl.DataFrame):
            return cls(what, source)
        path = Path(source)
        if path.suffix.lower() != ".parquet":
            return cls(path.name, read_text_table(path, what))
        try:
            return cls(path.name, pl.read_parquet(path, glob=False))
        except FileNotFoundError:
            raise TableError(f"{what}: expected {path.name}, found none in {path.parent.name}/") from None
        except (OSError, pl.exceptions.PolarsError) as error:
            raise TableError(f"{path.name}: expected a Parquet table, got {str(error).splitlines()[0]}") from None

    def column(self, *names: str) -> pl.Series:
        """The column of one of some names, whatever its capitals.

        Raises:
            TableError: there is none, or more than one.
        """
        wanted = {name.casefold() for name in names}
        found = [c for c in self.frame.columns if c.casefold() in wanted]
        if len(found) != 1:
            got = ", ".join(found) if found else ", ".join(self.frame.columns) or "no column"
            raise TableError(f"{self.name}: expected one column {' or '.join(names)}, got {got}")
        return self.frame[found[0]]

    def texts(self, *names: str, blank: bool = False) -> pl.Series:
        """A column of ids as text, trimmed; null where there is none.

        Args:
            names: of the column.
            blank: a row may have none.

        Raises:
            TableError: no such column, a row without a value, or one with a list.
        """
        found = self.column(*names)
        ids = _as_texts(found).str.strip_chars()
        ids = pl.select(pl.when(ids != "").then(ids)).to_series()
        self.refuse(ids.is_null() if not blank else ids.is_null() & found.dtype.is_nested(), found, "a value")
        return ids

    def numbers(self, *names: str, above: float | None = None, most: float | None = None) -> Floats:
        """A column of finite numbers.

        Args:
            names: of the column.
            above: every number must be greater; None: any.
            most: no number may be further from 0; None: any.

        Raises:
            TableError: no such column, or a value that is no finite number, or too small or too large.
        """
        found = self.column(*names)
        values = as_numbers(found)
        self.refuse(~values.is_finite().fill_null(False), found, "a finite number")
        if above is not None:
            self.refuse(values <= above, found, f"a number above {above:g}")
        if most is not None:
            self.refuse(values.abs() > most, found, f"a number of at most {most:g}")
        return values.to_numpy().astype(np.float64)

    def truths(self, *names: str) -> Flags:
        """A column of 0 and 1, or false and true.

        Raises:
            TableError: no such column, or another value.
        """
        found = self.column(*names)
        words = _as_texts(found).str.strip_chars().str.to_lowercase()
        self.refuse(~words.is_in([*TRUE, *FALSE]).fill_null(False), found, "0 or 1")
        return words.is_in(list(TRUE)).to_numpy()

    def refuse(self, wrong: pl.Series, values: pl.Series, expected: str) -> None:
        """Raise for the first wrong row of a column.

        Args:
            wrong: which rows are.
            values: the column.
            expected: what it should hold.

        Raises:
            TableError: a row is wrong.
        """
        rows = wrong.fill_null(False).arg_true()
        if len(rows):
            more = f" ({len(rows)} such rows)" if len(rows) > 1 else ""
            raise TableError(
                f"{self.name}: row {rows[0]}, column {values.name}: expected {expected}, got {values[rows[0]]!r}{more}"
            )


def as_numbers(values: pl.Series) -> pl.Series:
    """Numbers of a column; null where there is no number: a date, a truth or a list is none."""
    if values.dtype.is_numeric():
        return values.cast(pl.Float64, strict=False)
    if values.dtype not in (pl.String, pl.Categorical, pl.Enum):
        return pl.Series(values.name, [None] * len(values), dtype=pl.Float64)
    texts = values.cast(pl.String)
    return pl.select(pl.when(texts.str.contains(NUMBER)).then(texts)).to_series().cast(pl.Float64, strict=False)


def _as_texts(values: pl.Series) -> pl.Series:
    """Texts of a column; null where a value is a list or the like."""
    if values.dtype.is_nested():
        return pl.Series(values.name, [None] * len(values), dtype=pl.String)
    return values.cast(pl.String, strict=False)
