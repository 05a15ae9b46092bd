"""Checks of the stage ``readers``."""

import dagster as dg

from itrialspace_assets.orchestration.check_factory import REGISTRY, REJECTED, checks_of
from itrialspace_assets.orchestration.nodes import Node
from itrialspace_assets.orchestration.partitions import Partitions


def checks(nodes: list[Node], partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """Registry rules, and the share of rejected cases."""
    return [checks_of(n, partitions, [REGISTRY, REJECTED]) for n in nodes if n.step.stage == "read"]
