"""Commands of ``its``. Every error of the platform is one message and a non-zero exit code."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from itrialspace_assets.cli.index import app as index_app
from itrialspace_assets.cli.insertion import insert_app, masks_app
from itrialspace_assets.cli.options import Folder, Workers, load, run_app
from itrialspace_assets.cli.profiles import app as profiles_app
from itrialspace_assets.cli.synthesis import app as cts_app
from itrialspace_assets.cli.synthesis import weights_app
from itrialspace_assets.cli.trials import app as trials_app

app = typer.Typer(
    name="its",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Declare a virtual lesion trial in lung CT, materialise it, look at it. Start with `its demo`.",
)
case_app = typer.Typer(no_args_is_help=True, help="Look at single cases.")
app.add_typer(case_app, name="case")
app.add_typer(index_app, name="index")
app.add_typer(profiles_app, name="profiles")
app.add_typer(trials_app, name="trials")
app.add_typer(insert_app, name="insert")
app.add_typer(masks_app, name="masks")
app.add_typer(cts_app, name="cts")
app.add_typer(weights_app, name="weights")


def _export(settings: Any) -> None:
    """Let child processes (web page, shards) have the same settings."""
    import os

    from itrialspace_assets.base.settings import environment

    for variable, value in environment(settings).items():
        if value is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = value


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

    from itrialspace_assets.base.settings import Settings, provenance

    settings = load(folder)
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
        task = bar.add_task("", total=7 * hosts)
        made = make_root(out, hosts, seed, voxel, progress=lambda done: bar.advance(task, done))
    typer.echo(f"{'Made' if made else 'Up to date:'} a procedural data root in {out}")


Modes = Annotated[
    str | None,
    typer.Option(help="Mode numbers, ranges or keys: 1,2,11-13,x_mine. Default: the thirteen and your own trials."),
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
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Set a field of every trial, repeatable: cohort.n_cases=1000.")
    ] = None,
    relax: Annotated[
        bool, typer.Option("--relax", help="Give up constraints of an infeasible trial, and record each.")
    ] = False,
    workers: Annotated[int | None, typer.Option(help="Worker processes.", min=1)] = None,
    folder: Folder = None,
) -> None:
    """Materialise trials: only what is not up to date runs, and the UI shows every run.

    Stages: profiles, hosts, index, plan, insert, synthesise, slice, read, fidelity, splits, report, catalog, release.
    """
    given = {"overrides": ";".join(overrides)} if overrides else {}
    settings = load(folder, size=size, workers=workers, relax=relax or None, **given)
    _run(settings, modes, datasets, only, to)


def _run(settings: Any, modes: str | None, datasets: str | None, only: str | None, to: str | None) -> None:
    from itrialspace_assets import drive
    from itrialspace_assets.base.settings import require_data_root

    plan = drive.choose(settings, modes, datasets, only, to)
    require_data_root(settings)
    _export(settings)
    failed = drive.drive(settings, plan)
    if failed:
        raise typer.Exit(1)


@app.command()
def synth(
    modes: Modes = None,
    datasets: Datasets = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would take, and end.")] = False,
    workers: Workers = None,
    per_gpu: Annotated[
        int | None,
        typer.Option(
            "--per-gpu",
            help="Workers of each GPU that CUDA_VISIBLE_DEVICES leaves; they take turns. Default: 2.",
            min=1,
        ),
    ] = None,
    folder: Folder = None,
) -> None:
    """Render the CTs of cases that are inserted: first what it will take, measured on a few slices, then the work.

    Enabled renderers (ITRIALSPACE_RENDERERS) each make their own; ITRIALSPACE_CTS says whether whole images or
    patches are kept. Refused before it begins where the disk cannot hold it.
    """
    from itrialspace_assets import drive
    from itrialspace_assets.cli.synthesis import print_forecasts

    settings = load(folder, workers=workers, per_gpu=per_gpu)
    plan = drive.choose(settings, modes, datasets, "synthesise", None)
    print_forecasts(settings, plan.modes, plan.datasets)
    if not dry_run:
        _run(settings, modes, datasets, "synthesise", None)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--dir", help="Where data/ and out/ go.")] = Path(".demo"),
    modes: Annotated[str, typer.Option(help="Modes to run.")] = "all",
    hosts: Annotated[int, typer.Option(help="Scans per dataset.")] = 5,
    seed: Annotated[int, typer.Option(help="Root of every draw.")] = 42,
    spacing: Annotated[float, typer.Option(help="In-plane voxel size in mm.", min=0.7, max=4.0)] = 1.36,
    workers: Annotated[int | None, typer.Option(help="Worker processes.", min=1)] = None,
) -> None:
    """From nothing to reports: make the procedural data root, run the trials, print the primary result of each."""
    from itrialspace_assets import drive
    from itrialspace_assets.cli import summary

    settings = load(folder, workers=workers, seed=seed)
    drive.choose(settings, modes, None, None, None)
    _make_demo_data(settings.data, hosts, seed, spacing)
    _run(settings, modes, None, None, None)
    summary.print_results(settings)


@app.command("import")
def import_own(
    dataset: Annotated[str, typer.Option("--dataset", help="Name of your dataset.")],
    ct: Annotated[Path | None, typer.Option(help="One CT: a NIfTI file or a folder of DICOM slices.")] = None,
    organs: Annotated[
        Path | None, typer.Option(help="Its organ map (NIfTI), or a folder with one mask a structure.")
    ] = None,
    nodules: Annotated[
        Path | None,
        typer.Option(
            help="Its nodules: mask, folder of masks, DICOM-SEG, RTSTRUCT, LIDC XML, or a CSV of x,y,z,diameter_mm."
        ),
    ] = None,
    listed: Annotated[
        Path | None, typer.Option("--list", help="CSV of many scans: ct,organs,nodules,ct_id,patient,age,sex.")
    ] = None,
    labels: Annotated[
        str, typer.Option(help="Whose label map: totalsegmentator (version 2), totalsegmentator_v1 or vista3d.")
    ] = "totalsegmentator",
    frame: Annotated[str | None, typer.Option(help="Axes of a nodule CSV: RAS or LPS.")] = None,
    roi: Annotated[str | None, typer.Option(help="Regular expression for nodule regions of an RTSTRUCT.")] = None,
    trust: Annotated[
        str | None,
        typer.Option(help="sform or qform: which to use where a NIfTI states no orientation, or two that differ."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Least value of a nodule, where masks hold probabilities.")
    ] = None,
    unusual_anatomy: Annotated[
        bool, typer.Option("--unusual-anatomy", help="Take organ maps in which a lobe is missing or holds no air.")
    ] = False,
    workers: Workers = None,
    folder: Folder = None,
) -> None:
    """Bring your own scans into the data root: CT, organ map, nodules; profiles are measured.

    A nodule without a mask becomes a sphere and is marked procedural. Without an organ map the CT is written
    and the command ends with what to run and where to put its result.
    """
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.cli.show import progress
    from itrialspace_assets.intake.case import allowances
    from itrialspace_assets.intake.importing import DEFAULT_ROI, OwnScan, import_scans, read_list

    if (ct is None) == (listed is None):
        raise ConfigError("give --ct for one scan or --list for many")
    scans = read_list(listed) if listed else [OwnScan(str(ct), str(organs or ""), str(nodules or ""))]
    allowed = allowances(trust, threshold, unusual_anatomy)
    settings = load(folder, workers=workers)
    at_root = load(data_dir=settings.data, output_dir=settings.data, workers=workers)
    with progress("scans", len(scans)) as advance:
        done, found, rejected = import_scans(
            scans, at_root, dataset, labels, frame, roi or DEFAULT_ROI, advance, allowed
        )
    for rejection in rejected:
        typer.echo(f"rejected: {rejection.uid}: {rejection.detail}", err=True)
    typer.echo(f"{done} scans with {found} nodules in {settings.data}. Next: its run --datasets {dataset} --to index")
    if rejected:
        raise typer.Exit(1)


@app.command("import-release")
def import_release(
    root: Annotated[
        Path,
        typer.Argument(
            help="Folder in the published layout: profiles/, manifests/, inserted_masks/, generated_cts/, vlm_dataset/."
        ),
    ],
    published: Annotated[
        bool,
        typer.Option("--published", help="It is the published release: expect its 13,140 profiles and 44,174 CTs."),
    ] = False,
    hashes: Annotated[bool, typer.Option("--hashes", help="Read every file and compare with SHA256SUMS.")] = False,
    folder: Folder = None,
) -> None:
    """Verify a downloaded release and register what is whole as materialised; nothing is recomputed.

    Every file that is missing, damaged or contradicts its own counts is named; then the exit code is 1.
    """
    from itrialspace_assets.cli import release

    if release.import_release(load(folder), root.absolute(), published, hashes):
        raise typer.Exit(1)


@app.command()
def status(folder: Folder = None) -> None:
    """Per mode and stage: cases done, of them reused, rejected, and partitions missing."""
    from itrialspace_assets.cli import summary

    summary.print_status(load(folder))


@app.command()
def sql(
    query: Annotated[str | None, typer.Argument(help="SQL over the catalogue.")] = None,
    question: Annotated[
        str | None, typer.Option("--question", "-q", help="Name of a ready question; without a name, see --list.")
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="List the ready questions.")] = False,
    folder: Folder = None,
) -> None:
    """Ask the catalogue (DuckDB, read-only): `its sql "SELECT * FROM results"` or `its sql -q size_curve`."""
    import duckdb

    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.catalog.rebuild import connect, questions

    ready = questions()
    if show or (query is None and question is None):
        for name, text in ready.items():
            typer.echo(f"{name:16} {text.splitlines()[0].removeprefix('-- ')}")
        return
    if question is not None and question not in ready:
        raise ConfigError(f"--question {question!r}: expected one of {', '.join(ready)}")
    with connect(load(folder)) as db:
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
    from itrialspace_assets.base.settings import require_data_root
    from itrialspace_assets.cli import serve

    settings = load(folder)
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

    path = write_page(load(folder), uid)
    typer.echo(f"Case page: {path}")


@app.command()
def graph() -> None:
    """Print the asset graph as a Mermaid flow chart."""
    from itrialspace_assets.graph import mermaid

    typer.echo(mermaid(load()))


@app.command()
def dictionary() -> None:
    """Print the data dictionary (Markdown)."""
    from itrialspace_assets.catalog.dictionary import dictionary as text

    typer.echo(text())


def main() -> None:
    """Entry point of ``its``."""
    run_app(app)


if __name__ == "__main__":
    main()
