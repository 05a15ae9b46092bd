"""What a table, a column and a rule are, and the fast validator that compares a frame with them.

``tables`` lists the tables; ``store`` reads and writes files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, Literal

import polars as pl

from itrialspace_assets.base.fingerprints import digest

_POLARS: dict[str, pl.DataType] = {
    "text": pl.String(),
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "flag": pl.Boolean(),
    "integers": pl.List(pl.Int64()),
    "numbers": pl.List(pl.Float64()),
    "texts": pl.List(pl.String()),
}

#: Rows that break a rule of which a violation tells.
_SHOWN = 3


@dataclass(frozen=True)
class Column:
    """A column's contract. ``low`` and ``high`` are inclusive."""

    name: str
    type: str
    description: str
    unit: str = ""
    nullable: bool = False
    allowed: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Rule:
    """A rule over several columns of a row. An ``error`` is never written; a ``warning`` is reported.

    ``holds`` gives true, false, or null where a value that it needs is missing (null holds).
    """

    name: str
    says: str
    holds: pl.Expr = field(repr=False, compare=False)
    severity: Literal["error", "warning"] = "warning"


Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Violation:
    """A broken rule: which, where, how often, and the first rows that break it.

    ``at`` holds the first row numbers, from 0; ``sample`` the values there.
    """

    rule: str
    column: str
    rows: int
    sample: tuple[Any, ...] = ()
    severity: Severity = "error"
    at: tuple[int, ...] = ()

    def __str__(self) -> str:
        shown = f", first: {', '.join(map(str, self.sample))}" if self.sample else ""
        where = f" at {', '.join(map(str, self.at))}" if self.at else ""
        return f"{self.column}: {self.rule} ({self.rows} rows{where}{shown})"


@dataclass(frozen=True)
class Table:
    """A table's contract: ``partition`` names the columns that are also folders, in order."""

    name: str
    description: str
    partition: tuple[str, ...]
    key: tuple[str, ...]
    columns: tuple[Column, ...] = field(repr=False)
    rules: tuple[Rule, ...] = field(default=(), repr=False)
    #: (columns, table, its columns): every value must be found there; checked in the catalog.
    references: tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...] = ()

    @cached_property
    def schema(self) -> pl.Schema:
        return pl.Schema({c.name: _POLARS[c.type] for c in self.columns})

    @cached_property
    def contract(self) -> str:
        """Short hash of everything above but descriptions; a file of another contract is refused."""
        return digest(
            [self.name, self.partition, self.key]
            + [[c.name, c.type, c.nullable, c.allowed, c.low, c.high] for c in self.columns]
            + [r.name for r in self.rules if r.severity == "error"],
            16,
        )

    def empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema=self.schema)

    def frame(self, rows: list[dict[str, Any]]) -> pl.DataFrame:
        """Rows as a frame of this schema, sorted by key; missing keys become null.

        Raises:
            ValueError: a row has a key that is no column, or a value of another type.
        """
        names = set(self.schema)
        for row in rows:
            if unknown := row.keys() - names:
                raise ValueError(f"{self.name}: no such columns: {sorted(unknown)}")
        try:
            frame = pl.DataFrame(rows, schema=self.schema, strict=True)
        except (TypeError, pl.exceptions.PolarsError) as error:
            raise ValueError(f"{self.name}: {error}") from None
        return frame.sort(self.key)


def text(name: str, description: str, *, null: bool = False, allowed: tuple[str, ...] = ()) -> Column:
    """A column of text.

    Args:
        name: of the column.
        description: what a value means, for readers of the table.
        null: whether a value may be missing.
        allowed: the only values that are accepted; empty: any.
    """
    return Column(name, "text", description, nullable=null, allowed=allowed)


def integer(
    name: str, description: str, *, null: bool = False, low: float | None = None, high: float | None = None
) -> Column:
    """A column of whole numbers (64 bits).

    Args:
        name: of the column.
        description: what a value means, for readers of the table.
        null: whether a value may be missing.
        low: least value, inclusive; None: no limit.
        high: greatest value, inclusive; None: no limit.
    """
    return Column(name, "integer", description, nullable=null, low=low, high=high)


def number(
    name: str,
    description: str,
    unit: str = "",
    *,
    null: bool = False,
    low: float | None = None,
    high: float | None = None,
) -> Column:
    """A column of finite numbers (double precision).

    Args:
        name: of the column.
        description: what a value means, for readers of the table.
        unit: as shown beside the column; empty: none.
        null: whether a value may be missing.
        low: least value in that unit, inclusive; None: no limit.
        high: greatest value in that unit, inclusive; None: no limit.
    """
    return Column(name, "number", description, unit, null, (), low, high)


def flag(name: str, description: str, *, null: bool = False) -> Column:
    """A column of true and false.

    Args:
        name: of the column.
        description: what true means, for readers of the table.
        null: whether a value may be missing.
    """
    return Column(name, "flag", description, nullable=null)


def integers(name: str, description: str) -> Column:
    """A column of lists of whole numbers, never null."""
    return Column(name, "integers", description)


def numbers(name: str, description: str, unit: str = "", *, null: bool = False) -> Column:
    """A column of lists of numbers (double precision).

    Args:
        name: of the column.
        description: what a value means, for readers of the table.
        unit: as shown beside the column; empty: none.
        null: whether a list may be missing.
    """
    return Column(name, "numbers", description, unit, null)


