"""The asset ``results_catalog``."""

import dagster as dg

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.catalog import rebuild
from itrialspace_assets.orchestration.factory import plain_asset
from itrialspace_assets.orchestration.nodes import Graph
from itrialspace_assets.orchestration.partitions import Partitions


def assets(settings: Settings, graph: Graph, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    node = graph.node(rebuild.STEP.key)
    return [plain_asset(settings, graph, node, partitions, lambda s, p, run: rebuild.build(s, p))]
