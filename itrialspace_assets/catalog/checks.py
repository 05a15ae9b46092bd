"""Checks of the stage ``catalog``: Great Expectations once per table, over all partitions."""

import dagster as dg

from itrialspace_assets.catalog.quality import validate_tables
from itrialspace_assets.graph import Node
from itrialspace_assets.partitions import Partitions
from itrialspace_assets.tables import TABLES
from resources.workspace import Workspace


def checks(nodes: list[Node], partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """One check a table, evaluated together."""

    @dg.multi_asset_check(
        specs=[
            dg.AssetCheckSpec(
                f"expectations_{name}", asset="results_catalog", description=f"Great Expectations suite of {name}."
            )
            for name in TABLES
        ],
        name="expectations",
    )
    def expectations(workspace: Workspace):  # type: ignore[no-untyped-def]
        settings = workspace.settings()
        for verdict in validate_tables(settings):
            yield dg.AssetCheckResult(
                asset_key="results_catalog", check_name=f"expectations_{verdict.table}", passed=not verdict.failed,
                metadata={"rows": verdict.rows, "expectations": verdict.expectations, "failed": dg.MetadataValue.md("\n".join(f"- {f}" for f in verdict.failed[:20]) or "none"), "page": "quality/index.html"},
            )  # fmt: skip

    return [expectations]
