"""The asset ``release_files``."""

import dagster as dg

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.orchestration.factory import plain_asset
from itrialspace_assets.orchestration.nodes import Graph
from itrialspace_assets.orchestration.partitions import Partitions
from itrialspace_assets.release import write


def assets(settings: Settings, graph: Graph, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    node = graph.node(write.STEP.key)
    return [plain_asset(settings, graph, node, partitions, lambda s, p, run: write.build(s, p))]
