"""Observable sources: what the data root and a downloaded release hold, as data versions.

A release is seen as ``its import-release`` verified it.
"""

from collections.abc import Callable

import dagster as dg
import polars as pl

from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.orchestration.nodes import RAW, RELEASED
from itrialspace_assets.orchestration.partitions import Partitions
from itrialspace_assets.records.store import read_all
from itrialspace_assets.resources.workspace import Workspace

#: Version of one kind of raw data of a dataset: (settings, kind, dataset) -> version.
VersionOf = Callable[[Settings, str, str], str]


def raw_sources(partitions: Partitions, version_of: VersionOf) -> "list[dg.SourceAsset]":
    """One observable source a kind of raw data, partitioned by dataset."""
    return [_source(key, what, partitions, version_of) for key, what in RAW.items()]


def _source(key: tuple[str, ...], what: str, partitions: Partitions, version_of: VersionOf) -> "dg.SourceAsset":
    @dg.observable_source_asset(key=list(key), description=what, group_name="raw", partitions_def=partitions.dataset)
    def observe(workspace: Workspace) -> dg.DataVersionsByPartition:
        settings = workspace.settings()
        return dg.DataVersionsByPartition(
            {name: version_of(settings, key[1], name) for name in partitions.dataset.get_partition_keys()}
        )

    return observe


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
    """Data version of a part of a release: what was found there, and how."""
    return digest(rows.sort("path").rows(), 32)


def released_sources(partitions: Partitions) -> "list[dg.SourceAsset]":
    """One observable source a part of a release."""
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


def register_release(settings: Settings, instance: dg.DagsterInstance) -> int:
    """Record a materialisation of every part (and partition) of the release that is wholly as it should be."""
    recorded = 0
    for key, (what, _) in RELEASED.items():
        for partition, rows in released_parts(settings, key).items():
            if rows.is_empty() or (rows["status"] != "ok").any():
                continue
            metadata = {
                "files": rows.height,
                "rows": int(rows["rows"].sum()),
                "what": f"{what}: verified, not recomputed",
            }
            instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    dg.AssetKey(list(key)), partition=partition or None, metadata=metadata,
                    tags={"dagster/data_version": version_of_part(rows)},
                )
            )  # fmt: skip
            recorded += 1
    return recorded
