"""The cases of a partition on disk, a line each; in memory is only what decides whether and where each of them runs.

The lines are those of a shard's file. What is done with a case is not known here.
"""

import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.casework.cases import Case


@dataclass(frozen=True, slots=True)
class Listed:
    """A case without its payload, the model of that, and where its line begins (bytes)."""

    uid: str
    input_hash: str
    group: str
    cost: float
    payload: type[StrictModel]
    at: int


class Spool:
    """Cases that are made once, written at once, and read again one at a time; a context that closes its file.

    Attributes:
        listed: every case, in the order in which they were made.
    """

    def __init__(self, source: IO[bytes], listed: list[Listed]) -> None:
        self._source, self.listed = source, listed

    @classmethod
    def of(cls, settings: Settings, cases: Iterable[Case]) -> "Spool":
        """Spool of cases, in a file without a name: it is gone with this process.

        Args:
            settings: where outputs lie.
            cases: made one after the other.
        """
        folder = settings.output / "work"
        folder.mkdir(parents=True, exist_ok=True)
        source = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by the spool
        listed, at = list[Listed](), 0
        try:
            for case in cases:
                listed.append(Listed(case.uid, case.input_hash, case.group, case.cost, type(case.payload), at))
                at += source.write(json.dumps(_plain(case), allow_nan=False).encode() + b"\n")
            source.flush()
        except BaseException:
            source.close()
            raise
        return cls(source, listed)

    @classmethod
    def open(cls, path: Path, payload: type[StrictModel]) -> "Spool":
        """Spool of a file that ``line`` was written to.

        Args:
            path: the file.
            payload: the model of the cases' payload.
        """
        listed, at = list[Listed](), 0
        source = path.open("rb")
        for line in source:
            entry = json.loads(line)
            listed.append(Listed(entry["uid"], entry["input_hash"], entry["group"], entry["cost"], payload, at))
            at += len(line)
        return cls(source, listed)

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    def line(self, case: Listed) -> bytes:
        """The line of a case."""
        self._source.seek(case.at)
        return self._source.readline()

    def cases(self, wanted: Iterable[Listed]) -> Iterator[Case]:
        """Some of the cases with their payload, in that order."""
        for case in wanted:
            entry = json.loads(self.line(case))
            yield Case(**entry | {"payload": case.payload.model_validate(entry["payload"])})


def _plain(case: Case) -> dict[str, Any]:
    return {f.name: getattr(case, f.name) for f in fields(case)} | {"payload": case.payload.model_dump(mode="json")}
