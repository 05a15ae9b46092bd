"""Tables for people at the end of a run, from the tables and records on disk. A page of text is 100 columns wide."""

import polars as pl
from rich.console import Console
from rich.table import Table

from itrialspace_assets.analysis.figures import mark_of
from itrialspace_assets.analysis.study import load_study
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import last_record
from itrialspace_assets.graph import build_graph
from itrialspace_assets.orchestration.lineage import up_to_date
from itrialspace_assets.orchestration.nodes import Graph, Node
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.records.store import read_all, table_files
from itrialspace_assets.trials.files import load_trial

WIDTH = 100


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def print_results(settings: Settings) -> None:
    """The primary endpoint of every reported analysis, one line each, and where to look further."""
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
        table.add_row(row["analysis"], row["source"], row["reader"], str(row["n_cases"]), _cell(row))
    console = _console()
    console.print(table)
    console.print(mark_of(settings.anatomy, "tissue"), style="bold red")
    console.print(
        f"Reports: {settings.output / 'reports'}\nCatalog: {settings.output / 'itrialspace.duckdb'}\n"
        "More:    its sql --list, for example its sql -q size_curve; every condition and task is in the reports\n"
        "Look:    make ui",
        markup=False,
        soft_wrap=True,
    )


def _cell(row: dict[str, object] | None) -> str:
    if row is None or row["estimate"] is None:
        return str(row["flag"]) if row else "–"
    limits = "" if row["low"] is None else f" [{row['low']:.2f}, {row['high']:.2f}]"
    return f"{row['estimate']:.2f}{limits}"


def print_status(settings: Settings) -> None:
    """Per asset and mode: partitions up to date, out of date and missing; cases done, reused, rejected."""
    require_data_root(settings)
    modes, lost = sorted(p.parent.name for p in table_files(settings.output, "cases")), dict[str, str]()
    graph = build_graph(settings)
    here = [name for name, entry in datasets(settings).items() if entry.profile_csv(settings.data).exists()]
    table = Table("asset", "up to date", "out of date", "missing", "done", "reused", "rejected", title="Status")
    for mode in ("", *modes):
        table.add_section()
        if mode:
            table.add_row(mode, style="bold")
            try:
                load_trial(settings, mode)
            except ConfigError as error:  # its file was removed or is wrong: the other modes are shown all the same
                lost[mode] = str(error)
                table.add_row("its trial file cannot be read, see below")
                continue
        for node in (n for n in graph.nodes if ("mode" in n.step.dims) == bool(mode)):
            table.add_row(node.step.name, *map(str, _counts(settings, graph, node, mode, here)))
    _console().print(table)
    for mode, why in lost.items():
        why += "; its results stay, put its file back into ITRIALSPACE_TRIALS_DIR to see them" * ("not a mode" in why)
        _console().print(f"{mode}: {why}", markup=False, soft_wrap=True)


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
