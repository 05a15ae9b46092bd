"""Assigns the cases that are left to shards, and runs one shard. What a cluster does with a shard is not known here."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from itrialspace_assets.base.fingerprints import replace_parts
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.casework.cases import Case
from itrialspace_assets.casework.journal import pending
from itrialspace_assets.casework.spool import Listed, Spool
from itrialspace_assets.casework.workers import Work, run


def assign_shards(settings: Settings, cases: Iterable[Case], folder: Path, run_id: str) -> list[str]:
    """``assign`` of cases that are made one after the other.

    Args:
        settings: as of ``assign``.
        cases: all cases of the partition.
        folder: journals and shard files of the partition.
        run_id: the run that assigns the shards.
    """
    with Spool.of(settings, cases) as spool:
        return assign(settings, spool, folder, run_id)


def assign(settings: Settings, spool: Spool, folder: Path, run_id: str) -> list[str]:
    """Write the pending cases to one file a shard, whole groups together.

    The costliest group goes first, to the shard with the least cost so far, so that shards end at about the same time.

    Args:
        settings: the greatest number of shards, and where the files of finished cases lie.
        spool: all cases of the partition; those that are done are left out.
        folder: journals and shard files of the partition.
        run_id: the run that assigns the shards; begins the files' names.

    Returns:
        Keys of the shards (``s0``, ``s1``, ...); none if no case is pending.
    """
    groups: dict[str, list[Listed]] = {}
    for case in pending(settings, spool.listed, folder):
        groups.setdefault(case.group, []).append(case)
    shards: list[list[Listed]] = [[] for _ in range(min(settings.shards, len(groups)))]
    costs = {name: sum(case.cost for case in members) for name, members in groups.items()}
    load = [0.0] * len(shards)
    for group in sorted(groups, key=lambda g: (-costs[g], g)):
        least = load.index(min(load))
        shards[least].extend(groups[group])
        load[least] += costs[group]
    for number, members in enumerate(shards):
        replace_parts(_file(folder, run_id, f"s{number}"), map(spool.line, members))
    return [f"s{number}" for number in range(len(shards))]


def _file(folder: Path, run_id: str, shard: str) -> Path:
    return folder / f"{run_id}-{shard}.shard.ndjson"


def read_shard(payload: type[StrictModel], folder: Path, run_id: str, shard: str) -> Iterator[Case]:
    """The cases that ``assign`` gave to a shard, one at a time.

    Args:
        payload: the model of their payload.
        folder: journals and shard files of the partition.
        run_id: the run that assigned the shards.
        shard: key of the shard.
    """
    with Spool.open(_file(folder, run_id, shard), payload) as spool:
        yield from spool.cases(spool.listed)


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    """The cases of a shard's file, a line each: never all in memory, since a long cohort has gigabytes of them."""
    with path.open(encoding="utf-8") as source:
        yield from map(json.loads, source)


def run_shard(
    work: Work,
    payload: type[StrictModel],
    settings: Settings,
    folder: Path,
    run_id: str,
    shard: str,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Run the cases that ``assign_shards`` gave to a shard; of a shard that is tried again, those that are left.

    Args:
        work: what is done with a case's payload.
        payload: the model of that payload.
        settings: how many workers, and where files go.
        folder: journals and shard files of the partition.
        run_id: the run that assigned the shards.
        shard: key of the shard.
        progress: called after each commit with the number of cases that it held.
    """
    with Spool.open(_file(folder, run_id, shard), payload) as spool:
        left = spool.cases(pending(settings, spool.listed, folder))
        run(work, left, settings, folder / f"{run_id}-{shard}.jsonl", progress)


def all_of(payload: type[StrictModel], folder: Path, run_id: str) -> Iterator[Case]:
    """The cases of all shards of a run, one at a time.

    Args:
        payload: the model of their payload.
        folder: journals and shard files of the partition.
        run_id: the run that assigned the shards.
    """
    for path in sorted(folder.glob(_file(folder, run_id, "s*").name)):
        with Spool.open(path, payload) as spool:
            yield from spool.cases(spool.listed)


def assigned(
    folder: Path, run_id: str, shard: str = "s*", size: Callable[[dict[str, Any]], int] = lambda case: 1
) -> int:
    """How many cases this run had left to do.

    Args:
        folder: journals and shard files of the partition.
        run_id: the run that assigned the shards.
        shard: key of the shard; by itself all of them.
        size: how many a case, as its shard's file holds it, counts for.
    """
    return sum(sum(map(size, _entries(path))) for path in folder.glob(_file(folder, run_id, shard).name))
