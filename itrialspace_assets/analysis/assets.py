"""The assets ``evaluation_splits``, ``mode_report``, ``real_report`` and ``study_report``."""

import dagster as dg

from itrialspace_assets.analysis import report, splits
from itrialspace_assets.graph import Node
from itrialspace_assets.partitions import Partitions
from itrialspace_assets.settings import Settings
from resources.factory import plain_asset


def assets(settings: Settings, nodes: list[Node], partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    made = {n.step.key: n for n in nodes}
    built = {splits.STEP: splits.build, report.MODE_STEP: report.build_mode, report.REAL_STEP: report.build_real, report.STUDY_STEP: report.build_study}
    return [plain_asset(made[step.key], nodes, partitions, lambda s, p, run, build=build: build(s, p)) for step, build in built.items()]
