"""The asset ``nodule_index``."""

import dagster as dg

from itrialspace_assets.graph import Node
from itrialspace_assets.index import build
from itrialspace_assets.partitions import Partitions
from itrialspace_assets.settings import Settings
from resources.factory import plain_asset


def assets(settings: Settings, nodes: list[Node], partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    made = {n.step.key: n for n in nodes}
    return [plain_asset(made[build.STEP.key], nodes, partitions, lambda s, p, run: build.build(s, p))]
