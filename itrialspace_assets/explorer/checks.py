"""Checks of the stage ``explorer``."""

import dagster as dg

from itrialspace_assets.graph import Node
from itrialspace_assets.partitions import Partitions
from resources.check_factory import registry_check


def checks(nodes: list[Node], partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """Registry checks."""
    return [registry_check(n, partitions) for n in nodes if n.step.key[0] == "nodule_map"]
