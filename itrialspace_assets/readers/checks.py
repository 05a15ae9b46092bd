"""Checks of the stage ``readers``."""

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
from itrialspace_assets.readers.build import chosen_slices, questions, table_partition
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.readers.requests import shown
from itrialspace_assets.records.store import read_table


def _answers(settings: Settings, node: Node, partition: dict[str, str]) -> pl.DataFrame:
    source, _, reader = node.step.key
    return read_table(settings.output, "answers", reader=reader, **table_partition(source, partition))


def _lines(frame: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """Rows as lines."""
    rows = frame.with_columns(pl.col(pl.Float64).round(3)).iter_rows(named=True)
    return listing([", ".join(f"{name} {value}" for name, value in row.items()) for row in rows])


def covered(settings: Settings, node: Node, partition: dict[str, str]) -> CheckOutcome:
    """Whether every cell (task, condition, control) has nearly all of its slices or scans."""
    source, _, name = node.step.key
    reader = readers(settings)[name]
    if reader.scan_levels is None:
        slices = chosen_slices(settings, read_table(settings.output, "slices", **table_partition(source, partition)))
        given = shown(slices, reader.profile, reader.z_offsets)
    else:
        given = questions(settings, source, reader, partition).given
    cells = health.coverage(_answers(settings, node, partition), given, reader.controls)
    low = cells.filter(pl.col("share") < 1 - settings.max_rejected)
    return low.is_empty(), {"limit": 1 - settings.max_rejected, "low": _lines(low), "cells": _lines(cells)}


def answering(settings: Settings, node: Node, partition: dict[str, str]) -> CheckOutcome:
    """Whether few answers of each task were refused or not parsed."""
    shares = health.refusals(_answers(settings, node, partition))
    high = shares.filter(pl.col("refused") + pl.col("unparsed") > settings.max_rejected)
    return high.is_empty(), {"limit": settings.max_rejected, "high": _lines(high), "tasks": _lines(shares)}


def varied(settings: Settings, node: Node, partition: dict[str, str]) -> CheckOutcome:
    """Whether no task is answered always alike."""
    found = health.entropies(_answers(settings, node, partition))
    alike = found.filter("constant")
    return alike.is_empty(), {"constant": _lines(alike), "tasks": _lines(found)}


def answered_once(settings: Settings, node: Node, partition: dict[str, str]) -> CheckOutcome:
    """Whether every slice is answered once, and every key stands for one request."""
    source, _, reader = node.step.key
    where = table_partition(source, partition)
    generations = read_table(settings.output, "generations", reader=reader, **where)
    problems = health.duplicates(generations, _answers(settings, node, partition))
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
