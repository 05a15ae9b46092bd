"""The rows of finished cases, read back from the journals when they are asked for, so that no partition's rows have to
be in memory at once. Which lines count is decided in ``journal``.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

#: Rows of a part; the last case's further rows are in it too. Ours: some 5 MiB of dictionaries of the table slices.
PART = 1024


class LineStart(NamedTuple):
    """Where a line of a journal begins: its file, and bytes before it."""

    path: Path
    at: int


def read_lines(places: Sequence[LineStart]) -> Iterator[dict[str, Any]]:
    """The lines at some places, in their order."""
    for path, of_file in groupby(places, lambda place: place.path):
        with path.open("rb") as source:
            for place in of_file:
                source.seek(place.at)
                yield json.loads(source.readline())


class Rows(Mapping[str, list[dict[str, Any]]]):
    """All rows of each table by its name; ``parts`` gives them some at a time.

    Args:
        places: the lines of the finished cases, in the order of the rows.
        tables: names of the tables that they hold rows of.
    """

    def __init__(self, places: Sequence[LineStart] = (), tables: Collection[str] = ()) -> None:
        self._places, self._tables = places, sorted(tables)

    def __getitem__(self, table: str) -> list[dict[str, Any]]:
        if table not in self._tables:
            raise KeyError(table)
        return [row for part in self.parts(table) for row in part]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def parts(self, table: str, size: int = PART) -> Iterator[list[dict[str, Any]]]:
        """Rows of a table, at least ``size`` at a time but for the last; nothing of a table without rows."""
        part: list[dict[str, Any]] = []
        for line in read_lines(self._places):
            part += line["rows"].get(table, ())
            if len(part) >= size:
                yield part
                part = []
        if part:
            yield part
