"""A stage's ``Result`` as Dagster metadata: counts, schema, seconds, memory, a picture, a table."""

import base64
import resource
from collections.abc import Sequence
from typing import Any

import dagster as dg

from itrialspace_assets.casework.steps import Result
from itrialspace_assets.records.tables import TABLES

_PICTURE_LIMIT = 400_000  # bytes; the event log is no place for more


def column_schema(tables: Sequence[str]) -> dict[str, Any]:
    """Definition metadata: the schema of the first table and the names of all."""
    if not tables:
        return {}
    columns = [
        dg.TableColumn(
            c.name,
            c.type,
            f"{c.description}{f' [{c.unit}]' if c.unit else ''}",
            dg.TableColumnConstraints(nullable=c.nullable),
        )
        for c in TABLES[tables[0]].columns
    ]
    return {"dagster/column_schema": dg.TableSchema(columns=columns), "tables": ", ".join(tables)}


def materialized(result: Result, uri: str, seconds: float, anatomy: str) -> "dg.MaterializeResult[Any]":
    """The materialisation of a partition."""
    metadata: dict[str, Any] = {
        "dagster/row_count": next(iter(result.tables.values()), 0),
        "uri": uri,
        "computed": result.computed,
        "reused": result.reused,
        "rejected": result.rejected,
        "seconds": round(seconds, 3),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "anatomy": anatomy,
    }
    metadata |= result.facts
    metadata |= {f"rows/{name}": rows for name, rows in result.tables.items()}
    if result.note:
        metadata["note"] = result.note
    if result.preview:
        metadata["preview"] = dg.MetadataValue.md(result.preview)
    if result.picture and len(result.picture) < _PICTURE_LIMIT:
        data = base64.b64encode(result.picture).decode()
        metadata["picture"] = dg.MetadataValue.md(f"![{anatomy} anatomy](data:image/png;base64,{data})")
    return dg.MaterializeResult(metadata=metadata)
