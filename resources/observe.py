"""Observable sources: what the data root holds, as data versions. Listing only: no volume is read."""

import dagster as dg

from itrialspace_assets.fingerprints import digest
from itrialspace_assets.graph import RAW
from itrialspace_assets.partitions import Partitions
from itrialspace_assets.profiles.registry import dataset
from itrialspace_assets.settings import Settings
from itrialspace_assets.store import file_digests
from resources.workspace import Workspace


def version_of(settings: Settings, kind: str, name: str) -> str:
    """Version of one kind of raw data of a dataset: content hash of tables, listing of volumes."""
    if kind == "profiles":
        (sha,) = file_digests(settings.output, [dataset(settings, name).profile_csv(settings.data)]).values()
        return sha or "missing"
    base = settings.data / ("raw_ct" if kind == "cts" else "masks") / name
    found = (
        sorted((str(p.relative_to(base)), p.stat().st_size, p.stat().st_mtime_ns) for p in base.rglob("*.nii.gz"))
        if base.is_dir()
        else []
    )
    return digest(found, 32)


def raw_sources(partitions: Partitions) -> "list[dg.SourceAsset]":
    """One observable source a kind of raw data, partitioned by dataset."""
    return [_source(key, what, partitions) for key, what in RAW.items()]


def _source(key: tuple[str, ...], what: str, partitions: Partitions) -> "dg.SourceAsset":
    @dg.observable_source_asset(key=list(key), description=what, group_name="raw", partitions_def=partitions.dataset)
    def observe(workspace: Workspace) -> dg.DataVersionsByPartition:
        settings = workspace.settings()
        return dg.DataVersionsByPartition(
            {name: version_of(settings, key[1], name) for name in partitions.dataset.get_partition_keys()}
        )

    return observe
