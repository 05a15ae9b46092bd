"""A stage's ``Result`` as a Dagster materialization: data version, counts, schema, seconds, memory, a picture."""

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import dagster as dg

from itrialspace_assets.base.logs import Facts
from itrialspace_assets.base.memory import peak_memory_mb
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import Partition, Result
from itrialspace_assets.records.tables import TABLES

_PICTURE_LIMIT = 400_000  # bytes; the event log is no place for more


def column_schema(tables: Sequence[str]) -> dict[str, Any]:
    """Definition metadata: the schema of the first table and the names of all.

    Descriptions are shown as HTML by the web page, so that ``<ct id>`` must be escaped to be seen.
    """
    if not tables:
        return {}
    columns = [
        dg.TableColumn(
            c.name,
            c.type,
            html.escape(f"{c.description}{f' [{c.unit}]' if c.unit else ''}", quote=False),
            dg.TableColumnConstraints(nullable=c.nullable),
        )
        for c in TABLES[tables[0]].columns
    ]
    return {"dagster/column_schema": dg.TableSchema(columns=columns), "tables": ", ".join(tables)}


def facts_of(result: Result, settings: Settings, about: Facts, seconds: float) -> Facts:
    """What a partition took, for its log record and its metadata.

    Args:
        result: what building it gave.
        settings: where its files lie.
        about: asset, partition, run and step.
        seconds: how long building took; of a partition in shards, collecting alone.
    """
    others = (settings.output / name for name in result.files)  # none of them a table's
    paths = chain(set(result.written), others)
    return replace(
        about,
        seconds=round(seconds, 3),
        computed=result.computed,
        reused=result.reused,
        rejected=result.rejected,
        retryable=result.retryable,
        bytes=sum(path.stat().st_size for path in paths),
        peak_memory_mb=max(peak_memory_mb(), result.worker_memory_mb),
    )


def materialized(
    result: Result,
    version: str,
    settings: Settings,
    partition: Partition,
    took: Facts,
    tags: Mapping[str, str],
) -> "dg.MaterializeResult[Any]":
    """The materialization of a partition.

    Args:
        result: what building it gave.
        version: hash of what was written; Dagster's data version.
        settings: as it was built with.
        partition: which partition of the asset; empty for one without partitions.
        took: as of ``facts_of``.
        tags: tags of the event, among them which versions of sources were read.
    """
    rows = next(iter(result.tables.values()), 0)
    place = result.written[0].parent if result.written else settings.output
    metadata: dict[str, Any] = {
        "dagster/partition_row_count" if partition else "dagster/row_count": rows,
        "uri": place.as_uri(),
        "computed": result.computed,
        "reused": result.reused,
        "rejected": result.rejected,
        "seconds": took.seconds,
        "peak_memory_mb": took.peak_memory_mb,
        "bytes": took.bytes,
        "anatomy": settings.anatomy,
    }
    metadata |= result.facts
    metadata |= {f"rows/{name}": count for name, count in result.tables.items()}
    if result.note:
        metadata["note"] = result.note
    if result.preview:
        metadata["preview"] = dg.MetadataValue.md(result.preview)
    if result.picture and len(result.picture) < _PICTURE_LIMIT:
        data = base64.b64encode(result.picture).decode()
        metadata["picture"] = dg.MetadataValue.md(f"![{settings.anatomy} anatomy](data:image/png;base64,{data})")
    return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(version), tags=dict(tags))
