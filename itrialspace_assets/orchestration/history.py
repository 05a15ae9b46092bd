"""Dagster's history of runs and events in SQLite, for the instance that this program makes.

Dagster's own SQLite storages make a new engine for each statement, which compiles every query again, and a new
database for each run: most of the time of a partition without work. Here each of the two files keeps one engine, and
all runs share one event log, as they do in Postgres. What is stored, and its tables, are Dagster's.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster_shared.error import SerializableErrorInfo

from itrialspace_assets.base.disk import errors_beneath

#: How long (ms) one run's event waits for those of others; ours: many times what 32 runs at once need.
_WAIT_MS = 120_000


def _engine(address: str) -> sqlalchemy.Engine:
    """An engine that is kept, and with it its connections and the statements that it compiled.

    No fsync for each event: after a power cut the history may lack its end, the outputs do not. Each event is moved
    from the write-ahead log to the file itself at once: the web page follows a run by changes of that file.
    """
    engine = sqlalchemy.create_engine(address)

    @sqlalchemy.event.listens_for(engine, "connect")
    def relax(connection: sqlite3.Connection, record: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA wal_autocheckpoint=1")
        connection.execute(f"PRAGMA busy_timeout={_WAIT_MS}")

    return engine


class Runs(SqliteRunStorage):
    """Runs and their tags."""

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engine = _engine(conn_string)
        super().__init__(conn_string, inst_data)

    @contextmanager
    def connect(self) -> Iterator[sqlalchemy.Connection]:
        with self._engine.begin() as connection:
            yield connection

    def dispose(self) -> None:
        super().dispose()
        self._engine.dispose()


class Events(ConsolidatedSqliteEventLogStorage):
    """Events of all runs, in one file."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engine = _engine(f"sqlite:///{base_dir}/event_log.db")
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    def has_table(self, table_name: str) -> bool:
        if table_name not in self._tables:  # asked for at every event; tables are never dropped
            self._tables |= set(sqlalchemy.inspect(self._engine).get_table_names())
        return table_name in self._tables

    def run_connection(self, run_id: str | None) -> Any:
        return self._engine.begin()

    def index_connection(self) -> Any:
        return self._engine.begin()

    def dispose(self) -> None:
        super().dispose()  # type: ignore[no-untyped-call]
        self._engine.dispose()


class History(DagsterStorage, ConfigurableClass):
    """Runs, events and schedules below one folder; named in ``dagster.yaml``."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        self._runs = Runs.from_local(str(Path(base_dir) / "history"))
        self._events = Events(str(Path(base_dir) / "history"))
        self._schedules = SqliteScheduleStorage.from_local(str(Path(base_dir) / "schedules"))
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {"base_dir": dg.StringSource}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> "History":
        return cls(inst_data=inst_data, **config_value)

    def register_instance(self, instance: dg.DagsterInstance) -> None:
        super().register_instance(instance)
        for part in (self._runs, self._events, self._schedules):
            if not part.has_instance:
                part.register_instance(instance)

    def dispose(self) -> None:
        for part in (self._runs, self._events, self._schedules):
            part.dispose()

    @property
    def event_log_storage(self) -> Events:
        return self._events

    @property
    def run_storage(self) -> Runs:
        return self._runs

    @property
    def schedule_storage(self) -> SqliteScheduleStorage:
        return self._schedules


def history_failure(error: BaseException) -> str | None:
    """What happened to the database of the history, and how to fix it; None where the error is of another kind.

    Args:
        error: as it was caught.
    """
    for one in errors_beneath(error):
        if isinstance(one, sqlalchemy.exc.DBAPIError):
            return _lost(str(one.orig))
    return None


def history_failure_of(error: SerializableErrorInfo) -> str | None:
    """The same of an error that Dagster wrote down in a step: it keeps the text, no class.

    Args:
        error: without what it was caused by.
    """
    return _lost(error.message.partition("\n[SQL:")[0]) if "(Background on this error at:" in error.message else None


def _lost(said: str) -> str:
    return (
        f"the database of Dagster's history failed: {' '.join(said.split())}. See that it runs and that no other "
        "program holds it, then run again: what is finished is kept"
    )
