"""Prints frames and progress, and saves frames to files. Knows nothing about their content."""

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import replace_file
from itrialspace_assets.cli.options import plain

FORMATS = ("csv", "parquet", "json")


def show(frame: pl.DataFrame, title: str = "", limit: int = 50) -> None:
    """Print a frame as a table.

    Args:
        frame: rows to print; nulls are printed as blanks.
        title: printed above the table.
        limit: most rows to print; the number of the others is printed below.
    """
    table = Table(*frame.columns, title=title or None, title_justify="left")
    for row in frame.head(limit).iter_rows():
        cells = ("" if v is None else f"{v:g}" if isinstance(v, float) else str(v) for v in row)
        table.add_row(*(Text(plain(cell)) for cell in cells))  # of a plain text rich would take brackets for markup
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(table)
    if frame.height > limit:
        console.print(f"{frame.height - limit} more rows are not shown")


def blocks(picture: npt.NDArray[np.uint8], columns: int) -> Text:
    """A picture (H, W) or (H, W, 3) in characters of half a block: two pixels high, one wide.

    Args:
        picture: grey or colour.
        columns: most characters of a line.
    """
    from PIL import Image

    image = Image.fromarray(picture).convert("RGB")
    width = min(columns, image.width)
    height = max(2, round(image.height * width / image.width) // 2 * 2)
    pixels = np.asarray(image.resize((width, height))).tolist()
    text = Text()
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        for (r, g, b), (r2, g2, b2) in zip(upper, lower, strict=True):
            text.append("▀", style=f"rgb({r},{g},{b}) on rgb({r2},{g2},{b2})")
        text.append("\n")
    return text


def save(frame: pl.DataFrame, path: Path, kind: str | None = None) -> None:
    """Write a frame to a file. Lists become text with semicolons in CSV.

    Args:
        frame: rows to write.
        path: file to write or to replace.
        kind: one of ``FORMATS``; by default the ending of ``path``.

    Raises:
        ConfigError: another kind, or the file cannot be written.
    """
    kind = kind or path.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise ConfigError(f"{path}: expected one of {', '.join(FORMATS)}, got {kind or 'no ending'!r}")
    try:
        replace_file(path, _encode(frame, kind))
    except OSError as error:
        raise ConfigError(f"{path}: expected a file that can be written, got {error.strerror}") from None


def _encode(frame: pl.DataFrame, kind: str) -> bytes:
    if kind == "csv":
        lists = [c for c, t in frame.schema.items() if t == pl.List]
        return frame.with_columns(pl.col(c).cast(pl.List(pl.String)).list.join(";") for c in lists).write_csv().encode()
    if kind == "json":
        return frame.write_json().encode()
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show progress on standard error, so that standard output holds results alone: a bar on a terminal, else lines.

    Lines are printed at the start, whenever another tenth is done, and at the end.

    Args:
        title: what is counted, for example ``scans``.
        total: number of all.

    Yields:
        A function that is told how many more are done.
    """
    if not sys.stderr.isatty():
        yield from _lines(title, total)
        return
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.advance(task, done)


def _lines(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """As ``progress`` without a terminal. Nothing is printed where there is nothing to do."""
    count = told = 0

    def tell() -> None:
        nonlocal told
        told = count
        typer.echo(f"{title}: {count} of {total}", err=True)

    def advance(done: int) -> None:
        nonlocal count
        count += done
        if total and 10 * count // total > 10 * told // total:
            tell()

    if total:
        tell()
    yield advance
    if count > told:
        tell()
