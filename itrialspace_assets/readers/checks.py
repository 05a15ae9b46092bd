"""Checks of the stage ``readers``."""

import dagster as dg

from itrialspace_assets.orchestration.check_factory import REGISTRY, REJECTED, checks_of
from itrialspace_assets.orchestration.nodes import Graph
from itrialspace_assets.orchestration.partitions import Partitions


def checks(graph: Graph, partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """Registry rules, and the share of rejected cases."""
    return [checks_of(n, partitions, [REGISTRY, REJECTED]) for n in graph.nodes if n.step.stage == "read"]
