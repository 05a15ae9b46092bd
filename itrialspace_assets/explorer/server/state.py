"""What the server opens once and shares between requests: settings, index, catalog.

Whatever else a router keeps between requests it keeps itself, under ``OpenRoot.kept``.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import duckdb
from fastapi import Depends, Request

from itrialspace_assets.base.errors import MissingTable
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.catalog.rebuild import connect
from itrialspace_assets.explorer.search.columns import Columns
from itrialspace_assets.records.store import table_path

#: Memory that one question to the catalog may take; ours, so that the server stays under 600 MiB.
_CATALOG_MEMORY = "192MB"

Stamp = tuple[int, int, int]


def stamp_of(path: Path, table: str) -> Stamp:
    """What changes when a file is replaced: time, size and inode.

    Raises:
        MissingTable: the file is not there; ``table`` names what it holds.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        raise MissingTable(table, "") from None
    return found.st_mtime_ns, found.st_size, found.st_ino


class OpenRoot:
    """A data root and its outputs, open for reading. Threads may share it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._locks: dict[str, Any] = {}
        self._kept: dict[str, tuple[Any, Any]] = {}

    def kept(self, name: str, stamp: Any, make: Callable[[], Any]) -> Any:
        """What ``make`` gave, kept until the stamp changes; threads that ask at once make it once.

        Args:
            name: of what is kept; one for each use.
            stamp: compared with that of the last time, for example by ``stamp_of``.
            make: makes it again.
        """
        found = self._kept.get(name)
        if found is not None and found[0] == stamp:
            return found[1]
        with self._locks.setdefault(name, threading.RLock()):  # one a name: a volume that is read holds up nothing else
            found = self._kept.get(name)
            if found is None or found[0] != stamp:
                self._kept[name] = found = (stamp, make())
        return found[1]

    @property
    def columns(self) -> Columns:
        """Columns of the index for searches, opened again when its table was made again.

        Raises:
            TableError: there is none yet, or it was accepted under another contract.
        """
        path = table_path(self.settings.output, "nodules")
        columns: Columns = self.kept("columns", stamp_of(path, "nodules"), lambda: Columns(path))
        return columns

    def catalog(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the catalog, for one request; close it (``with root.catalog() as db``).

        It is read-only, reads no file but the catalog, attaches nothing, and its settings cannot be changed.

        Raises:
            CatalogBusy: another program holds it open for writing.
            TableError: there is no catalog yet, or it is damaged.
        """
        db = connect(self.settings)
        for setting in (
            "threads = 2",
            f"memory_limit = '{_CATALOG_MEMORY}'",
            "max_temp_directory_size = '0GB'",
            "autoinstall_known_extensions = false",
            "autoload_known_extensions = false",
            "enable_external_access = false",
            "lock_configuration = true",
        ):
            db.execute(f"SET {setting}")
        return db


def _root(request: Request) -> OpenRoot:
    root: OpenRoot = request.app.state.root
    return root


#: The parameter of a route that reads the data root.
RootOf = Annotated[OpenRoot, Depends(_root)]
