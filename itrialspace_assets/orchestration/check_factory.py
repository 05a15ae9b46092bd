"""The checks of an asset as one step: rules of the stage, and two that every stage shares.

A rule is a plain function of settings and partition; what it finds becomes metadata.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl

from itrialspace_assets.base.errors import PlatformError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import last_record, partition_name
from itrialspace_assets.orchestration.factory import partition_in
from itrialspace_assets.orchestration.nodes import Node
from itrialspace_assets.orchestration.partitions import Partitions
from itrialspace_assets.records.layout import PROCEDURAL
from itrialspace_assets.records.schema import errors, violations
from itrialspace_assets.records.store import file_violations, read_file, table_files
from itrialspace_assets.records.tables import TABLES
from itrialspace_assets.resources.workspace import Workspace

#: Whether it holds, and what to show.
CheckOutcome = tuple[bool, dict[str, Any]]


@dataclass(frozen=True)
class Check:
    """A check's name, what it says, and the function that decides."""

    name: str
    says: str
    holds: Callable[[Settings, Node, dict[str, str]], CheckOutcome]
    blocking: bool = False
    warns: bool = False  # a failure is a warning: reported, nothing stops


def listing(lines: Sequence[str]) -> dg.MarkdownMetadataValue:
    """The first twenty of some lines, or none."""
    return dg.MetadataValue.md("\n".join(f"- {line}" for line in lines[:20]) or "none")


def checks_of(node: Node, partitions: Partitions, rules: Sequence[Check]) -> dg.AssetChecksDefinition:
    """All checks of an asset, evaluated in one step (a step costs more than most rules).

    Args:
        node: the asset.
        partitions: partition definitions; a check has the partitions of its asset.
        rules: the checks, in the order in which they are evaluated.
    """
    key = dg.AssetKey(list(node.step.key))
    partitions_def = partitions.of(node.step.dims)
    specs = [
        dg.AssetCheckSpec(r.name, asset=key, description=r.says, blocking=r.blocking, partitions_def=partitions_def)
        for r in rules
    ]

    @dg.multi_asset_check(specs=specs, name=f"{'__'.join(node.step.key)}__checks", can_subset=True)
    def run(context: dg.AssetCheckExecutionContext, workspace: Workspace) -> Iterator[dg.AssetCheckResult]:
        settings, partition = workspace.settings(), partition_in(context, node.step)
        for rule in rules:
            if dg.AssetCheckKey(key, rule.name) in context.selected_asset_check_keys:
                passed, metadata = rule.holds(settings, node, partition)
                severity = dg.AssetCheckSeverity.WARN if rule.warns else dg.AssetCheckSeverity.ERROR
                yield dg.AssetCheckResult(
                    asset_key=key, check_name=rule.name, passed=passed, metadata=metadata, severity=severity
                )

    return run


def _where(node: Node, partition: dict[str, str]) -> dict[str, str]:
    """Values of the table partition columns that this asset's partition fixes."""
    key, where = node.step.key, dict(partition)
    if len(key) > 1:
        where["source"] = key[0]
    if node.step.stage == "read":
        where["reader"] = key[2]
    if key[0] == "real" and node.step.stage in ("slice", "read"):
        where["mode"] = "real"
    if "donors" in node.tables and not node.step.dims:  # drawn donors belong to no dataset of people
        where["dataset"] = PROCEDURAL
    if node.step.stage == "report":
        where["analysis"] = partition.get("mode") or f"real-{partition['dataset']}"
    return where


def obeys_registry(settings: Settings, node: Node, partition: dict[str, str]) -> CheckOutcome:
    """Whether every table of a partition obeys the registry: types, ranges, allowed values, unique keys.

    Args:
        settings: where tables lie.
        node: the asset, which names its tables.
        partition: partition of the asset, key by dimension; empty without dimensions.
    """
    where = _where(node, partition)
    problems: list[str] = []
    rows: dict[str, int] = {}
    for name in node.tables:
        fixed = {k: v for k, v in where.items() if k in TABLES[name].partition}
        for path in table_files(settings.output, name, **where):
            try:
                height, found = file_violations(name, path, **fixed)
            except PlatformError as error:
                problems.append(str(error))
                continue
            rows[name] = rows.get(name, 0) + height
            problems += [f"{name}: {v}" for v in errors(found)]
        if name not in rows:
            problems.append(f"{name}: no accepted file for {where}")
    return not problems, {"rows": str(rows), "problems": listing(problems)}


def nothing_odd(settings: Settings, node: Node, partition: dict[str, str]) -> CheckOutcome:
    """Whether no row breaks a rule of severity ``warning``; shows how many rows break one, and the first of them.

    Args:
        settings: where tables lie.
        node: the asset, which names its tables.
        partition: partition of the asset, key by dimension; empty without dimensions.

    Raises:
        TableError: a file of a table is damaged, or was accepted under another contract.
    """
    where, lines = _where(node, partition), []
    for name in node.tables:
        for path in table_files(
            settings.output, name, **{k: v for k, v in where.items() if k in TABLES[name].partition}
        ):
            frame = read_file(name, path)
            if name == "findings":
                odd = frame.filter(pl.col("severity") == "warning").iter_rows(named=True)
                lines += [
                    (
                        f"{r['column']}: {r['rule']}: {r['rows']} of {r['of_rows']} rows, first {r['first_rows']}, "
                        f"{r['sample']}{' (known defect)' if r['known'] else ''}"
                    )
                    for r in odd
                ]
            elif "findings" not in node.tables:
                lines += [f"{name}: {v}" for v in violations(TABLES[name], frame) if v.severity == "warning"]
    return not lines, {"warnings": len(lines), "which": listing(lines)}


#: Rejected cases that a check shows of each reason.
_FIRST_REJECTED = 3


def few_rejected(settings: Settings, node: Node, partition: dict[str, str]) -> CheckOutcome:
    """Whether the share of rejected cases is at most the limit; shows how many have each reason, and the first of them.

    Args:
        settings: where tables and records lie, and the limit (``max_rejected``, 0 to 1).
        node: the asset.
        partition: partition of the asset, key by dimension; empty without dimensions.

    Raises:
        TableError: a file of ``rejected_cases`` is damaged, or was accepted under another contract.
    """
    stage = node.step.name if len(node.step.key) > 1 else node.step.stage
    paths = table_files(settings.output, "rejected_cases", stage=stage, partition=partition_name(partition))
    rejected = pl.concat([TABLES["rejected_cases"].empty(), *(read_file("rejected_cases", p) for p in paths)])
    record = last_record(settings, node.step, partition) or {}
    total = int(record.get("computed", 0)) + int(record.get("reused", 0))
    share = rejected["case_uid"].n_unique() / total if total else 0.0
    which = []
    for (reason,), rows in rejected.group_by(["reason"], maintain_order=True):
        first = rows.head(_FIRST_REJECTED).iter_rows(named=True)
        which.append(
            f"{reason}: {rows.height}, "
            + "; ".join(f"{r['case_uid']} #{r['nodule_idx']}: {r['detail']}" for r in first)
        )
    shown = {"share": share, "limit": settings.max_rejected, "cases": total, "rejected": rejected.height}
    return share <= settings.max_rejected, shown | {"which": listing(which)}


REGISTRY = Check(
    "registry", "Tables obey the registry's types, ranges, allowed values and keys.", obeys_registry, blocking=True
)
ODD = Check(
    "odd_rows", "No published row breaks a rule over its columns; those that do are shown.", nothing_odd, warns=True
)
REJECTED = Check("rejected_share", "Share of rejected cases is within ITRIALSPACE_MAX_REJECTED.", few_rejected)
