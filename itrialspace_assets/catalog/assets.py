"""The assets ``results_catalog`` and ``release_files``."""

import dagster as dg

from itrialspace_assets.catalog import rebuild, release
from itrialspace_assets.graph import Node
from itrialspace_assets.partitions import Partitions
from itrialspace_assets.settings import Settings
from resources.factory import plain_asset


def assets(settings: Settings, nodes: list[Node], partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    made = {n.step.key: n for n in nodes}
    built = {rebuild.STEP: rebuild.build, release.STEP: release.build}
    return [plain_asset(made[step.key], nodes, partitions, lambda s, p, run, build=build: build(s, p)) for step, build in built.items()]
