"""The assets ``evaluation_splits``, ``mode_report``, ``real_report`` and ``study_report``."""

from collections.abc import Callable
from functools import partial

import dagster as dg

from itrialspace_assets.analysis import report, splits
from itrialspace_assets.graph import Node
from itrialspace_assets.partitions import Partitions
from itrialspace_assets.settings import Settings
from itrialspace_assets.steps import Partition, Result
from resources.factory import plain_asset

Build = Callable[[Settings, Partition], Result]


def assets(settings: Settings, nodes: list[Node], partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    made = {n.step.key: n for n in nodes}
    built = {
        splits.STEP: splits.build,
        report.MODE_STEP: report.build_mode,
        report.REAL_STEP: report.build_real,
        report.STUDY_STEP: report.build_study,
    }
    return [plain_asset(made[step.key], nodes, partitions, partial(_call, build)) for step, build in built.items()]


def _call(build: Build, settings: Settings, partition: dict[str, str], run_id: str) -> Result:
    return build(settings, partition)
