"""Checks of the stage ``catalog``: Great Expectations over each table, and references between tables."""

from collections.abc import Iterator

import dagster as dg

from itrialspace_assets.catalog.quality import ExpectationOutcome, validate_tables
from itrialspace_assets.catalog.references import orphans
from itrialspace_assets.orchestration.check_factory import listing
from itrialspace_assets.orchestration.nodes import Graph
from itrialspace_assets.orchestration.partitions import Partitions
from itrialspace_assets.records.tables import TABLES
from itrialspace_assets.resources.workspace import Workspace


def _lines(outcomes: list[ExpectationOutcome]) -> dg.MarkdownMetadataValue:
    lines: list[str] = []
    for o in outcomes:
        lines.append(f"{o.expectation.name}: {o.unexpected} rows, first {'; '.join(o.sample) or 'none'}")
        lines += [f"{o.expectation.name}: {detail}" for detail in o.details]
    return listing(lines)


def checks(graph: Graph, partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """One check a table, all evaluated in one step, and one check of all references."""
    catalog = "results_catalog"

    @dg.multi_asset_check(
        specs=[
            dg.AssetCheckSpec(
                f"expectations_{name}",
                asset=catalog,
                blocking=True,
                description=f"Great Expectations suite of {name}: errors fail, warnings are reported.",
            )
            for name in TABLES
        ],
        name="expectations",
    )
    def expectations(workspace: Workspace) -> Iterator[dg.AssetCheckResult]:
        for verdict in validate_tables(workspace.settings()):
            broken, odd = verdict.failed("error"), verdict.failed("warning")
            yield dg.AssetCheckResult(
                asset_key=catalog,
                check_name=f"expectations_{verdict.table}",
                passed=not broken and not odd,
                severity=dg.AssetCheckSeverity.ERROR if broken else dg.AssetCheckSeverity.WARN,
                metadata={
                    "rows": verdict.rows,
                    "expectations": len(verdict.outcomes),
                    "errors": _lines(broken),
                    "warnings": _lines(odd),
                    "page": "quality/index.html",
                },
            )

    @dg.asset_check(asset=catalog, description="Every reference between tables finds its row.")
    def references(workspace: Workspace) -> dg.AssetCheckResult:
        found = orphans(workspace.settings())
        return dg.AssetCheckResult(passed=not found, metadata={"orphans": listing([str(o) for o in found])})

    return [expectations, references]
