"""The assets ``results_catalog`` and ``release_files``."""

from collections.abc import Callable
from functools import partial

import dagster as dg

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import Partition, Result
from itrialspace_assets.catalog import rebuild
from itrialspace_assets.orchestration.factory import plain_asset
from itrialspace_assets.orchestration.nodes import Node
from itrialspace_assets.orchestration.partitions import Partitions
from itrialspace_assets.release import write as release

Build = Callable[[Settings, Partition], Result]


def assets(settings: Settings, nodes: list[Node], partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    made = {n.step.key: n for n in nodes}
    built = {rebuild.STEP: rebuild.build, release.STEP: release.build}
    return [plain_asset(made[step.key], nodes, partitions, partial(_call, build)) for step, build in built.items()]


def _call(build: Build, settings: Settings, partition: dict[str, str], run_id: str) -> Result:
    return build(settings, partition)
