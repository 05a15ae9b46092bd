"""The assets ``evaluation_splits``, ``mode_report``, ``real_report`` and ``study_report``."""

from collections.abc import Callable
from functools import partial

import dagster as dg

from itrialspace_assets.analysis import splits, steps
from itrialspace_assets.analysis.reports import report, study_report
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import Partition, Result
from itrialspace_assets.orchestration.factory import plain_asset
from itrialspace_assets.orchestration.nodes import Graph
from itrialspace_assets.orchestration.partitions import Partitions

Build = Callable[[Settings, Partition], Result]


def assets(settings: Settings, graph: Graph, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    built = {
        splits.STEP: splits.build,
        steps.MODE_STEP: report.build_mode,
        steps.REAL_STEP: report.build_real,
        steps.STUDY_STEP: study_report.build_study,
    }
    return [
        plain_asset(settings, graph, graph.node(step.key), partitions, partial(_call, build))
        for step, build in built.items()
    ]


def _call(build: Build, settings: Settings, partition: dict[str, str], run_id: str) -> Result:
    return build(settings, partition)
