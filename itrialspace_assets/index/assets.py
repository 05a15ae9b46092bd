"""The asset ``nodule_index``."""

import dagster as dg

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.index import build
from itrialspace_assets.orchestration.factory import plain_asset
from itrialspace_assets.orchestration.nodes import Node
from itrialspace_assets.orchestration.partitions import Partitions


def assets(settings: Settings, nodes: list[Node], partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    made = {n.step.key: n for n in nodes}
    return [plain_asset(made[build.STEP.key], nodes, partitions, lambda s, p, run: build.build(s, p))]
