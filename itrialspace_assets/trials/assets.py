"""The assets ``cohort_manifests`` and ``trial_feasibility``: one partition a mode; size, overrides and relaxation are run configuration."""

import dagster as dg

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.orchestration.factory import plain_asset
from itrialspace_assets.orchestration.nodes import Node
from itrialspace_assets.orchestration.partitions import Partitions
from itrialspace_assets.trials import build


def assets(settings: Settings, nodes: list[Node], partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    made = {n.step.key: n for n in nodes}
    built = {build.STEP: build.build, build.FEASIBILITY: build.build_feasibility}
    return [
        plain_asset(made[step.key], nodes, partitions, lambda s, p, run, call=call: call(s, p), sized=True)  # type: ignore[misc]
        for step, call in built.items()
    ]
