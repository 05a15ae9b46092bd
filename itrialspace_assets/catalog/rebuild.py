"""Rebuilds the catalog ``itrialspace.duckdb`` from Parquet into a fresh file and swaps it in by rename."""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files as package_files
from pathlib import Path

import duckdb
import jinja2
import polars as pl
from filelock import Timeout

from itrialspace_assets.base.errors import CatalogBusy, ConfigError, TableError
from itrialspace_assets.base.fingerprints import digest, hash_file, replace_file
from itrialspace_assets.base.locks import locked
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import Options, Partition, Result, Step
from itrialspace_assets.imaging.pictures import markdown
from itrialspace_assets.records.schema import Table
from itrialspace_assets.records.store import read_file, require_contract, table_files
from itrialspace_assets.records.tables import TABLES

VERSION = "3"
#: File of the catalog, below the output folder.
NAME = "itrialspace.duckdb"
#: Storage version of the file: DuckDB from 1.4 on, its browser build among them, can open it.
STORAGE_VERSION = "v1.4.0"
#: Seconds to wait for a rebuild that just ends; ours.
_WAIT_S = 0.5
#: Every table that the catalog loads: all of the registry.
LOADED = tuple(TABLES)
#: File of the data dictionary, beside it.
DICTIONARY = "dictionary.html"


def _sql(folder: str) -> dict[str, str]:
    found = package_files("itrialspace_assets.sql") / folder
    return {
        p.name.removesuffix(".sql"): p.read_text(encoding="utf-8")
        for p in sorted(found.iterdir(), key=lambda p: p.name)
        if p.name.endswith(".sql")
    }


def views() -> dict[str, str]:
    """SQL of each view by name, in the order in which they are made."""
    return _sql("views")


def questions() -> dict[str, str]:
    """SQL of each ready question by name."""
    return _sql("questions")


def options(settings: Settings) -> Options:
    return {"views": digest(views()), "contracts": digest({n: t.contract for n, t in TABLES.items()})}


STEP = Step(("results_catalog",), "catalog", (), VERSION, options)


@contextmanager
def rebuilding(settings: Settings) -> Iterator[None]:
    """Hold the lock of the catalog.

    Raises:
        CatalogBusy: another process holds it; the message gives its number.
    """
    path = settings.output / "work" / "catalog.lock"
    holder = path.with_suffix(".pid")
    try:
        with locked(path, timeout=_WAIT_S):
            holder.write_text(f"{os.getpid()} on {socket.gethostname()}")
            yield
    except Timeout:
        pid = holder.read_text() if holder.exists() else "?"
        soft = path.with_name(f"{path.name}.soft")  # of a file system without locks: a host that died leaves it behind
        gone = f", or remove {soft} if that process is gone" if soft.exists() else ""
        raise CatalogBusy(
            f"{NAME}: expected no other rebuild, but process {pid} is rebuilding it; wait until it ends{gone}, and run "
            "again"
        ) from None


def build(settings: Settings, partition: Partition) -> Result:
    """Load every accepted table into a fresh file, add comments and views, and swap it in by rename.

    Raises:
        CatalogBusy: another rebuild is under way.
        ConfigError: a view is no valid SQL.
        TableError: a partition is damaged or of another contract.
    """
    require_data_root(settings)
    with rebuilding(settings):
        fresh = settings.output / f".{NAME}.{os.getpid()}"
        fresh.unlink(missing_ok=True)
        try:
            with duckdb.connect() as db:
                db.execute(f"ATTACH '{_quoted(str(fresh))}' AS catalog (STORAGE_VERSION '{STORAGE_VERSION}')")
                db.execute("USE catalog")
                db.execute("BEGIN")  # one transaction: a commit a statement takes ten times as long
                counts = {name: _load(db, settings, TABLES[name]) for name in LOADED}
                _add_views(db)
                db.execute("COMMIT")
                db.execute("CHECKPOINT catalog")
            fresh.replace(settings.output / NAME)
            replace_file(settings.output / DICTIONARY, dictionary_page(settings.anatomy).encode())
        finally:
            fresh.unlink(missing_ok=True)
            fresh.with_name(fresh.name + ".wal").unlink(missing_ok=True)
        return Result(
            counts,
            computed=sum(counts.values()),
            preview=markdown(pl.DataFrame({"table": list(counts), "rows": list(counts.values())})),
            files={name: hash_file(settings.output / name) for name in (NAME, DICTIONARY)},
        )


