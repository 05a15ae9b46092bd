"""The asset ``cohort_manifests``: one partition a mode; the size is run configuration."""

import dagster as dg

from itrialspace_assets.graph import Node
from itrialspace_assets.partitions import Partitions
from itrialspace_assets.settings import Settings
from itrialspace_assets.trials import build
from resources.factory import plain_asset


def assets(settings: Settings, nodes: list[Node], partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    made = {n.step.key: n for n in nodes}
    return [plain_asset(made[build.STEP.key], nodes, partitions, lambda s, p, run: build.build(s, p), sized=True)]
