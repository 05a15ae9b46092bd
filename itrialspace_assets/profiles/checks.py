"""Checks of the stage ``profiles``."""

import dagster as dg

from itrialspace_assets.orchestration.check_factory import ODD, REGISTRY, checks_of
from itrialspace_assets.orchestration.nodes import Graph
from itrialspace_assets.orchestration.partitions import Partitions


def checks(graph: Graph, partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """Rules of the registry, and unusual values in the published rows."""
    return [checks_of(n, partitions, [REGISTRY, ODD]) for n in graph.nodes if n.step.key == ("profiles",)]
