"""Which partitions in use are out of date, and which of them can be made now. Imports no Dagster.

A partition is in use if it was made before. A dataset that is added joins the assets, and their modes, that were made
before for other datasets. A mode that was never run, and a reader that was never asked, are not begun.
"""

from collections.abc import Collection
from dataclasses import dataclass

from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import Partition, is_current, label, last_record
from itrialspace_assets.orchestration.lineage import reads_of, upstream_partitions
from itrialspace_assets.orchestration.nodes import Graph, Node


@dataclass(frozen=True)
class Stale:
    """A partition that is out of date. ``state`` names what it would be made from: the same state, the same result."""

    node: Node
    partition: Partition
    state: str

    @property
    def label(self) -> str:
        return label(self.node.step.name, self.partition)


def partitions_in_use(graph: Graph, node: Node, settings: Settings, added: Collection[str]) -> list[dict[str, str]]:
    """Partitions of an asset that are kept up to date.

    Args:
        graph: partition keys.
        node: the asset.
        settings: where records lie.
        added: datasets that join the others.
    """
    every = upstream_partitions(node.step.dims, {}, graph.keys)
    made = [p for p in every if last_record(settings, node.step, p) is not None]
    modes = {p.get("mode") for p in made}
    return [p for p in every if p in made or (p.get("dataset") in added and p.get("mode") in modes)]


def datasets_with_profiles(graph: Graph, settings: Settings) -> set[str]:
    """Datasets whose profile table is there."""
    (profiles,) = (s for s in graph.sources if s.key == ("raw", "profiles"))
    return {d for d in graph.keys["dataset"] if profiles.version(settings, {"dataset": d})}


def ready(graph: Graph, settings: Settings, stages: Collection[str], added: Collection[str] = ()) -> list[Stale]:
    """Partitions of some stages that are in use and out of date, and nothing that they read is out of date.

    Args:
        graph: every asset, upstream before downstream.
        settings: decide code versions; where records and data lie.
        stages: of the assets that are looked for; those of other stages are looked at all the same.
        added: datasets that were never made and are to join the others.
    """
    found, stale = [], set[str]()
    for node in graph.nodes:
        for partition in partitions_in_use(graph, node, settings, added):
            reads = reads_of(graph, node, settings, partition)
            if is_current(settings, node.step, partition, reads) and stale.isdisjoint(reads):
                continue
            if node.step.stage in stages and stale.isdisjoint(reads):
                state = digest([node.step.code_version(settings), reads], 16)
                found.append(Stale(node, partition, state))
            stale.add(label(node.step.name, partition))
    return found
