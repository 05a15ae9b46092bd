"""What a unit of each stage took in this root: seconds from journals, the ledger and Dagster's history, bytes from
records. Forecasts nothing and changes nothing.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.journal import mean_seconds
from itrialspace_assets.casework.steps import read_record
from itrialspace_assets.orchestration import past_runs
from itrialspace_assets.orchestration.instance import open_instance
from itrialspace_assets.orchestration.nodes import Node
from itrialspace_assets.readers.ledger import ledgers
from itrialspace_assets.records.store import partition_of, table_files, table_path


@dataclass(frozen=True)
class MeasuredRate:
    """A mean over ``units`` (cases, scans, requests) that were measured; None: there was none."""

    mean: float | None
    units: int


NOTHING = MeasuredRate(None, 0)


def seconds_of_cases(settings: Settings, folder: str) -> MeasuredRate:
    """Seconds of a case that was done, over the journals of a stage.

    Args:
        settings: where the journals lie.
        folder: the stage, or the asset's name where a stage has several (``tissue/eval_slices``).
    """
    return MeasuredRate(*mean_seconds(settings, folder))


def seconds_of_answers(settings: Settings, reader: str) -> MeasuredRate:
    """Seconds of a request to a reader, as its newest ledger holds them."""
    own = [ledger for name, _, ledger in ledgers(settings) if name == reader]
    known = [(seconds, ledger) for ledger in own if (seconds := ledger.seconds_each()) is not None]
    if not known:
        return NOTHING
    seconds, newest = max(known, key=lambda pair: pair[1].folder.stat().st_mtime_ns)
    return MeasuredRate(seconds, len(newest.keys()))


def requests_a_case(settings: Settings, source: str, reader: str) -> MeasuredRate:
    """Requests to a reader for each case that was sliced, over the modes that it read.

    Args:
        settings: where tables lie.
        source: image source.
        reader: name of the reader.
    """
    files = table_files(settings.output, "generations", source=source, reader=reader)
    parts = [(path, partition_of("generations", path)) for path in files]
    requests = sum(_count(path, pl.len()) for path, _ in parts)
    where = [{name: value for name, value in part.items() if name != "reader"} for _, part in parts]
    cases = sum(_count(table_path(settings.output, "slices", **part), pl.col("case_uid").n_unique()) for part in where)
    return MeasuredRate(requests / cases, cases) if cases else NOTHING


def _count(path: Path, what: pl.Expr) -> int:
    return int(pl.scan_parquet(path, glob=False).select(what).collect().item()) if path.exists() else 0


def bytes_a_unit(settings: Settings, node: Node, partitions: Iterable[Mapping[str, str]]) -> MeasuredRate:
    """Bytes on disk of an asset's own files, for each unit that its records count; a shared file counts once.

    Args:
        settings: where records and files lie.
        node: the asset.
        partitions: those whose records are read, where they are there.
    """
    files, units = set[str](), 0
    for part in partitions:
        name = "/".join(part[d] for d in node.step.dims) or "all"
        content = read_record(settings, f"{node.step.name}|{name}")
        if content is not None:
            files |= content["files"].keys()
            units += int(content["computed"]) + int(content["reused"])
    sizes = [path.stat().st_size for name in files if (path := settings.output / name).exists()]
    return MeasuredRate(sum(sizes) / units, units) if units else NOTHING


def seconds_of_builds(settings: Settings, nodes: Sequence[Node]) -> dict[str, dict[str, float]]:
    """Seconds of the last materialization of each partition (``all`` without any), by asset; reads the history."""
    home = Path(os.environ.get("DAGSTER_HOME") or settings.output / "dagster")
    if not (home / "dagster.yaml").exists():  # nothing was run here; a history is not made for a look
        return {node.step.name: {} for node in nodes}
    with open_instance(settings) as instance:
        return past_runs.seconds_of_builds(instance, nodes)
