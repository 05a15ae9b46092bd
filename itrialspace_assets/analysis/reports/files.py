"""Writes a report: the page, Markdown, figures and tables in one folder. Equal reports give equal bytes.

What an earlier report left there and this one has not is taken away.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from itrialspace_assets.analysis.reports.document import Block, Chart, Estimate, Link, Report, Table, Value
from itrialspace_assets.analysis.reports.figures import draw
from itrialspace_assets.analysis.reports.markdown import markdown
from itrialspace_assets.analysis.reports.page import html, vega
from itrialspace_assets.base.fingerprints import replace_file, sha256_bytes


@dataclass(frozen=True)
class Written:
    """What writing gave: SHA-256 of each file by its path below the output folder, and the first figure."""

    files: dict[str, str]
    picture: bytes | None


def write_report(root: Path, report: Report) -> Written:
    """Write ``reports/<name>/`` below the output folder.

    Args:
        root: the output folder.
        report: what is written.

    Raises:
        ValueError: two tables or two charts of the report have one name.
    """
    blocks = [b for s in report.sections for b in s.blocks]
    charts, tables = _named(blocks, Chart), _named(blocks, Table)
    drawn = {name: draw(chart) for name, chart in charts.items()}
    files: dict[str, bytes] = {}
    for name, figure in drawn.items():
        files[f"figures/{name}.png"], files[f"figures/{name}.pdf"] = figure.png, figure.pdf
    for name, table in tables.items():
        frame = frame_of(table)
        files[f"tables/{name}.csv"] = frame.write_csv().encode()
        files[f"tables/{name}.parquet"] = _parquet(frame)
    library = vega(root / "work" / "vega") if charts else ""
    files["report.html"] = html(report, drawn, library)
    files["report.md"] = markdown(report, ["report.html", *files]).encode()
    folder = root / "reports" / report.name
    for name, data in files.items():
        replace_file(folder / name, data)
    for old in folder.rglob("*"):
        if old.is_file() and str(old.relative_to(folder)) not in files:
            old.unlink()
    hashes = {str((folder / name).relative_to(root)): sha256_bytes(data) for name, data in files.items()}
    return Written(hashes, next((figure.png for figure in drawn.values()), None))


def _named(blocks: list[Block], kind: Any) -> dict[str, Any]:
    found = [b for b in blocks if isinstance(b, kind)]
    names = [b.name for b in found]
    if len(set(names)) < len(names):
        twice = sorted({n for n in names if names.count(n) > 1})
        raise ValueError(f"expected one {kind.__name__.lower()} of a name in a report, got two of {', '.join(twice)}")
    return {b.name: b for b in found}


#: Columns of a table's files that an estimate becomes: what is added to the column's name, and the estimate's field.
_PARTS = {"": "value", "_low": "low", "_high": "high", "_k": "k", "_n": "n", "_flag": "flag"}


def frame_of(table: Table) -> pl.DataFrame:
    """A table as data: an estimate becomes its value, limits, counts and flag, a link its text."""
    columns: dict[str, list[Any]] = {}
    for place, name in enumerate(table.columns):
        values = [row[place] for row in table.rows]
        if any(isinstance(v, Estimate) for v in values):
            for ending, part in _PARTS.items():
                columns[name + ending] = [getattr(v, part) if isinstance(v, Estimate) else None for v in values]
        else:
            columns[name] = [_plain(v) for v in values]
    return pl.DataFrame({name: _series(name, values) for name, values in columns.items()})


def _plain(value: Value) -> Any:
    return value.text if isinstance(value, Link) else value


def _series(name: str, values: list[Any]) -> pl.Series:
    """Values of one type: numbers, or text where any is text."""
    kinds = {type(v) for v in values if v is not None}
    if kinds <= {int} and kinds:
        return pl.Series(name, values, dtype=pl.Int64)
    if kinds <= {int, float} and kinds:
        return pl.Series(name, values, dtype=pl.Float64)
    return pl.Series(name, [None if v is None else str(v) for v in values], dtype=pl.String)


def _parquet(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    pq.write_table(frame.to_arrow(compat_level=pl.CompatLevel.oldest()), out, compression="zstd")
    return out.getvalue()
