"""Checks of the stage ``readers``."""

from collections.abc import Iterator, Sequence
from functools import partial

import dagster as dg
import polars as pl

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.orchestration.check_factory import (
    REGISTRY,
    REJECTED,
    Check,
    CheckOutcome,
    checks_of,
    listing,
)
from itrialspace_assets.orchestration.nodes import Graph, Node
from itrialspace_assets.orchestration.partitions import Partitions
from itrialspace_assets.readers import health
from itrialspace_assets.readers.questions import listed_slices, scans_asked, slices_in_parts, table_partition
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.readers.requests import given
from itrialspace_assets.records.runs import Following
from itrialspace_assets.records.store import read_blocks, table_path
from itrialspace_assets.records.tables import TABLES


def _blocks(
    settings: Settings, node: Node, partition: dict[str, str], table: str, columns: Sequence[str]
) -> Iterator[pl.DataFrame]:
    """Some columns of a table of this asset, a few thousand rows at a time, all rows of a target together."""
    source, _, reader = node.step.key
    path = table_path(settings.output, table, reader=reader, **table_partition(source, partition))
    return (block.select(columns) for block in read_blocks(table, path, columns))


def _lines(frame: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """Rows as lines."""
    rows = frame.with_columns(pl.col(pl.Float64).round(3)).iter_rows(named=True)
    return listing([", ".join(f"{name} {value}" for name, value in row.items()) for row in rows])


def covered(settings: Settings, node: Node, partition: dict[str, str]) -> CheckOutcome:
    """Whether every cell (task, condition, control) has nearly all of its slices or scans."""
    source, _, name = node.step.key
    reader = readers(settings)[name]
    listed = listed_slices(settings, source, partition)
    keys = scans_asked(settings, source, reader, partition, listed).keys
    columns = ["target_uid", "task", "condition", "control", "status"]
    answers = Following(_blocks(settings, node, partition, "answers", columns), "target_uid")

    def parts() -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        for slices in slices_in_parts(settings, source, reader, partition, listed, "target_uid"):
            shown = given(reader, slices, keys)
            if shown.height:
                none = TABLES["answers"].empty().select(columns)
                yield pl.concat([none, *answers.until(shown["target_uid"].max())]), shown

    tasks = health.tasks_of(_blocks(settings, node, partition, "answers", ["task", "status"]))
    cells = health.coverage(parts(), tasks, reader.controls)
    low = cells.filter(pl.col("share") < 1 - settings.max_rejected)
    return low.is_empty(), {"limit": 1 - settings.max_rejected, "low": _lines(low), "cells": _lines(cells)}


def answering(settings: Settings, node: Node, partition: dict[str, str]) -> CheckOutcome:
    """Whether few answers of each task were refused or not parsed."""
    shares = health.refusals(_blocks(settings, node, partition, "answers", ["task", "control", "status"]))
    high = shares.filter(pl.col("refused") + pl.col("unparsed") > settings.max_rejected)
    return high.is_empty(), {"limit": settings.max_rejected, "high": _lines(high), "tasks": _lines(shares)}


def varied(settings: Settings, node: Node, partition: dict[str, str]) -> CheckOutcome:
    """Whether no task is answered always alike."""
    found = health.entropies(_blocks(settings, node, partition, "answers", ["task", "control", "answer", "status"]))
    alike = found.filter("constant")
    return alike.is_empty(), {"constant": _lines(alike), "tasks": _lines(found)}


def answered_once(settings: Settings, node: Node, partition: dict[str, str]) -> CheckOutcome:
    """Whether every slice is answered once, and every key stands for one request."""
    asked = partial(_blocks, settings, node, partition, "generations", ["generation_key", *health.REQUEST])
    problems = health.answered_twice(_blocks(settings, node, partition, "answers", health.ABOUT))
    problems += health.shared_keys(asked)
    return not problems, {"problems": listing(problems)}


RULES = (
    REGISTRY,
    REJECTED,
    Check("coverage", "Every task, condition and control has its slices, but for ITRIALSPACE_MAX_REJECTED.", covered),
    Check("refusals", "Few answers were refused or not parsed.", answering, warns=True),
    Check("constant_answers", "No task is answered always alike.", varied, warns=True),
    Check("duplicates", "Every slice is answered once to a task, every key stands for one request.", answered_once),
)


def checks(graph: Graph, partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """Registry rules, rejected cases, coverage, refusals, constant answers, duplicates."""
    return [checks_of(n, partitions, RULES) for n in graph.nodes if n.step.stage == "read"]
