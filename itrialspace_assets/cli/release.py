"""Verifies a release, records it in the tables and in the Dagster instance, and shows what was found."""

from pathlib import Path

import polars as pl
import typer

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import label
from itrialspace_assets.cli.show import show
from itrialspace_assets.graph import build_graph
from itrialspace_assets.orchestration.instance import open_instance
from itrialspace_assets.orchestration.lineage import upstream_partitions
from itrialspace_assets.orchestration.observe import register_release, register_taken
from itrialspace_assets.release.take import take_release
from itrialspace_assets.release.verify import KINDS, record_release, verify_release


def use_release(settings: Settings, root: Path, parts: tuple[str, ...]) -> None:
    """Use parts of a release instead of computing them, and show how many partitions were taken.

    Args:
        settings: data root and outputs.
        root: folder in the published layout.
        parts: which parts.

    Raises:
        ConfigError: something of it is missing, changed or disagrees with what it was made from.
    """
    graph = build_graph(settings)
    known = {
        label(node.step.name, part)
        for node in graph.nodes
        for part in upstream_partitions(node.step.dims, {}, graph.keys)
    }
    taken = take_release(settings, root, parts, known)
    instance = open_instance(settings)
    register_taken(settings, graph, instance, set(taken.labels))
    instance.dispose()
    for part, count in taken.by_part.items():
        typer.echo(f"{part}: {count} partition{'s' if count > 1 else ''} taken")
    if taken.tables:
        typer.echo(f"{len(taken.tables)} profile tables and lists of scans put into {settings.data / 'profiles'}")
    if taken.unknown:
        typer.echo(
            f"note: {len(taken.unknown)} partitions left out, as no enabled renderer, reader, dataset or trial makes "
            f"them, first {taken.unknown[0]}",
            err=True,
        )
    typer.echo(f"Next: its status; then its run, which makes what is not there\nResult: {settings.output}")


def import_release(settings: Settings, root: Path, published: bool, hashes: bool) -> int:
    """Verify, record and show a release; the number of files that are missing, damaged or wrong.

    Args:
        settings: outputs and registry of datasets.
        root: folder in the published layout.
        published: expect the counts of the published release.
        hashes: compare every file with its published hash.
    """
    found = verify_release(
        settings, root, published=published, hashes=hashes, progress=lambda kind: typer.echo(f"Verifying {kind}")
    )
    every = pl.concat(record_release(settings, found).values())
    instance = open_instance(settings)
    recorded = register_release(settings, instance)
    instance.dispose()
    order = {kind: i for i, kind in enumerate(KINDS)}
    summary = (
        every.group_by("kind", "mode", maintain_order=True)
        .agg(
            files=pl.len(),
            ok=(pl.col("status") == "ok").sum(),
            rows=pl.col("rows").sum(),
            missing=(pl.col("status") == "missing").sum(),
            other=(~pl.col("status").is_in(["ok", "missing"])).sum(),
        )
        .sort(pl.col("kind").replace_strict(order, return_dtype=pl.Int64), "mode", nulls_last=True)
    )
    show(summary, f"Release {root}", 200)
    results = every.filter((pl.col("kind") == "results") & (pl.col("status") == "ok"))
    if results.height:
        of = results["detail"].str.extract_groups(r"model (.+), condition (.+), task (.+)").struct.unnest()
        told = "; ".join(
            f"{what} {', '.join(of[column].unique().sort())}"
            for what, column in zip(("models", "conditions", "tasks"), of.columns, strict=True)
        )
        typer.echo(
            f"Results: {results.height} tables, {results['rows'].sum()} answers ({told}); read into no table yet"
        )
    bad = every.filter(pl.col("status") != "ok").select("kind", "status", "path", "detail")
    if bad.height:
        show(bad, "Missing, damaged or wrong", 30)
    typer.echo(f"{recorded} parts registered as materialized\nResult: {settings.output / 'tables' / 'released'}")
    return bad.height
