"""Checks of the stage ``trials``."""

import dagster as dg

from itrialspace_assets.graph import Node
from itrialspace_assets.partitions import Partitions
from itrialspace_assets.store import read_table
from itrialspace_assets.trials.verify import broken_rules
from resources.check_factory import registry_check
from resources.factory import partition_in
from resources.workspace import Workspace


def checks(nodes: list[Node], partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """Registry rules, and the rules of a manifest."""
    (node,) = [n for n in nodes if n.step.stage == "plan"]

    @dg.asset_check(
        asset=list(node.step.key),
        name="manifest",
        blocking=True,
        partitions_def=partitions.mode,
        description="Labels, persons, counts and prevalence are as the trial says.",
    )
    def manifest(context: dg.AssetCheckExecutionContext, workspace: Workspace) -> dg.AssetCheckResult:
        settings, partition = workspace.settings(), partition_in(context, node.step)
        tables = [read_table(settings.output, t, **partition) for t in ("cases", "case_nodules", "nodules", "arms")]
        problems = broken_rules(*tables)
        return dg.AssetCheckResult(
            passed=not problems, metadata={"cases": tables[0].height, "problems": "; ".join(problems) or "none"}
        )

    return [registry_check(node, partitions), manifest]
