"""The assets ``cohort_manifests`` and ``trial_feasibility``: one partition a mode; size, overrides and relaxation are
run configuration."""

from collections.abc import Callable
from functools import partial

import dagster as dg

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import Partition, Result
from itrialspace_assets.orchestration.factory import plain_asset
from itrialspace_assets.orchestration.nodes import Graph
from itrialspace_assets.orchestration.partitions import Partitions
from itrialspace_assets.trials import build

Build = Callable[[Settings, Partition], Result]


def assets(settings: Settings, graph: Graph, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    built = {build.STEP: build.build, build.FEASIBILITY: build.build_feasibility}
    return [
        plain_asset(settings, graph, graph.node(step.key), partitions, partial(_call, call), sized=True)
        for step, call in built.items()
    ]


def _call(build: Build, settings: Settings, partition: dict[str, str], run_id: str) -> Result:
    return build(settings, partition)
