"""The assets ``<source>/eval_slices``."""

from functools import partial

import dagster as dg

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import Result
from itrialspace_assets.orchestration.factory import plain_asset
from itrialspace_assets.orchestration.nodes import Graph
from itrialspace_assets.orchestration.partitions import Partitions
from itrialspace_assets.slices import build


def assets(settings: Settings, graph: Graph, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    own = [n for n in graph.nodes if n.step.stage == "slice"]
    return [plain_asset(settings, graph, n, partitions, partial(_build, n.step.key[0])) for n in own]


def _build(source: str, settings: Settings, partition: dict[str, str], run_id: str) -> Result:
    return build.build(settings, source, partition, run_id)
