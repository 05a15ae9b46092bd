"""The asset ``profiles``: one partition a dataset."""

import dagster as dg

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.orchestration.factory import plain_asset
from itrialspace_assets.orchestration.nodes import Graph
from itrialspace_assets.orchestration.partitions import Partitions
from itrialspace_assets.profiles import build


def assets(settings: Settings, graph: Graph, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    return [plain_asset(settings, graph, graph.node(build.STEP.key), partitions, lambda s, p, run: build.build(s, p))]
