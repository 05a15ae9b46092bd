"""Checks of the stage ``synthesis``."""

import dagster as dg

from itrialspace_assets.graph import Node
from itrialspace_assets.partitions import Partitions
from resources.check_factory import registry_check, rejected_check


def checks(nodes: list[Node], partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """Registry rules, and the share of cases put aside."""
    own = [n for n in nodes if n.step.stage == "synthesise"]
    return [make(n, partitions) for n in own for make in (registry_check, rejected_check)]
