"""Rebuilds ``itrialspace.duckdb`` from Parquet into a fresh file and swaps it in by rename."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files as package_files
from pathlib import Path

import duckdb
import jinja2
import polars as pl

from itrialspace_assets.base.errors import CatalogBusy, ConfigError, TableError
from itrialspace_assets.base.fingerprints import digest, hash_file, replace_file
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import Options, Partition, Result, Step
from itrialspace_assets.imaging.pictures import markdown
from itrialspace_assets.records.store import read_file, table_files
from itrialspace_assets.records.tables import TABLES

VERSION = "2"
NAME = "itrialspace.duckdb"
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
    """Hold the catalogue's lock.

    Raises:
        CatalogBusy: another process holds it; names that process.
    """
    path = settings.output / "work" / "catalog.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            raise CatalogBusy(
                f"{NAME}: expected to be alone, but process {handle.read().strip() or '?'} is rebuilding it; "
                "wait for it and run again"
            ) from None
        handle.seek(0)
        handle.truncate()
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def build(settings: Settings, partition: Partition) -> Result:
    """Load every accepted table, add comments and views, check point, rename.

    Raises:
        CatalogBusy: another rebuild is under way.
        TableError: a partition is damaged or of another contract.
    """
    require_data_root(settings)
    with rebuilding(settings):
        fresh = settings.output / f".{NAME}.{os.getpid()}"
        fresh.unlink(missing_ok=True)
        counts: dict[str, int] = {}
        try:
            with duckdb.connect(str(fresh)) as db:
                for table in TABLES.values():
                    frames = [read_file(table.name, path) for path in table_files(settings.output, table.name)]
                    db.register("incoming", table.empty().to_arrow())
                    db.execute(f'CREATE TABLE "{table.name}" AS SELECT * FROM incoming')
                    db.unregister("incoming")
                    for frame in frames:
                        db.register("incoming", frame.to_arrow())
                        db.execute(f'INSERT INTO "{table.name}" SELECT * FROM incoming')
                        db.unregister("incoming")
                    db.execute(f"COMMENT ON TABLE \"{table.name}\" IS '{_quoted(table.description)}'")
                    for column in table.columns:
                        unit = f" [{column.unit}]" if column.unit else ""
                        db.execute(
                            f'COMMENT ON COLUMN "{table.name}"."{column.name}" IS '
                            f"'{_quoted(column.description + unit)}'"
                        )
                    counts[table.name] = sum(f.height for f in frames)
                for name, text in views().items():
                    try:
                        db.execute(text)
                    except duckdb.Error as error:
                        raise ConfigError(f"sql/views/{name}.sql: {error}") from None
                db.execute("CHECKPOINT")
            fresh.replace(settings.output / NAME)
            replace_file(settings.output / DICTIONARY, dictionary_page(settings.anatomy).encode())
        finally:
            fresh.unlink(missing_ok=True)
            fresh.with_name(fresh.name + ".wal").unlink(missing_ok=True)
        table_md = markdown(pl.DataFrame({"table": list(counts), "rows": list(counts.values())}))
        return Result(
            counts,
            computed=sum(counts.values()),
            preview=table_md,
            files={name: hash_file(settings.output / name) for name in (NAME, DICTIONARY)},
        )


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def dictionary_page(anatomy: str) -> str:
    """The data dictionary as one HTML page: tables, columns, rules, views and ready questions."""
    page = package_files("itrialspace_assets.catalog").joinpath("dictionary.html").read_text(encoding="utf-8")
    first = {
        k: {n: t.splitlines()[0].removeprefix("-- ") for n, t in f().items()}
        for k, f in (("views", views), ("questions", questions))
    }
    return str(jinja2.Template(page, autoescape=True).render(tables=list(TABLES.values()), anatomy=anatomy, **first))


def connect(settings: Settings) -> duckdb.DuckDBPyConnection:
    """A read-only view of the catalogue as it is now; connect again after a rebuild.

    The file is attached to a connection of its own, so that a rebuild is seen even while older
    connections of this process still hold the file that it replaced.

    Raises:
        TableError: there is no catalogue yet, or it is damaged.
    """
    path: Path = settings.output / NAME
    if not path.exists():
        raise TableError(
            f"{NAME}: expected the catalogue in {settings.output}, found none; run `its run` or the stage catalog"
        )
    db = duckdb.connect()
    try:
        db.execute(f"ATTACH '{_quoted(str(path))}' AS catalogue (READ_ONLY)")
        db.execute("USE catalogue")
    except duckdb.Error as error:
        db.close()
        raise TableError(f"{NAME}: damaged ({error}); run the stage catalog again") from None
    return db


def contents(settings: Settings) -> dict[str, str]:
    """Hash of every table's content, order of rows aside: two catalogues are compared by this."""
    found = {}
    with connect(settings) as db:
        for name in TABLES:
            rows = db.execute(f'SELECT count(*), coalesce(bit_xor(hash(t)), 0) FROM "{name}" t').fetchone()
            found[name] = str(rows)
    return found
