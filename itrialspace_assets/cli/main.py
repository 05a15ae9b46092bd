"""Commands of ``its``. Every error of the platform is one message and a non-zero exit code."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="its", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown",
    help="Declare a virtual lesion trial in lung CT, materialise it, look at it. Start with `its demo`.",
)  # fmt: skip
case_app = typer.Typer(no_args_is_help=True, help="Look at single cases.")
app.add_typer(case_app, name="case")

Folder = Annotated[
    Path | None,
    typer.Option("--dir", help="Folder with data/ and out/ of a demo; else the ITRIALSPACE_ variables decide."),
]


def _settings(folder: Path | None = None, **overrides: Any) -> Any:
    from itrialspace_assets.settings import load_settings

    if folder is not None:
        overrides |= {"data_dir": folder.absolute() / "data", "output_dir": folder.absolute() / "out"}
    return load_settings(**overrides)


def _export(settings: Any) -> None:
    """Let child processes (UI, shards) see the same roots."""
    import os

    os.environ["ITRIALSPACE_DATA_DIR"], os.environ["ITRIALSPACE_OUTPUT_DIR"] = str(settings.data), str(settings.output)


def _version(value: bool) -> None:
    if value:
        from itrialspace_assets import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


@app.command()
def config(folder: Folder = None) -> None:
    """Print every setting, its value, and where that value came from. Secrets are masked."""
    from rich.console import Console
    from rich.table import Table

    from itrialspace_assets.settings import Settings, provenance

    settings = _settings(folder)
    table = Table("variable", "value", "from", "meaning", title="Settings")
    for (name, value, source), field in zip(provenance(settings), Settings.model_fields.values(), strict=True):
        table.add_row(name, value, source, field.description)
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    console.print(f"data root: {settings.data} ({settings.anatomy} anatomy)\noutputs:   {settings.output}")


@app.command("demo-data")
def demo_data(
    out: Annotated[Path, typer.Option("--out", help="Folder to fill.")],
    hosts: Annotated[int, typer.Option(help="Scans per dataset.")] = 5,
    seed: Annotated[int, typer.Option(help="Root of every draw.")] = 42,
    spacing: Annotated[
        float, typer.Option(help="In-plane voxel size in mm; slices are 1.29 times as thick.", min=0.7, max=4.0)
    ] = 1.36,
) -> None:
    """Write a data root of **procedural** anatomy: seven datasets, organ maps, nodules, CTs, profiles."""
    _make_demo_data(out, hosts, seed, spacing)


def _make_demo_data(out: Path, hosts: int, seed: int, spacing: float) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from itrialspace_assets.demo.root import SPACING, make_root

    voxel = SPACING if spacing == SPACING[0] else (spacing, spacing, round(spacing * SPACING[2] / SPACING[0], 3))
    with Progress(
        TextColumn("procedural scans"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        transient=True,
        disable=not sys.stdout.isatty(),
    ) as bar:
        task = bar.add_task("", total=None)
        made = make_root(
            out, hosts, seed, voxel, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
    typer.echo(f"{'Made' if made else 'Up to date:'} a procedural data root in {out}")


Modes = Annotated[
    str | None,
    typer.Option(help="Mode numbers or keys, separated by commas: 1,2,11. Default: every mode with a trial file."),
]
Datasets = Annotated[
    str | None, typer.Option(help="Dataset keys, separated by commas. Default: every dataset with a profile table.")
]


@app.command()
def run(
    modes: Modes = None,
    datasets: Datasets = None,
    only: Annotated[str | None, typer.Option(help="Run this stage alone.")] = None,
    to: Annotated[str | None, typer.Option(help="Run every stage up to this one.")] = None,
    size: Annotated[str | None, typer.Option(help="Column of the trial's sizes: demo or paper.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes.", min=1)] = None,
    folder: Folder = None,
) -> None:
    """Materialise trials: only what is not up to date runs, and the UI shows every run.

    Stages: profiles, hosts, index, plan, insert, synthesise, slice, read, splits, report, catalog, release.
    """
    settings = _settings(folder, size=size, workers=workers)
    _run(settings, modes, datasets, only, to)


def _run(settings: Any, modes: str | None, datasets: str | None, only: str | None, to: str | None) -> None:
    from itrialspace_assets.cli import drive
    from itrialspace_assets.settings import require_data_root

    plan = drive.choose(settings, modes, datasets, only, to)
    require_data_root(settings)
    _export(settings)
    failed = drive.drive(settings, plan)
    if failed:
        raise typer.Exit(1)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--dir", help="Where data/ and out/ go.")] = Path(".demo"),
    modes: Annotated[str, typer.Option(help="Modes to run.")] = "1,2,11",
    hosts: Annotated[int, typer.Option(help="Scans per dataset.")] = 5,
    seed: Annotated[int, typer.Option(help="Root of every draw.")] = 42,
    spacing: Annotated[float, typer.Option(help="In-plane voxel size in mm.", min=0.7, max=4.0)] = 1.36,
    workers: Annotated[int | None, typer.Option(help="Worker processes.", min=1)] = None,
) -> None:
    """From nothing to reports: make the procedural data root, run the trials, print what came out."""
    from itrialspace_assets.cli import drive, summary

    settings = _settings(folder, workers=workers, seed=seed)
    drive.choose(settings, modes, None, None, None)
    _make_demo_data(settings.data, hosts, seed, spacing)
    _run(settings, modes, None, None, None)
    summary.print_results(settings)


@app.command()
def status(folder: Folder = None) -> None:
    """Per mode and stage: cases done, of them reused, rejected, and partitions missing."""
    from itrialspace_assets.cli import summary

    summary.print_status(_settings(folder))


@app.command()
def sql(
    query: Annotated[str | None, typer.Argument(help="SQL over the catalogue.")] = None,
    question: Annotated[
        str | None, typer.Option("--question", "-q", help="Name of a ready question; without a name, see --list.")
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="List the ready questions.")] = False,
    folder: Folder = None,
) -> None:
    """Ask the catalogue (DuckDB, read-only): `its sql "SELECT * FROM v_results"` or `its sql -q size_curve`."""
    import duckdb

    from itrialspace_assets.catalog.rebuild import connect, questions
    from itrialspace_assets.errors import ConfigError

    ready = questions()
    if show or (query is None and question is None):
        for name, text in ready.items():
            typer.echo(f"{name:16} {text.splitlines()[0].removeprefix('-- ')}")
        return
    if question is not None and question not in ready:
        raise ConfigError(f"--question {question!r}: expected one of {', '.join(ready)}")
    with connect(_settings(folder)) as db:
        try:
            answer = db.sql(ready[question] if question else str(query))
        except duckdb.Error as error:
            raise ConfigError(f"sql: {error}") from None
        if answer is not None:
            answer.show(max_width=240, max_rows=200)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port of the web page.", min=1024, max=65535)] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on; keep the default unless you mean it.")] = "127.0.0.1",
    folder: Folder = None,
) -> None:
    """Open the Dagster UI: a webserver and the daemon, until Ctrl-C."""
    from itrialspace_assets.cli import serve
    from itrialspace_assets.settings import require_data_root

    settings = _settings(folder)
    require_data_root(settings)
    _export(settings)
    raise typer.Exit(serve.serve(settings, host, port))


@case_app.command("show")
def case_show(
    uid: Annotated[str, typer.Argument(help="case_uid, for example size_detection_curve/10_15mm/00000.")],
    folder: Folder = None,
) -> None:
    """Write one HTML page of a case: host, mask, CT, twin, slices, answers, asked and got."""
    from itrialspace_assets.catalog.casepage import write_page

    path = write_page(_settings(folder), uid)
    typer.echo(f"Case page: {path}")


@app.command()
def graph() -> None:
    """Print the asset graph as a Mermaid flow chart."""
    from itrialspace_assets.graph import mermaid

    typer.echo(mermaid(_settings()))


@app.command()
def dictionary() -> None:
    """Print the data dictionary (Markdown)."""
    from itrialspace_assets.tables import dictionary as text

    typer.echo(text())


def main() -> None:
    """Entry point: a platform error is shown as one message, without a traceback."""
    from itrialspace_assets.errors import ConfigError, PlatformError

    try:
        app()
    except ConfigError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except PlatformError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
