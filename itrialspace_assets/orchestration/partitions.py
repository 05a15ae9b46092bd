"""Partition definitions of the graph and the mapping of every edge between different ones.

Where an edge names no mapping, Dagster falls back to an identity mapping that matches nothing, without an error. So
an edge is made with ``dep`` or ``mapping`` only, which name it.
"""

from dataclasses import dataclass

import dagster as dg

from itrialspace_assets.orchestration.nodes import Dims, Graph, Key


@dataclass(frozen=True)
class Partitions:
    """Partition definitions by dimensions."""

    dataset: dg.StaticPartitionsDefinition
    mode: dg.StaticPartitionsDefinition
    pair: dg.MultiPartitionsDefinition

    def of(self, dims: Dims) -> "dg.PartitionsDefinition[str] | None":
        by_dims: dict[Dims, dg.PartitionsDefinition[str]] = {
            ("dataset",): self.dataset,
            ("mode",): self.mode,
            ("mode", "dataset"): self.pair,
        }
        return by_dims.get(dims)


def make_partitions(graph: Graph) -> Partitions:
    """Definitions over the partition keys of a graph."""
    dataset = dg.StaticPartitionsDefinition(list(graph.keys["dataset"]))
    mode = dg.StaticPartitionsDefinition(list(graph.keys["mode"]))
    return Partitions(dataset, mode, dg.MultiPartitionsDefinition({"mode": mode, "dataset": dataset}))


def mapping(upstream: Dims, downstream: Dims, *, every: bool = False) -> "dg.PartitionMapping | None":
    """Which upstream partitions a downstream partition reads.

    Args:
        upstream: dimensions of the asset that is read.
        downstream: dimensions of the asset that reads.
        every: it reads all partitions whatever its own (donors come from any dataset).

    Raises:
        ValueError: there is no natural mapping between the two.
    """
    if not upstream:
        return None
    if every or not downstream:
        return dg.AllPartitionMapping()
    if upstream == downstream:
        return dg.IdentityPartitionMapping()
    if len(downstream) == 2 and len(upstream) == 1:
        return dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name=upstream[0])
    if len(upstream) == 2 and len(downstream) == 1:
        return dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name=downstream[0])
    raise ValueError(f"no natural mapping from {upstream} to {downstream}; say every=True if all are read")


def dep(key: Key, upstream: Dims, downstream: Dims, *, every: bool = False) -> dg.AssetDep:
    """An edge with its mapping named.

    Args:
        key: asset or source that is read.
        upstream: its dimensions.
        downstream: dimensions of the asset that reads.
        every: it reads all partitions whatever its own.

    Raises:
        ValueError: there is no natural mapping between the two.
    """
    return dg.AssetDep(dg.AssetKey(list(key)), partition_mapping=mapping(upstream, downstream, every=every))
