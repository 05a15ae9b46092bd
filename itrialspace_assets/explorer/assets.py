"""The asset ``nodule_map``."""

import dagster as dg

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.layouts import build
from itrialspace_assets.orchestration.factory import plain_asset
from itrialspace_assets.orchestration.nodes import Graph
from itrialspace_assets.orchestration.partitions import Partitions


def assets(settings: Settings, graph: Graph, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    return [plain_asset(settings, graph, graph.node(build.STEP.key), partitions, lambda s, p, run: build.build(s, p))]
