"""Checks of the stage ``synthesis``."""

import dagster as dg

from itrialspace_assets.graph import Node
from itrialspace_assets.partitions import Partitions
from resources.check_factory import REGISTRY, REJECTED, checks_of


def checks(nodes: list[Node], partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """Registry rules, and the share of cases put aside."""
    return [checks_of(n, partitions, [REGISTRY, REJECTED]) for n in nodes if n.step.stage == "synthesise"]
