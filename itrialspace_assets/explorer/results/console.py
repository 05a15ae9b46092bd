"""SQL over the catalog for people who may be anybody: one SELECT, with limits of rows, time and memory.

Each statement runs in a process of its own (``sandbox``), so that none can hold the server up or take its memory.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.catalog.questions import Question, ready
from itrialspace_assets.catalog.rebuild import NAME, views
from itrialspace_assets.records.tables import TABLES

#: Rows that a page can show, and seconds and MiB that a statement may take (ours).
MOST_ROWS, SECONDS, MEMORY_MIB = 10_000, 15.0, 256
#: MiB of addresses of its process: DuckDB reserves more than it uses (ours).
_SPACE_MIB = 2048
#: Statements at once, and seconds that one more waits for its turn (ours: two cores).
_AT_ONCE = threading.BoundedSemaphore(2)


class AskedColumn(StrictModel):
    """A column of an answer and its type in DuckDB."""

    name: str
    type: str


class QueryAnswer(StrictModel):
    """Rows of an answer; ``more`` says that there are others beyond the limit. Large whole numbers are text."""

    columns: tuple[AskedColumn, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool


class DictionaryColumn(StrictModel):
    """A column of a table: name, type, unit and meaning."""

    name: str
    type: str
    unit: str
    meaning: str


class DictionaryTable(StrictModel):
    """A table or view of the catalog with what it holds; of a view the columns are not listed."""

    name: str
    view: bool
    meaning: str
    columns: tuple[DictionaryColumn, ...]


def questions() -> Mapping[str, Question]:
    """Every ready question by name."""
    return ready()


def dictionary() -> tuple[DictionaryTable, ...]:
    """Every table and view of the catalog."""
    tables = [
        DictionaryTable(
            name=t.name,
            view=False,
            meaning=t.description,
            columns=tuple(
                DictionaryColumn(name=c.name, type=str(c.type), unit=c.unit or "", meaning=c.description)
                for c in t.columns
            ),
        )
        for t in TABLES.values()
    ]
    of_views = [
        DictionaryTable(name=name, view=True, meaning=sql.splitlines()[0].removeprefix("-- "), columns=())
        for name, sql in views().items()
    ]
    return (*tables, *of_views)


def ask(settings: Settings, sql: str, values: Mapping[str, str], limit: int, seconds: float = SECONDS) -> QueryAnswer:
    """The answer to one SELECT.

    Args:
        settings: where the catalog lies.
        sql: the statement; ``$name`` stands for a value.
        values: of each name.
        limit: most rows.
        seconds: that it may take.

    Raises:
        ConfigError: the statement is wrong, is no SELECT, or takes too long or too much memory.
        TableError: there is no catalog yet.
    """
    path = settings.output / NAME
    if not path.exists():
        raise TableError(f"{NAME}: expected the catalog, found none; make it with `its run --only catalog`")
    question = {
        "path": str(path),
        "sql": sql,
        "values": dict(values),
        "limit": min(limit, MOST_ROWS),
        "memory_mib": MEMORY_MIB,
        "space_mib": _SPACE_MIB,
    }
    with _AT_ONCE:
        try:
            done = subprocess.run(
                [sys.executable, "-m", f"{__package__}.sandbox"],
                input=json.dumps(question).encode(),
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ConfigError(f"sql: expected an answer within {seconds:g} s, got none; ask for less") from None
    said: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {"memory": True}
    if "memory" in said:
        raise ConfigError(f"sql: expected at most {MEMORY_MIB} MiB of memory, got more; ask for less")
    if "refused" in said:
        raise ConfigError(f"sql: {said['refused'].replace(str(path), NAME)}")
    return QueryAnswer.model_validate(said)
