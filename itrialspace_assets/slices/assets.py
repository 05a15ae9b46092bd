"""The assets ``<source>/eval_slices``."""

from functools import partial

import dagster as dg

from itrialspace_assets.graph import Node
from itrialspace_assets.partitions import Partitions
from itrialspace_assets.settings import Settings
from itrialspace_assets.slices import build
from itrialspace_assets.steps import Result
from resources.factory import plain_asset


def assets(settings: Settings, nodes: list[Node], partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    own = [n for n in nodes if n.step.stage == "slice"]
    return [plain_asset(n, nodes, partitions, partial(_build, n.step.key[0])) for n in own]


def _build(source: str, settings: Settings, partition: dict[str, str], run_id: str) -> Result:
    return build.build(settings, source, partition, run_id)
