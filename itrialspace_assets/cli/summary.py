"""Prints the results of a run and its status from the tables and records on disk, 100 columns wide."""

import polars as pl
from rich.console import Console
from rich.table import Table

from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import last_record
from itrialspace_assets.cli.show import progress
from itrialspace_assets.definitions import members_of
from itrialspace_assets.graph import build_graph
from itrialspace_assets.orchestration.health import health, in_words, problems, watched
from itrialspace_assets.orchestration.instance import open_instance
from itrialspace_assets.orchestration.lineage import up_to_date
from itrialspace_assets.orchestration.nodes import Graph, Node
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.records.provenance import mark_of
from itrialspace_assets.records.store import read_all, table_files
from itrialspace_assets.sensors.health import failures
from itrialspace_assets.trials.files import load_trial

WIDTH = 100
#: Problems that are listed (ours); the asset ``platform_health`` holds all.
LISTED = 40


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def print_results(settings: Settings) -> None:
    """Print the primary endpoint of every reported analysis, one line each, and where the results lie."""
    study = load_study(settings)
    primary = study.primary
    metrics = read_all(settings.output, "metrics").filter(
        pl.col("stratum") == "all",
        pl.col("task") == primary.task,
        pl.col("metric") == primary.metric,
        pl.col("condition") == primary.condition,
    )
    table = Table(
        "analysis", "source", "reader", "slices", f"{primary.metric} [{100 * (1 - study.alpha):g} % interval]"
    )
    table.title = f"{primary.metric} of {primary.task}, condition {primary.condition}"
    for row in metrics.sort("analysis", "source", "reader").iter_rows(named=True):
        table.add_row(row["analysis"], row["source"], row["reader"], str(row["n_slices"]), _cell(row))
    console = _console()
    console.print(table)
    console.print(mark_of(settings.anatomy, "tissue"), style="bold red")
    console.print(
        "Next:    its sql --list, for example its sql -q size_curve\n"
        "UI:      make ui, or its ui --dir FOLDER\n"
        f"Catalog: {settings.output / 'itrialspace.duckdb'}\nResult:  {settings.output / 'reports'}",
        markup=False,
        soft_wrap=True,
    )


def _cell(row: dict[str, object] | None) -> str:
    if row is None or row["estimate"] is None:
        return str(row["flag"]) if row else "–"
    limits = "" if row["low"] is None else f" [{row['low']:.2f}, {row['high']:.2f}]"
    return f"{row['estimate']:.2f}{limits}"


def print_status(settings: Settings) -> None:
    """Print, for each asset and mode, partitions up to date, out of date and missing; cases done, reused, rejected.

    A planned mode whose trial file is not found is named below the table.
    """
    require_data_root(settings)
    planned = sorted(p.parent.name for p in table_files(settings.output, "cases"))
    lost = {mode: why for mode in planned if (why := _unreadable(settings, mode))}
    modes = [mode for mode in planned if mode not in lost]
    graph = build_graph(settings)
    here = [name for name, entry in datasets(settings).items() if entry.profile_csv(settings.data).exists()]
    table = Table("asset", "up to date", "out of date", "missing", "done", "reused", "rejected", title="Status")
    sections = {mode: [n for n in graph.nodes if ("mode" in n.step.dims) == bool(mode)] for mode in ("", *modes)}
    with progress("assets", sum(map(len, sections.values()))) as advance:
        for mode, nodes in sections.items():
            table.add_section()
            if mode:
                table.add_row(mode, style="bold")
            for node in nodes:
                table.add_row(node.step.name, *map(str, _counts(settings, graph, node, mode, here)))
                advance(1)
    console = _console()
    console.print(table)
    for mode, why in lost.items():
        console.print(f"Note: {mode}: {why}", markup=False, soft_wrap=True)


def print_health(settings: Settings) -> bool:
    """Print what is missing, out of date, failed or rejected; True if the last run of a partition failed."""
    require_data_root(settings)
    graph = build_graph(settings)
    members = members_of(graph, {n.step.key for n in graph.nodes})
    jobs = {f"{name}_job": keys for name, keys in members.items()}
    parts, rows = watched(graph, settings), []
    with open_instance(settings) as instance:
        failed = failures(instance, jobs)
    with progress("partitions", len(parts)) as advance:
        for part in parts:
            rows.append(health(graph, settings, part, failed))
            advance(1)
    table = Table("asset", "partition", "state", "rejected", "retryable", "why", title="Problems")
    found = list(problems(rows))
    for row in found[:LISTED]:
        table.add_row(row.asset, row.partition, row.state, str(row.rejected), str(row.retryable), row.detail or "")
    console = _console()
    if found:
        console.print(table)
    if len(found) > LISTED:
        console.print(f"and {len(found) - LISTED} more: materialize platform_health, then its sql", markup=False)
    console.print(in_words(rows), markup=False, soft_wrap=True)
    return any(row.state == "failed" for row in rows)


def _unreadable(settings: Settings, mode: str) -> str:
    """Why the trial file of a planned mode cannot be read; empty if it can. The other modes are shown all the same."""
    try:
        load_trial(settings, mode)
    except ConfigError as error:
        if "not a mode" in str(error):
            return "its trial file is not found; set ITRIALSPACE_TRIALS_DIR to the folder that holds it"
        return str(error)
    return ""


def _counts(
    settings: Settings, graph: Graph, node: Node, mode: str, here: list[str]
) -> tuple[int, int, int, int, int, int]:
    """Partitions of a node up to date, out of date, missing; cases done, reused, rejected."""
    own = {"mode": mode} if mode else {}
    parts = [own | {"dataset": d} for d in here] if "dataset" in node.step.dims else [own]
    current = old = missing = done = reused = rejected = 0
    for part in parts:
        record = last_record(settings, node.step, part)
        if record is None:
            missing += 1
            continue
        fresh = up_to_date(graph, node, settings, part)
        current, old = current + fresh, old + (not fresh)
        done += int(record["computed"]) + int(record["reused"]) - int(record["rejected"])
        reused, rejected = reused + int(record["reused"]), rejected + int(record["rejected"])
    return current, old, missing, done, reused, rejected
