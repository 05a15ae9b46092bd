"""The assets ``hosts`` (host store and donor store, one partition a dataset) and ``procedural_donors``."""

import dagster as dg

from itrialspace_assets.graph import Node
from itrialspace_assets.hosts import build, procedural
from itrialspace_assets.partitions import Partitions
from itrialspace_assets.settings import Settings
from resources.factory import plain_asset


def assets(settings: Settings, nodes: list[Node], partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    made = {n.step.key: n for n in nodes}
    return [plain_asset(made[m.STEP.key], nodes, partitions, m.build) for m in (build, procedural)]
