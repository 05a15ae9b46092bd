"""Tables for people at the end of a run, from the tables and records on disk."""

import polars as pl
from rich.console import Console
from rich.table import Table

from itrialspace_assets.analysis.figures import mark_of
from itrialspace_assets.analysis.splits import REAL
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import is_current, last_record
from itrialspace_assets.graph import nodes
from itrialspace_assets.records.store import read_all, table_files
from itrialspace_assets.records.tables import CONDITIONS


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=170)


def print_results(settings: Settings) -> None:
    """Presence and size results by condition of every reported analysis, and where to look."""
    metrics = read_all(settings.output, "metrics").filter(pl.col("stratum") == "all")
    table = Table(
        "analysis",
        "source",
        "reader",
        "condition",
        "slices",
        "AUC",
        "sensitivity",
        "specificity",
        "size accuracy",
        title="Presence and size by condition (real scans: plain slices)",
    )
    for key, rows in metrics.group_by(["analysis", "source", "reader"], maintain_order=True):
        for condition in CONDITIONS if key[1] != REAL else CONDITIONS[:1]:
            here = {
                (r["task"], r["metric"]): r for r in rows.filter(pl.col("condition") == condition).iter_rows(named=True)
            }
            cells = [_cell(here.get(("presence", m))) for m in ("auc", "sensitivity", "specificity")] + [
                _cell(here.get(("size", "accuracy")))
            ]
            total = here.get(("presence", "accuracy"))
            table.add_row(*(map(str, key)), condition, str(total["n_cases"] if total else 0), *cells)
    console = _console()
    console.print(table)
    console.print(mark_of(settings.anatomy, "tissue"), style="bold red")
    console.print(
        f"Reports:   {settings.output / 'reports'}\nCatalogue: {settings.output / 'itrialspace.duckdb'}   (its sql --list)\nUI:        make ui",
        markup=False,
        soft_wrap=True,
    )


def _cell(row: dict[str, object] | None) -> str:
    if row is None or row["estimate"] is None:
        return str(row["flag"]) if row else "–"
    limits = "" if row["low"] is None else f" [{row['low']:.2f}, {row['high']:.2f}]"
    return f"{row['estimate']:.2f}{limits}"


def print_status(settings: Settings) -> None:
    """Per stage and mode: partitions up to date, out of date and missing; cases done, reused, rejected."""
    require_data_root(settings)
    modes = sorted(p.parent.name for p in table_files(settings.output, "cases"))
    table = Table("mode", "asset", "up to date", "out of date", "missing", "done", "reused", "rejected", title="Status")
    folder = settings.output / "work" / "accepted"
    for node in nodes(settings):
        wanted = modes if "mode" in node.step.dims else ["–"]
        seen = sorted((folder / node.step.name.replace("/", "~")).glob("*.json"))
        for mode in wanted:
            own = [p for p in seen if mode in ("–", p.stem.split("~")[0])]
            counts = {"current": 0, "old": 0, "computed": 0, "reused": 0, "rejected": 0}
            for path in own:
                part = dict(zip(node.step.dims, path.stem.split("~"), strict=True)) if node.step.dims else {}
                record = last_record(settings, node.step, part) or {}
                counts["current" if is_current(settings, node.step, part) else "old"] += 1
                for name in ("computed", "reused", "rejected"):
                    counts[name] += int(record.get(name, 0))  # type: ignore[call-overload]
            expected = _expected(settings, node.step.dims)
            done = counts["computed"] + counts["reused"] - counts["rejected"]
            table.add_row(
                mode,
                node.step.name,
                str(counts["current"]),
                str(counts["old"]),
                str(max(0, expected - len(own))),
                str(done),
                str(counts["reused"]),
                str(counts["rejected"]),
            )
    _console().print(table)


def _expected(settings: Settings, dims: tuple[str, ...]) -> int:
    """Partitions that this data root can have (of one mode, for assets by mode)."""
    from itrialspace_assets.profiles.registry import datasets

    here = sum(entry.profile_csv(settings.data).exists() for entry in datasets(settings).values())
    return here if "dataset" in dims else 1
