"""Which partitions a partition reads, their versions, and whether it is up to date. Imports no Dagster.

Dagster asks the same through the mappings of ``partitions``; a test holds the two together.
"""

from collections.abc import Mapping
from itertools import product

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import Partition, Reads, data_version, is_current, label
from itrialspace_assets.orchestration.nodes import Dims, Graph, Node


def upstream_partitions(
    upstream: Dims, partition: Partition, keys: Mapping[str, tuple[str, ...]], *, every: bool = False
) -> list[dict[str, str]]:
    """Partitions of an upstream asset that a partition reads.

    Args:
        upstream: dimensions of what is read.
        partition: the partition that reads.
        keys: partition keys of each dimension.
        every: it reads all of them, whatever its own.
    """
    choices = [(partition[d],) if d in partition and not every else keys[d] for d in upstream]
    return [dict(zip(upstream, chosen, strict=True)) for chosen in product(*choices)]


def reads_of(graph: Graph, node: Node, settings: Settings, partition: Partition) -> Reads:
    """Version of each partition that a node reads for a partition of its own.

    Args:
        graph: dimensions, partition keys and sources of all that the node may read.
        node: the asset that reads.
        settings: where data, trials and records lie.
        partition: partition of the asset, key by dimension; empty without dimensions.

    Returns:
        Version by label (``hosts|LUNA16``); empty text where a source holds nothing, or an asset was never built.
    """
    sources = {s.key: s for s in graph.sources}
    found: Reads = {}
    for key in node.reads:
        name = "/".join(key)
        for part in upstream_partitions(graph.dims(key), partition, graph.keys, every=key in node.every):
            of = label(name, part)
            found[of] = sources[key].version(settings, part) if key in sources else data_version(settings, of)
    return found


def up_to_date(graph: Graph, node: Node, settings: Settings, partition: Partition) -> bool:
    """True if a partition was built by this code and these settings from its present inputs, and is intact.

    Args:
        graph: dimensions, partition keys and sources of all that the node may read.
        node: the asset.
        settings: where data, trials, records and outputs lie; decide the code version.
        partition: partition of the asset, key by dimension; empty without dimensions.
    """
    return is_current(settings, node.step, partition, reads_of(graph, node, settings, partition))
