"""Asset checks that every asset has: its tables obey the registry, and few cases were put aside."""

import dagster as dg
import polars as pl

from itrialspace_assets.errors import PlatformError
from itrialspace_assets.graph import Node
from itrialspace_assets.partitions import Partitions
from itrialspace_assets.settings import Settings
from itrialspace_assets.steps import last_record, partition_name
from itrialspace_assets.store import read_file, table_files
from itrialspace_assets.tables import TABLES, violations
from resources.factory import partition_in
from resources.workspace import Workspace


def _where(node: Node, partition: dict[str, str]) -> dict[str, str]:
    """Values of the table partition columns that this asset's partition fixes."""
    key, where = node.step.key, dict(partition)
    if len(key) > 1:
        where["source"] = key[0]
    if node.step.stage == "read":
        where["reader"] = key[2]
    if key[0] == "real" and node.step.stage in ("slice", "read"):
        where["mode"] = "real"
    if node.step.stage == "report":
        where["analysis"] = partition.get("mode") or f"real-{partition['dataset']}"
    return where


def registry_check(node: Node, partitions: Partitions) -> dg.AssetChecksDefinition:
    """Every table of a partition against the registry: types, ranges, allowed values, unique keys."""

    @dg.asset_check(
        asset=list(node.step.key),
        name="registry",
        blocking=True,
        partitions_def=partitions.of(node.step.dims),
        description="Tables obey the registry's types, ranges, allowed values and keys.",
    )
    def check(context: dg.AssetCheckExecutionContext, workspace: Workspace) -> dg.AssetCheckResult:
        settings = workspace.settings()
        where = _where(node, partition_in(context, node.step))
        problems: list[str] = []
        rows = {}
        for name in node.tables:
            for path in table_files(settings.output, name, **where):
                try:
                    frame = read_file(name, path)
                except PlatformError as error:
                    problems.append(str(error))
                    continue
                rows[name] = rows.get(name, 0) + frame.height
                problems += [
                    f"{name}: {v}"
                    for v in violations(
                        TABLES[name], frame, **{k: v for k, v in where.items() if k in TABLES[name].partition}
                    )
                ]
            if name not in rows:
                problems.append(f"{name}: no accepted file for {where}")
        return dg.AssetCheckResult(
            passed=not problems,
            metadata={
                "rows": str(rows),
                "problems": dg.MetadataValue.md("\n".join(f"- {p}" for p in problems[:20]) or "none"),
            },
        )

    return check


def rejected_check(node: Node, partitions: Partitions) -> dg.AssetChecksDefinition:
    """The share of cases put aside stays below the limit; the cases are shown with their reasons."""

    @dg.asset_check(
        asset=list(node.step.key),
        name="rejected_share",
        partitions_def=partitions.of(node.step.dims),
        description="Share of rejected cases is within ITRIALSPACE_MAX_REJECTED.",
    )
    def check(context: dg.AssetCheckExecutionContext, workspace: Workspace) -> dg.AssetCheckResult:
        return rejected_result(workspace.settings(), node, partition_in(context, node.step))

    return check


def rejected_result(settings: Settings, node: Node, partition: dict[str, str]) -> dg.AssetCheckResult:
    stage = node.step.name if len(node.step.key) > 1 else node.step.stage
    frames = [
        read_file("rejected_cases", p)
        for p in table_files(settings.output, "rejected_cases", stage=stage, partition=partition_name(partition))
    ]
    rejected = pl.concat(frames) if frames else TABLES["rejected_cases"].empty()
    record = last_record(settings, node.step, partition) or {}
    total = int(record.get("computed", 0)) + int(record.get("reused", 0))  # type: ignore[call-overload]
    share = rejected["case_uid"].n_unique() / total if total else 0.0
    shown = "\n".join(
        f"- {r['case_uid']} #{r['nodule_idx']}: {r['reason']}, {r['detail']}"
        for r in rejected.head(20).iter_rows(named=True)
    )
    return dg.AssetCheckResult(
        passed=share <= settings.max_rejected, severity=dg.AssetCheckSeverity.ERROR,
        metadata={"share": share, "limit": settings.max_rejected, "cases": total, "rejected": rejected.height, "which": dg.MetadataValue.md(shown or "none")},
    )  # fmt: skip
