"""The assets ``results_catalog`` and ``release_files``."""

from collections.abc import Callable
from functools import partial

import dagster as dg

from itrialspace_assets.catalog import rebuild, release
from itrialspace_assets.graph import Node
from itrialspace_assets.partitions import Partitions
from itrialspace_assets.settings import Settings
from itrialspace_assets.steps import Partition, Result
from resources.factory import plain_asset

Build = Callable[[Settings, Partition], Result]


def assets(settings: Settings, nodes: list[Node], partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    made = {n.step.key: n for n in nodes}
    built = {rebuild.STEP: rebuild.build, release.STEP: release.build}
    return [plain_asset(made[step.key], nodes, partitions, partial(_call, build)) for step, build in built.items()]


def _call(build: Build, settings: Settings, partition: dict[str, str], run_id: str) -> Result:
    return build(settings, partition)
