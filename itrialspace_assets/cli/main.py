"""Commands of ``its`` that belong to no group. Parses, calls, prints."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from itrialspace_assets.cli.clean import clean
from itrialspace_assets.cli.compare import compare
from itrialspace_assets.cli.evidence import app as evidence_app
from itrialspace_assets.cli.explore import explore
from itrialspace_assets.cli.export import app as export_app
from itrialspace_assets.cli.forecast import forecast
from itrialspace_assets.cli.index import app as index_app
from itrialspace_assets.cli.insertion import insert_app, masks_app
from itrialspace_assets.cli.notebook import notebook
from itrialspace_assets.cli.options import Folder, Relax, Set, Size, Workers, load, run_app
from itrialspace_assets.cli.planning import app as plan_app
from itrialspace_assets.cli.profiles import app as profiles_app
from itrialspace_assets.cli.readers import app as readers_app
from itrialspace_assets.cli.reading import evaluate, ledger_app, rescore
from itrialspace_assets.cli.reading_room import app as reading_app
from itrialspace_assets.cli.score import app as score_app
from itrialspace_assets.cli.slicing import slices
from itrialspace_assets.cli.splits import app as splits_app
from itrialspace_assets.cli.studies import app as study_app
from itrialspace_assets.cli.synthesis import app as cts_app
from itrialspace_assets.cli.trials import app as trials_app
from itrialspace_assets.cli.weights import app as weights_app

if TYPE_CHECKING:
    from itrialspace_assets.base.settings import Settings

app = typer.Typer(
    name="its",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""Plan virtual lesion trials in lung CT, materialize them, and read their reports.

    Start with `its demo`. Each command has its own help: `its run --help`.

    Exit code: 0 done, 1 something failed or was rejected, 2 a wrong option or setting.""",
)
case_app = typer.Typer(no_args_is_help=True, help="Inspect single cases.")
app.add_typer(case_app, name="case")
app.add_typer(index_app, name="index")
app.add_typer(profiles_app, name="profiles")
app.add_typer(trials_app, name="trials")
app.add_typer(study_app, name="study")
app.add_typer(plan_app, name="plan")
app.add_typer(insert_app, name="insert")
app.add_typer(masks_app, name="masks")
app.add_typer(cts_app, name="cts")
app.add_typer(weights_app, name="weights")
app.add_typer(splits_app, name="splits")
app.add_typer(ledger_app, name="ledger")
app.add_typer(readers_app, name="readers")
app.add_typer(reading_app, name="reading")
app.add_typer(score_app, name="score")
app.add_typer(evidence_app, name="evidence")
app.add_typer(export_app, name="export")
app.command()(slices)
app.command()(clean)
app.command()(compare)
app.command()(evaluate)
app.command()(explore)
app.command()(forecast)
app.command()(notebook)
app.command()(rescore)


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
    """Print every setting, its value, and where the value comes from. Secrets are masked.

    A value comes from an option, an environment variable, the file `.env`, or the default, in this order.

    Example: `its config --dir .demo`

    Result: a table on the screen; nothing is written.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from itrialspace_assets.base.settings import Settings, provenance

    settings = load(folder)
    table = Table("variable", "value", "from", "meaning", title="Settings")
    options = ("data_dir", "output_dir") if folder else ()
    for (name, value, source), field in zip(provenance(settings, options), Settings.model_fields.values(), strict=True):
        table.add_row(*map(Text, (name, value, source, field.description or "")))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    typer.echo(f"Data root: {settings.data} ({settings.anatomy} anatomy)\nOutputs: {settings.output}")


@app.command()
def doctor(folder: Folder = None) -> None:
    """Say whether this installation can run, what is missing, and what to do about it.

    Looks at the installation, settings, data root, disk, clock, executor, GPU, renderers and readers. Runs nothing.

    Example: `its doctor --dir .demo`

    Result: a table on the screen. Exit code 1 if something that is needed is missing.
    """
    import os

    import polars as pl

    from itrialspace_assets.cli.show import show
    from itrialspace_assets.diagnosis import findings

    found = findings(load(folder), os.environ)
    show(pl.DataFrame({name: [getattr(f, name) for f in found] for name in ("state", "part", "seen", "fix")}))
    wrong = [f for f in found if f.state == "wrong"]
    typer.echo(f"Result: {len(wrong) or 'nothing'} to fix")
    if wrong:
        raise typer.Exit(1)


Hosts = Annotated[int, typer.Option(help="Scans per dataset, 1 to 200.")]
Seed = Annotated[int, typer.Option(help="Seed of every random draw.", min=0)]
Spacing = Annotated[
    float,
    typer.Option(help="In-plane voxel size in mm. Slices are 1.29 times as thick.", min=0.7, max=4.0),
]


@app.command("demo-data")
def demo_data(
    out: Annotated[Path, typer.Option("--out", help="Folder to fill.")],
    hosts: Hosts = 5,
    seed: Seed = 42,
    spacing: Spacing = 1.36,
) -> None:
    """Make a data root of **procedural** anatomy: seven datasets with organ maps, nodules, CTs and profiles.

    The anatomy is drawn. It shows no person. A stopped command continues when it is run again. A small table of
    simulated answers comes with it; the reader `table_example` reads it.

    Example: `its demo-data --out mine/data`

    Result: a data root in the folder of `--out`. Use it with `its run --dir mine`.
    """
    _make_demo_data(out, hosts, seed, spacing)
    typer.echo(f"Result: {out}")


def _make_demo_data(out: Path, hosts: int, seed: int, spacing: float) -> None:
    from itrialspace_assets.base.settings import load_settings
    from itrialspace_assets.cli.show import progress
    from itrialspace_assets.demo.answers import write_answers
    from itrialspace_assets.demo.root import PUBLISHED_DATASETS, SPACING, make_root

    voxel = SPACING if spacing == SPACING[0] else (spacing, spacing, round(spacing * SPACING[2] / SPACING[0], 3))
    with progress("procedural scans", PUBLISHED_DATASETS * hosts) as advance:
        made = make_root(out, hosts, seed, voxel, progress=advance)
    write_answers(load_settings(data_dir=out), seed)
    typer.echo("Procedural data root made" if made else "Procedural data root is up to date")


Modes = Annotated[
    str | None,
    typer.Option(
        help="Mode numbers, ranges or keys: 1,2,11-13,x_mine. Default: the thirteen modes and your own trials."
    ),
]
Datasets = Annotated[
    str | None,
    typer.Option(help="Host datasets, separated by commas. Default: every dataset with a profile table."),
]


@app.command()
def run(
    modes: Modes = None,
    datasets: Datasets = None,
    only: Annotated[str | None, typer.Option(help="Run this stage only.")] = None,
    to: Annotated[str | None, typer.Option(help="Run every stage up to and including this one.")] = None,
    case: Annotated[
        str | None,
        typer.Option(help="Run this one planned case again, from insertion to answers, and write a trace of it."),
    ] = None,
    size: Size = None,
    overrides: Set = None,
    relax: Relax = False,
    workers: Workers = None,
    folder: Folder = None,
) -> None:
    """Materialize trials: run every stage that is not up to date.

    Stages, in order: profiles, hosts, index, plan, insert, synthesise, slice, read, fidelity, splits, report, catalog,
    release. A stopped run continues when it is run again. The Dagster UI (`its ui`) shows every run.

    With `--case` nothing else runs, and no table, record or ledger changes: the case is made in a scratch folder and
    compared with the tables, and files of it that are missing or damaged are put back. The trace says what was read,
    placed, rendered, cut and answered, with paths and hashes. Every enabled reader is asked again, past the ledger.

    Example: `its run --modes 2 --to plan --dir .demo`

    Example: `its run --case size_detection_curve/10_15mm/00000 --dir .demo`

    Result: tables, images and reports in the output folder; the last line names it.
    """
    given = {"overrides": ";".join(overrides)} if overrides else {}
    settings = load(folder, size=size, workers=workers, relax=relax or None, **given)
    if case is None:
        _run(settings, modes, datasets, only, to)
    else:
        _rerun(settings, case, [name for name, value in (("--modes", modes), ("--only", only), ("--to", to)) if value])


def _rerun(settings: "Settings", case: str, others: list[str]) -> None:
    """Run one case again and print how each stage compares; exit code 1 where something differs or was rejected."""
    import polars as pl

    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.base.settings import require_data_root
    from itrialspace_assets.care.one_case import rerun
    from itrialspace_assets.cli.show import show

    if others:
        raise ConfigError(f"--case: expected without {', '.join(others)}; a case goes through all stages")
    require_data_root(settings)
    trace = rerun(settings, case)
    rows = [
        {
            "stage": stage.stage,
            "rows": sum(map(len, stage.rows.values())),
            "files": len(stage.files),
            "seconds": round(stage.seconds, 2),
            "state": stage.rejected or "; ".join(stage.differs) or "as in the tables",
            "put back": len(stage.restored),
        }
        for stage in trace.stages
    ]
    show(pl.DataFrame(rows, infer_schema_length=None), case)
    typer.echo(f"Result: {trace.path}")
    if any(stage.rejected or stage.differs for stage in trace.stages):
        raise typer.Exit(1)


def _run(settings: "Settings", modes: str | None, datasets: str | None, only: str | None, to: str | None) -> None:
    from itrialspace_assets import drive
    from itrialspace_assets.base.settings import require_data_root

    plan = drive.choose(settings, modes, datasets, only, to)
    require_data_root(settings)
    if drive.drive(settings, plan):
        raise typer.Exit(1)


@app.command()
def synth(
    modes: Modes = None,
    datasets: Datasets = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the estimate only. Render nothing.")] = False,
    workers: Workers = None,
    per_gpu: Annotated[
        int | None,
        typer.Option(
            "--per-gpu",
            help="Workers of each GPU that CUDA_VISIBLE_DEVICES allows; they take turns. Default: 2.",
            min=1,
        ),
    ] = None,
    folder: Folder = None,
) -> None:
    """Render CTs of the inserted cases with every enabled renderer, after an estimate of time and disk space.

    The estimate renders a few slices. The command stops before it renders if the disk is too small.
    ITRIALSPACE_RENDERERS names the renderers; ITRIALSPACE_CTS says whether whole images or patches are kept.

    Example: `its synth --modes 2 --dry-run`

    Result: CTs in the output folder; with `--dry-run` only the estimate on the screen.
    """
    from itrialspace_assets import drive
    from itrialspace_assets.cli.synthesis import print_estimates

    settings = load(folder, workers=workers, per_gpu=per_gpu)
    plan = drive.choose(settings, modes, datasets, "synthesise", None)
    print_estimates(settings, plan.modes, plan.datasets)
    if dry_run:
        typer.echo("Nothing was rendered (--dry-run)")
    else:
        _run(settings, modes, datasets, "synthesise", None)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--dir", help="Folder to fill with data/ and out/.")] = Path(".demo"),
    modes: Annotated[str, typer.Option(help="Mode numbers, ranges or keys.")] = "all",
    hosts: Hosts = 5,
    seed: Seed = 42,
    spacing: Spacing = 1.36,
    workers: Workers = None,
) -> None:
    """Make a procedural data root, run the trials on it, and print the primary result of each.

    Takes minutes. The anatomy is **procedural**: results are no evidence about people. A stopped command continues
    when it is run again.

    Example: `its demo --modes 1,2`

    Result: reports and catalog in `out/` of the folder; the last lines name them.
    """
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
        Path | None, typer.Option(help="Its organ map: a NIfTI file, or a folder with one mask for each structure.")
    ] = None,
    nodules: Annotated[
        Path | None,
        typer.Option(
            help="Its nodules: a mask, a folder of masks, DICOM-SEG, RTSTRUCT, LIDC XML, or a CSV with "
            "x,y,z,diameter_mm."
        ),
    ] = None,
    listed: Annotated[
        Path | None, typer.Option("--list", help="CSV of many scans: ct,organs,nodules,ct_id,patient,age,sex.")
    ] = None,
    labels: Annotated[
        str, typer.Option(help="Whose label map: totalsegmentator (version 2), totalsegmentator_v1 or vista3d.")
    ] = "totalsegmentator",
    frame: Annotated[str | None, typer.Option(help="Axes of a nodule CSV: RAS or LPS.")] = None,
    ct_id: Annotated[str, typer.Option("--ct-id", help="Id of the one CT; else its file's name.")] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace another scan of the dataset that has the same id.")
    ] = False,
    roi: Annotated[
        str | None, typer.Option(help="Regular expression for names of nodules in a DICOM-SEG or RTSTRUCT.")
    ] = None,
    segment: Annotated[
        list[str] | None, typer.Option(help="Number or name of a segment or region that is a nodule; repeatable.")
    ] = None,
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
    """Import your own scans: CT, organ map and nodules. Profiles are measured.

    A nodule without a mask becomes a sphere and is marked procedural. Without an organ map the CT is written, the scan
    is rejected, and the message says what to run. A rejected scan does not stop the others; the exit code is then 1.

    Example: `its import --dataset MINE --ct scan.nii.gz --organs organs.nii.gz --nodules nodules.csv --frame LPS`

    Result: the scans in the data root, and a profile table in its folder `profiles/`.
    """
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.cli.show import progress
    from itrialspace_assets.intake.case import allowances
    from itrialspace_assets.intake.importing import import_scans
    from itrialspace_assets.intake.listing import OwnScan, files_of, read_list
    from itrialspace_assets.intake.own_files import hidden_files
    from itrialspace_assets.intake.request import ImportRequest
    from itrialspace_assets.profiles.dicom.regions import LESION_NAMES

    if (ct is None) == (listed is None):
        got = "both" if ct else "neither"
        raise ConfigError(f"expected --ct (one scan) or --list (many scans), got {got}")
    if listed and ct_id:
        raise ConfigError("--ct-id: expected with --ct; a list has a column ct_id")
    request = ImportRequest(
        labels=labels,
        frame=frame,
        roi=roi or LESION_NAMES,
        segments=tuple(segment or ()),
        allowed=allowances(trust, threshold, unusual_anatomy),
        replace_scans=replace,
    )
    scans = read_list(listed) if listed else [OwnScan(str(ct), str(organs or ""), str(nodules or ""), ct_id)]
    settings = load(folder, workers=workers)
    at_root = load(data_dir=settings.data, output_dir=settings.data, workers=workers)
    notes: list[str] = []
    with progress("scans", len(scans)) as advance:
        done, found, rejected = import_scans(scans, at_root, dataset, request, progress=advance, tell=notes.append)
    if hidden := hidden_files(files_of(scans)):
        typer.echo(f"{len(hidden)} hidden files were left out, first {hidden[0].name}", err=True)
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    for rejection in rejected:
        typer.echo(f"rejected: {rejection.uid}: {rejection.detail}", err=True)
    typer.echo(f"{done} scans with {found} nodules imported, {len(scans) - done} scans rejected")
    typer.echo(f"Next: its run --datasets {dataset} --to index")
    typer.echo(f"Result: {settings.data}")
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
        typer.Option("--published", help="Expect the counts of the published release: 13,140 profiles, 44,174 CTs."),
    ] = False,
    hashes: Annotated[bool, typer.Option("--hashes", help="Compare every file with SHA256SUMS. Slow.")] = False,
    use: Annotated[
        str | None,
        typer.Option(
            "--use",
            metavar="PARTS",
            help="Use these parts instead of computing them: all, or some of profiles, hosts, index, "
            "manifests, inserted_masks, generated_cts, slices, results, splits, fidelity, with commas.",
        ),
    ] = None,
    folder: Folder = None,
) -> None:
    """Verify a downloaded release and register its intact parts as materialized. Nothing is computed again.

    Every file that is missing, damaged or has wrong counts is named; the exit code is then 1. With --use, nothing is
    taken if a file of these parts is missing or changed, or if a part disagrees with its manifest.

    Example: `its import-release downloads/itrialspace --hashes`

    Result: the table `released` in the output folder, and the registered parts in the Dagster UI.
    """
    from itrialspace_assets.cli import release
    from itrialspace_assets.release.take import chosen_parts

    parts = chosen_parts(use) if use else ()
    settings = load(folder)
    wrong = release.import_release(settings, root.absolute(), published, hashes)
    if parts:
        release.use_release(settings, root.absolute(), parts)
    if wrong:
        raise typer.Exit(1)


@app.command()
def status(folder: Folder = None) -> None:
    """Count partitions that are up to date, out of date and missing, and cases done, reused and rejected.

    Example: `its status --dir .demo`

    Result: a table on the screen; nothing is written.
    """
    from itrialspace_assets.cli import summary

    summary.print_status(load(folder))


@app.command()
def health(folder: Folder = None) -> None:
    """List partitions that are missing, out of date, failed, or hold rejected cases.

    Exit code 1 if the last run of a partition failed. The asset `platform_health` holds the same as a table.

    Example: `its health --dir .demo`

    Result: a table on the screen; nothing is written.
    """
    from itrialspace_assets.cli import summary

    if summary.print_health(load(folder)):
        raise typer.Exit(1)


@app.command()
def sql(
    query: Annotated[str | None, typer.Argument(help="SQL statement.")] = None,
    question: Annotated[
        str | None, typer.Option("--question", "-q", help="Name of a ready question; `--list` names them.")
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", help="Value that a ready question takes, repeatable: metric=sensitivity."),
    ] = None,
    show: Annotated[
        bool, typer.Option("--list", help="List the ready questions and the values that they take.")
    ] = False,
    folder: Folder = None,
) -> None:
    """Query the catalog (a read-only DuckDB file) with SQL or a ready question.

    Example: `its sql -q size_curve --dir .demo`

    Example: `its sql -q cases_of --set analysis=m02_size_detection_curve --set metric=sensitivity --dir .demo`

    Example: `its sql "SELECT * FROM results" --dir .demo`

    Result: a table on the screen; nothing is written.
    """
    import duckdb

    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.catalog.questions import ready
    from itrialspace_assets.catalog.rebuild import connect

    known = ready()
    if query is not None and question is not None:
        raise ConfigError("expected SQL or --question, got both")
    if values and question is None:
        raise ConfigError("--set: expected with --question; write the values of your own SQL into it")
    if show or (query is None and question is None):
        for one in known.values():
            typer.echo(f"{one.name:20} {one.asks}")
            for value in one.values:
                default = "" if value.default is None else f" (default: {value.default})"
                typer.echo(f"{'':20}   --set {value.name}=…  {value.meaning}{default}")
        return
    if question is not None and question not in known:
        raise ConfigError(f"--question {question!r}: expected one of {', '.join(known)}")
    bound = known[question].bound(values or []) if question else {}
    with connect(load(folder)) as db:
        try:
            answer = (
                db.sql(known[question].sql, params=bound)
                if bound and question
                else db.sql(known[question].sql if question else str(query))
            )
        except duckdb.Error as error:
            raise ConfigError(f"sql: {error}") from None
        if answer is not None:
            answer.show(max_width=240, max_rows=200)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port of the web page.", min=1024, max=65535)] = 3000,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Other computers reach every address but the default.")
    ] = "127.0.0.1",
    folder: Folder = None,
) -> None:
    """Serve the Dagster UI: runs, lineage and backfills. Ctrl-C ends it.

    Starts the Dagster webserver and the daemon. The page has no password.

    Example: `its ui --dir .demo`

    Result: a web page at http://127.0.0.1:3000.
    """
    from itrialspace_assets.base.settings import require_data_root
    from itrialspace_assets.cli import serve

    settings = load(folder)
    require_data_root(settings)
    raise typer.Exit(serve.serve(settings, host, port))


@case_app.command("show")
def case_show(
    uid: Annotated[str, typer.Argument(help="case_uid, for example size_detection_curve/10_15mm/00000.")],
    folder: Folder = None,
) -> None:
    """Write one HTML page of a case: host, mask, CT, lesion-free twin, slices, answers, planned and measured values.

    Example: `its case show size_detection_curve/10_15mm/00000 --dir .demo`

    Result: an HTML page in the output folder; the last line names it.
    """
    from itrialspace_assets.catalog.casepage import write_page

    typer.echo(f"Result: {write_page(load(folder), uid)}")


@app.command()
def graph() -> None:
    """Print the asset graph as a Mermaid flow chart.

    Example: `its graph > graph.mmd`

    Result: text on the screen; nothing is written.
    """
    from itrialspace_assets.graph import mermaid

    typer.echo(mermaid(load()))


@app.command()
def dictionary() -> None:
    """Print the data dictionary in Markdown: every table and column with unit and meaning.

    Example: `its dictionary > dictionary.md`

    Result: text on the screen; nothing is written.
    """
    from itrialspace_assets.catalog.dictionary import dictionary as text

    typer.echo(text())


def main() -> None:
    """Entry point of ``its``."""
    run_app(app)


if __name__ == "__main__":
    main()
