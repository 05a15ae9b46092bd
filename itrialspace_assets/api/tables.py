"""Rows of an output folder for the other modules: a missing table says what makes it, columns are asked for by name."""

from collections.abc import Collection, Mapping
from typing import Any

import polars as pl

from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.base.nearest import not_found
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.records.store import read_all, table_files


def rows_of(settings: Settings, name: str, **partition: str) -> pl.DataFrame:
    """All rows of a table whose partition agrees, sorted by its key.

    Args:
        settings: gives the output folder.
        name: of the table.
        partition: value of each partition column that is fixed.

    Raises:
        TableError: there is no such file; says which command makes it.
    """
    if not table_files(settings.output, name, **partition):
        from itrialspace_assets.graph import command_for  # the whole graph, seconds to import

        of = f" of {', '.join(partition.values())}" if partition else ""
        raise TableError(
            f"table {name}{of}: expected it in the output folder, found none; make it with "
            f"`{command_for(settings, name)}`"
        )
    return read_all(settings.output, name, **partition)


def row_of(rows: pl.DataFrame, key: str, uid: str) -> dict[str, Any]:
    """The row of an id.

    Args:
        rows: of a table.
        key: column of the id.
        uid: the id.

    Raises:
        NotFound: no row has it; names near ones.
    """
    found = rows.filter(pl.col(key) == uid)
    if found.is_empty():
        raise not_found(key, uid, rows[key].to_list())
    return found.row(0, named=True)


def narrowed(rows: pl.DataFrame, wanted: Mapping[str, Any]) -> pl.DataFrame:
    """The rows that meet every condition.

    Args:
        rows: of a table.
        wanted: by column: a value; a list or set (any of); a pair (low, high), both included, where None leaves an end
            open; None (missing).

    Raises:
        ConfigError: a value that the column cannot hold.
        NotFound: no such column; names near ones.
    """
    for name, value in wanted.items():
        if name not in rows.columns:
            raise not_found("column", name, rows.columns)
        try:
            rows = rows.filter(_met(name, value))
        except pl.exceptions.PolarsError as error:
            raise ConfigError(
                f"column {name!r}: expected values of type {rows.schema[name]}, got {value!r} "
                f"({str(error).partition(chr(10))[0]})"
            ) from None
    return rows


def _met(name: str, value: Any) -> pl.Expr:
    column = pl.col(name)
    if value is None:
        return column.is_null()
    if isinstance(value, tuple):
        if len(value) != 2:
            raise ConfigError(f"column {name!r}: expected a pair (low, high), got {value!r}; give a list for any of")
        low, high = value
        ends = [column >= low] if low is not None else []
        ends += [column <= high] if high is not None else []
        return pl.all_horizontal(ends) if ends else column.is_not_null()
    if isinstance(value, Collection) and not isinstance(value, str):
        return column.is_in(list(value))
    return column.eq(value)
