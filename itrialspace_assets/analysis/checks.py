"""Checks of the stage ``analysis``."""

import dagster as dg

from itrialspace_assets.analysis.splits import broken_lists
from itrialspace_assets.graph import Node
from itrialspace_assets.partitions import Partitions
from resources.check_factory import registry_check
from resources.workspace import Workspace


def checks(nodes: list[Node], partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """Registry rules, and that frozen lists still name the slices there are."""
    made = {n.step.key: n for n in nodes}
    splits = made["evaluation_splits",]

    @dg.asset_check(
        asset=list(splits.step.key), name="frozen", description="Every frozen list equals the slices there are."
    )
    def frozen(workspace: Workspace) -> dg.AssetCheckResult:
        problems = broken_lists(workspace.settings())
        return dg.AssetCheckResult(
            passed=not problems,
            metadata={"problems": dg.MetadataValue.md("\n".join(f"- {p}" for p in problems) or "none")},
        )

    reports = [registry_check(made[key], partitions) for key in (("mode_report",), ("real_report",))]
    return [registry_check(splits, partitions), frozen, *reports]
