"""Checks of the stage ``insertion``."""

import dagster as dg

from itrialspace_assets.graph import Node
from itrialspace_assets.insertion.verify import broken_insertions
from itrialspace_assets.partitions import Partitions
from itrialspace_assets.store import read_table
from resources.check_factory import registry_check, rejected_check
from resources.factory import partition_in
from resources.workspace import Workspace


def checks(nodes: list[Node], partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """Registry rules, the share put aside, and that nodules came out where and as large as planned."""
    (node,) = [n for n in nodes if n.step.stage == "insert"]

    @dg.asset_check(
        asset=list(node.step.key),
        name="as_planned",
        partitions_def=partitions.pair,
        description="Side, lobe and size of every nodule are as planned.",
    )
    def as_planned(context: dg.AssetCheckExecutionContext, workspace: Workspace) -> dg.AssetCheckResult:
        settings, partition = workspace.settings(), partition_in(context, node.step)
        rows = read_table(settings.output, "insertions", **partition)
        broken = (
            broken_insertions(rows, read_table(settings.output, "hosts", dataset=partition["dataset"]))
            if rows.height
            else {}
        )
        counts = {rule: frame.height for rule, frame in broken.items()}
        worst = {rule: str(frame["case_uid"].head(3).to_list()) for rule, frame in broken.items() if frame.height}
        return dg.AssetCheckResult(
            passed=not any(counts.values()),
            metadata={"nodules": rows.height, "broken": str(counts), "which": str(worst)},
        )

    return [registry_check(node, partitions), rejected_check(node, partitions), as_planned]
