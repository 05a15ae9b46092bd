"""What Dagster's history tells of runs: which are active, and what each partition took. Starts and changes none."""

from collections.abc import Sequence

import dagster as dg

from itrialspace_assets.orchestration.nodes import Node

_ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
#: Events of an asset that are looked at (ours): all partitions of 13 modes and 7 datasets, several times.
_EVENTS = 2000


def active_runs(instance: dg.DagsterInstance) -> list[str]:
    """Ids of runs that wait, run or are being ended."""
    return [run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=_ACTIVE))]


def seconds_of_builds(instance: dg.DagsterInstance, nodes: Sequence[Node]) -> dict[str, dict[str, float]]:
    """Seconds of the last materialization of each partition (``all`` without any), by asset."""
    found: dict[str, dict[str, float]] = {}
    for node in nodes:
        newest: dict[str, float] = {}
        for record in instance.fetch_materializations(dg.AssetKey(list(node.step.key)), limit=_EVENTS).records:
            made = record.asset_materialization  # newest first
            seconds = made.metadata.get("seconds") if made else None
            if made and seconds is not None:
                newest.setdefault(made.partition or "all", float(str(seconds.value)))
        found[node.step.name] = newest
    return found
