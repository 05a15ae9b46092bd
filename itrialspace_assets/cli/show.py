"""How commands show frames and progress; nothing here knows what is shown."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import replace_file

FORMATS = ("csv", "parquet", "json")


def show(frame: pl.DataFrame, title: str = "", limit: int = 50) -> None:
    """Print a frame as a table, at most ``limit`` rows of it."""
    table = Table(*frame.columns, title=title or None, title_justify="left")
    for row in frame.head(limit).iter_rows():
        table.add_row(*("" if v is None else f"{v:g}" if isinstance(v, float) else str(v) for v in row))
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(table)
    if frame.height > limit:
        console.print(f"{frame.height - limit} more rows; --limit or --out shows them")


def save(frame: pl.DataFrame, path: Path, kind: str | None = None) -> None:
    """Write a frame as CSV, Parquet or JSON, by ``kind`` or by the file's ending.

    Raises:
        ConfigError: another kind.
    """
    kind = kind or path.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise ConfigError(f"{path}: expected one of {', '.join(FORMATS)}, got {kind or 'no ending'!r}")
    if kind == "csv":
        lists = [c for c, t in frame.schema.items() if t == pl.List]
        data = frame.with_columns(pl.col(c).cast(pl.List(pl.String)).list.join(";") for c in lists).write_csv().encode()
        replace_file(path, data)
    elif kind == "json":
        replace_file(path, frame.write_json().encode())
    else:
        import io

        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        replace_file(path, buffer.getvalue())


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal; gives the function that advances it."""
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, transient=True, disable=not sys.stdout.isatty()) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.advance(task, done)