def _load(db: duckdb.DuckDBPyConnection, settings: Settings, table: Table) -> int:
    """Make a table, fill it from its files and comment it; the number of its rows."""
    db.register("incoming", table.empty().to_arrow())
    db.execute(f'CREATE TABLE "{table.name}" AS SELECT * FROM incoming')
    db.unregister("incoming")
    rows = 0
    if paths := table_files(settings.output, table.name):
        require_contract(table.name, paths)
        try:
            ((rows,),) = db.execute(
                f'INSERT INTO "{table.name}" SELECT * FROM read_parquet(?, hive_partitioning = false)',
                [[_literal(str(path)) for path in paths]],
            ).fetchall()
        except duckdb.Error as error:
            for path in paths:
                read_file(table.name, path)  # names the damaged file
            raise TableError(f"{table.name}: expected files of one schema, got: {error}; run its stage again") from None
    db.execute(f"COMMENT ON TABLE \"{table.name}\" IS '{_quoted(table.description)}'")
    for column in table.columns:
        unit = f" [{column.unit}]" if column.unit else ""
        comment = _quoted(column.description + unit)
        db.execute(f'COMMENT ON COLUMN "{table.name}"."{column.name}" IS \'{comment}\'')
    return rows


def _add_views(db: duckdb.DuckDBPyConnection) -> None:
    for name, text in views().items():
        try:
            db.execute(text)
        except duckdb.Error as error:
            raise ConfigError(f"sql/views/{name}.sql: {error}") from None


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _literal(path: str) -> str:
    """A path as a pattern of DuckDB that matches nothing else: ``study[1]`` alone would match ``study1``."""
    return re.sub(r"[*?[]", r"[\g<0>]", path)


def dictionary_page(anatomy: str) -> str:
    """The data dictionary as one HTML page: tables, columns, rules, views and ready questions."""
    page = package_files("itrialspace_assets.catalog").joinpath("dictionary.html").read_text(encoding="utf-8")
    first = {
        k: {n: t.splitlines()[0].removeprefix("-- ") for n, t in f().items()}
        for k, f in (("views", views), ("questions", questions))
    }
    return str(jinja2.Template(page, autoescape=True).render(tables=list(TABLES.values()), anatomy=anatomy, **first))


def connect(settings: Settings) -> duckdb.DuckDBPyConnection:
    """A read-only connection to the catalog; connect again after a rebuild.

    The file is attached to a connection of its own. So a new connection sees a rebuild even while older connections of
    this process hold the file that it replaced.

    Raises:
        CatalogBusy: another program holds it open for writing.
        TableError: there is no catalog yet, or it is damaged.
    """
    path: Path = settings.output / NAME
    if not path.exists():
        raise TableError(
            f"{NAME}: expected the catalog in {settings.output}, found none; make it with `its run --only catalog`"
        )
    db = duckdb.connect()
    try:
        db.execute(f"ATTACH '{_quoted(str(path))}' AS catalog (READ_ONLY)")
        db.execute("USE catalog")
    except duckdb.Error as error:
        db.close()
        if isinstance(error, duckdb.IOException) and "lock" in str(error):
            raise CatalogBusy(
                f"{path}: expected no program that holds it open for writing, got: {str(error).splitlines()[0]}. Close "
                "the catalog there, or open it there read-only"
            ) from None
        raise TableError(
            f"{NAME}: expected a DuckDB file, got: {error}; make it again with `its run --only catalog`"
        ) from None
    return db


def contents(settings: Settings) -> dict[str, str]:
    """Number and hash of every table's rows, whatever their order; equal catalogs have equal ones."""
    found = {}
    with connect(settings) as db:
        for name in LOADED:
            rows = db.execute(f'SELECT count(*), coalesce(bit_xor(hash(t)), 0) FROM "{name}" t').fetchone()
            found[name] = str(rows)
    return found
