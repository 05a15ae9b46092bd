"""The assets ``hosts`` (host store and donor store, one partition a dataset) and ``procedural_donors``."""

import dagster as dg

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.hosts import build, procedural
from itrialspace_assets.orchestration.factory import plain_asset
from itrialspace_assets.orchestration.nodes import Graph
from itrialspace_assets.orchestration.partitions import Partitions


def assets(settings: Settings, graph: Graph, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    return [plain_asset(settings, graph, graph.node(m.STEP.key), partitions, m.build) for m in (build, procedural)]
