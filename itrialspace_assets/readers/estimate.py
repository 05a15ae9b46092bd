"""What reading will take: how many requests are left, and how long one takes. Writes no table.

A reader of which nothing is known yet is asked a few requests; what it returns stays in the ledger.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import Partition
from itrialspace_assets.readers.api import Reader
from itrialspace_assets.readers.build import require_ready, to_read, unasked
from itrialspace_assets.readers.case import ReadBatch, ReadWork, RequestToRead
from itrialspace_assets.readers.ledger import Ledger
from itrialspace_assets.readers.questions import questions
from itrialspace_assets.readers.read import kept_marks, seal, work

#: Requests about slices that are asked to see how long one takes (ours); about whole scans one is.
TRIED = 16


@dataclass(frozen=True)
class ReadingEstimate:
    """Requests of a reader on a source and those that are left, each once; scans left; seconds a request."""

    requests: int
    left: int
    scans: int
    each: float | None

    def seconds(self, workers: int) -> float | None:
        """Seconds that the requests left take with so many workers at once; None if there is no way to tell."""
        return None if self.each is None else self.left * self.each / workers


def estimate_reading(
    settings: Settings, source: str, reader: Reader, partitions: Sequence[Partition]
) -> ReadingEstimate:
    """What a reader still has to read.

    Args:
        settings: where tables and the ledger lie, and which slices are read.
        source: ``real`` or a renderer's name.
        reader: an enabled reader.
        partitions: those whose slices are cut; modes may share a request.

    Raises:
        ConfigError: the reader lacks something, or no slice of its profile was cut.
        TableError: a table of a stage before is missing.
    """
    require_ready(reader)
    asked = [questions(settings, source, reader, partition) for partition in partitions]
    if not asked:
        return ReadingEstimate(0, 0, 0, None)
    every = pl.concat([part.requests for part in asked]).unique("generation_key", keep="first", maintain_order=True)
    scans = {scan.key: scan for part in asked for scan in part.scans.values()}
    shown = {uid: scan for part in asked for uid, scan in part.shown.items()}
    left = unasked(settings, reader, every)
    unmarked = sum(kept_marks(settings, reader, scan) is None for scan in scans.values())
    ledger = Ledger.of(settings, reader.name, reader.revision)
    each = ledger.seconds_each()
    if each is None and left.height:
        _try(settings, reader, to_read(left.head(TRIED if reader.scan_levels is None else 1), shown))
        each, left = ledger.seconds_each(), unasked(settings, reader, left)
    return ReadingEstimate(every.height, left.height, unmarked, each)


def _try(settings: Settings, reader: Reader, requests: tuple[RequestToRead, ...]) -> None:
    work(ReadWork(job=ReadBatch(reader=reader.name, requests=requests)), settings)
    seal(settings, reader)