def texts(name: str, description: str) -> Column:
    """A column of lists of texts, never null."""
    return Column(name, "texts", description)


def millimetres(name: str, description: str, *, null: bool = True) -> Column:
    """A column of lengths in mm, at least 0.

    Args:
        name: of the column.
        description: what a value means, for readers of the table.
        null: whether a value may be missing.
    """
    return number(name, description, "mm", null=null, low=0)


def percent(name: str, description: str, *, null: bool = True, bounded: bool = True) -> Column:
    """A column of percentages.

    Args:
        name: of the column.
        description: what a value means, for readers of the table.
        null: whether a value may be missing.
        bounded: whether a value must lie from 0 to 100.
    """
    return number(name, description, "%", null=null, low=0 if bounded else None, high=100 if bounded else None)


def violations(table: Table, frame: pl.DataFrame, **partition: str) -> list[Violation]:
    """Every rule of the registry that ``frame`` breaks, errors and warnings; without errors it is accepted.

    Vectorised, a few milliseconds for 10,000 rows. ``partition`` gives the value that each partition column must hold.
    """
    found: list[Violation] = []
    wanted, given = table.schema, frame.schema  # each is put together again whenever it is asked for
    for name, dtype in wanted.items():
        if name not in given:
            found.append(Violation("missing column", name, frame.height))
        elif given[name] != dtype:
            found.append(Violation(f"expected type {dtype}, got {given[name]}", name, frame.height))
    found += [Violation("no such column", name, frame.height) for name in given if name not in wanted]
    if found:
        return found
    tests = _tests(table, tuple(sorted(partition.items())))
    sums = (test.sum().alias(str(i)) for i, (_, _, test, _) in enumerate(tests))
    counts = frame.select(sums).row(0) if frame.height else (0,) * len(tests)
    for i, count in enumerate(counts):
        if count:
            rule, column, test, severity = tests[i]
            at = frame.select(test.fill_null(False)).to_series().arg_true().head(_SHOWN)
            shown = frame[at.to_list()]
            sample = shown[column].to_list() if column in given else shown.select(table.key).rows()
            found.append(Violation(rule, column or "row", count, tuple(sample), severity, tuple(at)))
    return found


def added(found: Sequence[Violation], more: Sequence[Violation], before: int) -> list[Violation]:
    """Violations of a table that is looked at in blocks, each of which holds all rows of a key.

    Args:
        found: those of the blocks before.
        more: those of the next block, from ``violations``.
        before: rows of the blocks before.
    """
    total = {(v.rule, v.column): v for v in found}
    for new in more:
        old = total.get((new.rule, new.column), replace(new, rows=0, sample=(), at=()))
        total[new.rule, new.column] = replace(
            old,
            rows=old.rows + new.rows,
            sample=(*old.sample, *new.sample)[:_SHOWN],
            at=(*old.at, *(before + row for row in new.at))[:_SHOWN],
        )
    return list(total.values())


def errors(found: list[Violation]) -> list[Violation]:
    """Those that keep a table from being written."""
    return [v for v in found if v.severity == "error"]


def obeys(table: Table, frame: pl.DataFrame) -> pl.Series:
    """For each row of a frame of the table's schema, whether it breaks no rule of severity ``error``."""
    bad = [test.fill_null(False) for _, _, test, severity in _tests(table, ()) if severity == "error"]
    return frame.select(~pl.any_horizontal(bad)).to_series().rename("obeys")


def rules_at_write(table: Table) -> list[str]:
    """Every rule that keeps a table from being written, as ``column: rule``; types come first."""
    tests = (f"{column or 'row'}: {rule}" for rule, column, _, severity in _tests(table, ()) if severity == "error")
    return [*(f"{c.name}: expected type {c.type}" for c in table.columns), *tests]


_Test = tuple[str, str, pl.Expr, Literal["error", "warning"]]


@lru_cache(maxsize=64)  # a table's expressions take longer to put together than to compare with a small frame
def _tests(table: Table, partition: tuple[tuple[str, str], ...]) -> list[_Test]:
    """Rule, column, an expression that is true where the rule is broken, severity: of every rule of a table."""
    tests = [*_column_tests(table, dict(partition)), *((r.name, "", ~r.holds, r.severity) for r in table.rules)]
    key = pl.struct(table.key).is_duplicated()
    return [*tests, ("expected a unique key", "/".join(table.key), key, "error")]


def _column_tests(table: Table, partition: Mapping[str, str]) -> list[_Test]:
    tests: list[_Test] = []
    for column in table.columns:
        name, value = column.name, pl.col(column.name)
        if not column.nullable:
            tests.append(("null not allowed", name, value.is_null(), "error"))
        if column.allowed:
            rule = f"expected one of {', '.join(column.allowed)}"
            tests.append((rule, name, ~value.is_in(list(column.allowed)), "error"))
        if column.type == "number":
            tests.append(("expected a finite number", name, ~value.is_finite(), "error"))
        if column.low is not None:
            tests.append((f"expected >= {column.low:g}", name, value < column.low, "error"))
        if column.high is not None:
            tests.append((f"expected <= {column.high:g}", name, value > column.high, "error"))
        if name in partition:
            tests.append((f"expected {partition[name]}", name, value != partition[name], "error"))
    return tests
