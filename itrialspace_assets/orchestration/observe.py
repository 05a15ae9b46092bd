"""Sources: what the data root, the trial files, weights and a downloaded release hold, as Dagster data versions.

A source is observed, never made. A release is seen as ``its import-release`` verified it.
"""

from collections.abc import Collection, Iterable
from typing import Any

import dagster as dg
import polars as pl

from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import Partition, Reads, label, read_record
from itrialspace_assets.orchestration.lineage import upstream_partitions
from itrialspace_assets.orchestration.nodes import RELEASED, Graph, Key, Node, Source
from itrialspace_assets.orchestration.partitions import Partitions
from itrialspace_assets.records.store import read_all
from itrialspace_assets.resources.workspace import Workspace

VERSION_TAG = "dagster/data_version"


def observed_sources(graph: Graph, partitions: Partitions) -> "list[dg.SourceAsset]":
    """One observable source asset for each source of the graph."""
    return [_observed(source, graph, partitions) for source in graph.sources]


def _observed(source: Source, graph: Graph, partitions: Partitions) -> "dg.SourceAsset":
    @dg.observable_source_asset(
        key=list(source.key),
        description=source.what,
        group_name=source.key[0],
        partitions_def=partitions.of(source.dims),
    )
    def observe(workspace: Workspace) -> dg.DataVersionsByPartition | dg.DataVersion:
        settings = workspace.settings()
        if not source.dims:
            return dg.DataVersion(source.version(settings, {}) or "missing")
        (dim,) = source.dims
        found = {name: source.version(settings, {dim: name}) or "missing" for name in graph.keys[dim]}
        return dg.DataVersionsByPartition(found)

    return observe


def report_sources(instance: dg.DagsterInstance, graph: Graph, settings: Settings, keys: Iterable[Key]) -> None:
    """Record an observation of each partition of some sources whose version is not the one that Dagster last saw.

    Args:
        instance: Dagster's storage.
        graph: its sources and their partition keys.
        settings: where data, trials, weights and releases lie.
        keys: keys of the sources; keys of assets are skipped.
    """
    for source in (s for s in graph.sources if s.key in set(keys)):
        for part in upstream_partitions(source.dims, {}, graph.keys):
            _report(instance, source, part, source.version(settings, part))


def _report(instance: dg.DagsterInstance, source: Source, partition: Partition, version: str) -> int:
    """Storage id of the observation that holds this version: the last one, or one made now."""
    key, part = dg.AssetKey(list(source.key)), next(iter(partition.values()), None)
    wanted = version or "missing"
    last = instance.get_latest_data_version_record(key, True, part)
    seen = last.event_log_entry.asset_observation if last else None
    if last is None or seen is None or seen.tags.get(VERSION_TAG) != wanted:
        instance.report_runless_asset_event(dg.AssetObservation(key, partition=part, tags={VERSION_TAG: wanted}))
        last = instance.get_latest_data_version_record(key, True, part)
    assert last is not None
    return int(last.storage_id)


def tags_of_reads(instance: dg.DagsterInstance, graph: Graph, node: Node, reads: Reads) -> dict[str, str]:
    """Tags that say which version of each source a build read.

    Without them Dagster takes the last observation before the step, which may be older than what was read, or of other
    settings than the run chose. Where the versions that were read are not the last observed ones, they are reported.

    Args:
        instance: Dagster's storage.
        graph: its sources and their partition keys.
        node: the asset that was built.
        reads: version of each partition that the build read, as ``lineage.reads_of`` gives it.

    Returns:
        Two tags for each source of which the build read one partition; none for the others.
    """
    tags = {}
    for source in (s for s in graph.sources if s.key in node.reads):
        own = {k: v for k, v in reads.items() if k.startswith(f"{source.name}|")}
        ids = []
        for part in upstream_partitions(source.dims, {}, graph.keys):
            if (of := label(source.name, part)) in own:
                ids.append(_report(instance, source, part, own[of]))
        if len(own) == 1:
            (version,) = own.values()
            tags[f"dagster/input_data_version/{source.name}"] = version or "missing"
            tags[f"dagster/input_event_pointer/{source.name}"] = str(ids[0])
    return tags


def released_parts(settings: Settings, key: tuple[str, ...]) -> dict[str, pl.DataFrame]:
    """Rows of ``released`` that belong to a part, by partition key ("" for one without partitions)."""
    kind = "slices" if key[1] == "real_slices" else key[1]
    rows = read_all(settings.output, "released", kind=kind)
    (dim,) = RELEASED[key][1] or ("",)
    if not dim:
        return {"": rows}
    mine = rows.filter(pl.col("mode").is_null()) if key[1] == "real_slices" else rows
    return {
        str(name): part for (name,), part in mine.filter(pl.col(dim).is_not_null()).group_by([dim], maintain_order=True)
    }


def version_of_part(rows: pl.DataFrame) -> str:
    """Data version of a part of a release: a hash of its rows of ``released``."""
    return digest(rows.sort("path").rows(), 32)


def released_sources(partitions: Partitions) -> "list[dg.SourceAsset]":
    """One observable source asset for each part of a release."""
    return [_released(key, what, dims, partitions) for key, (what, dims) in RELEASED.items()]


def _released(key: tuple[str, ...], what: str, dims: tuple[str, ...], partitions: Partitions) -> "dg.SourceAsset":
    @dg.observable_source_asset(
        key=list(key), description=what, group_name="released", partitions_def=partitions.of(dims)
    )
    def observe(workspace: Workspace) -> dg.DataVersionsByPartition | dg.DataVersion:
        parts = released_parts(workspace.settings(), key)
        if not dims:
            return dg.DataVersion(version_of_part(parts[""]))
        return dg.DataVersionsByPartition({name: version_of_part(rows) for name, rows in parts.items()})

    return observe


def register_taken(settings: Settings, graph: Graph, instance: dg.DagsterInstance, labels: Collection[str]) -> None:
    """Record a materialization of each partition that was taken from a release (``release.take``).

    Args:
        settings: where records lie.
        graph: its assets and partition keys.
        instance: Dagster's storage.
        labels: the partitions.
    """
    for node in graph.nodes:
        for part in upstream_partitions(node.step.dims, {}, graph.keys):
            record = read_record(settings, of) if (of := label(node.step.name, part)) in labels else None
            if record is None:
                continue
            key = dg.MultiPartitionKey(part) if len(part) > 1 else next(iter(part.values()), None)
            metadata: dict[str, Any] = {f"rows/{name}": count for name, count in record["tables"].items()}
            event = dg.AssetMaterialization(
                dg.AssetKey(list(node.step.key)),
                partition=key,
                metadata=metadata | {"note": record["note"], "released": True},
                tags={VERSION_TAG: record["data_version"]},
            )
            instance.report_runless_asset_event(event)


def register_release(settings: Settings, instance: dg.DagsterInstance) -> int:
    """Record a materialization of every part (and partition) of the release all of whose files passed verification."""
    recorded = 0
    for key, (what, _) in RELEASED.items():
        for partition, rows in released_parts(settings, key).items():
            if rows.is_empty() or (rows["status"] != "ok").any():
                continue
            metadata: dict[str, Any] = {
                "files": rows.height,
                "rows": int(rows["rows"].sum()),
                "what": f"{what}: verified, not recomputed",
            }
            instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    dg.AssetKey(list(key)),
                    partition=partition or None,
                    metadata=metadata,
                    tags={VERSION_TAG: version_of_part(rows)},
                )
            )
            recorded += 1
    return recorded
