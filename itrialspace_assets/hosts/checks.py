"""Checks of the stage ``hosts``."""

import dagster as dg

from itrialspace_assets.hosts import procedural
from itrialspace_assets.orchestration.check_factory import REGISTRY, REJECTED, checks_of
from itrialspace_assets.orchestration.nodes import Node
from itrialspace_assets.orchestration.partitions import Partitions


def checks(nodes: list[Node], partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """Registry rules, and the share of rejected cases."""
    stores = [checks_of(n, partitions, [REGISTRY, REJECTED]) for n in nodes if n.step.stage == "hosts"]
    return [*stores, *(checks_of(n, partitions, [REGISTRY]) for n in nodes if n.step == procedural.STEP)]
