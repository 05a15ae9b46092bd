"""Checks of the stage ``explorer``."""

import dagster as dg

from itrialspace_assets.orchestration.check_factory import REGISTRY, checks_of
from itrialspace_assets.orchestration.nodes import Graph
from itrialspace_assets.orchestration.partitions import Partitions


def checks(graph: Graph, partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """Registry rules."""
    return [checks_of(n, partitions, [REGISTRY]) for n in graph.nodes if n.step.key == ("nodule_map",)]
