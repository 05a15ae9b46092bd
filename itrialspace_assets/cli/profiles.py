"""``its profiles``: measure, from-annotations, verify, check. Parses, calls ``profiles``, prints."""

from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from itrialspace_assets.cli.options import Folder, Workers, load

if TYPE_CHECKING:
    from itrialspace_assets.base.settings import Settings
    from itrialspace_assets.profiles.registry import Dataset

app = typer.Typer(no_args_is_help=True, help="Make, check and verify nodule profiles (tables of 53 columns).")

Masks = Annotated[
    Path | None,
    typer.Option("--masks", help="Folder of label maps <ct id>_seg.nii.gz: lobes 28-32, nodules 23."),
]


@app.command()
def measure(
    masks: Annotated[Path, typer.Option("--masks", help="Folder of label maps: lobes 28-32, nodules 23.")],
    dataset: Annotated[str, typer.Option("--dataset", help="Name of the dataset.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Profile CSV to write.")],
    nodules: Annotated[Path | None, typer.Option(help="Folder of nodule masks, for maps without nodules.")] = None,
    workers: Workers = None,
) -> None:
    """Measure profiles from label maps: every connected component of label 23 is a nodule.

    A scan that cannot be measured is rejected with a reason; the others continue. A stopped command continues when it
    is run again.

    Example: `its profiles measure --masks maps --dataset MINE --out MINE_nodule_profiles.csv`

    Result: a profile CSV; the last line names it.
    """
    from itrialspace_assets.cli.show import progress
    from itrialspace_assets.intake.outcome import measured_profiles, write_outcome
    from itrialspace_assets.profiles.masks import measure_scans, scans_in
    from itrialspace_assets.profiles.registry import check_name

    check_name(dataset)
    scans = scans_in(masks, nodules)
    settings = _work(out, workers)
    with progress("scans", len(scans)) as advance:
        rows, rejected = measure_scans(scans, settings, dataset, advance)
    entry = _entry(dataset)
    lines = write_outcome(out, entry, measured_profiles(rows, entry), [s.ct_id for s in scans], rejected)
    _end(settings, lines, out)


@app.command("from-annotations")
def from_annotations(
    source: Annotated[
        str, typer.Argument(help="luna16, lidc, lndb, lungx, nsclc_radiomics, luna25, dlcs24, or a YAML file.")
    ],
    table: Annotated[Path, typer.Option("--table", help="Annotation table as published.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the profile CSV, the scan list and the rejected rows.")
    ],
    scans: Annotated[Path | None, typer.Option(help="Table of all scans (or patients).")] = None,
    masks: Masks = None,
    workers: Workers = None,
) -> None:
    """Make profiles from the annotation table of a published dataset. With label maps, measure the anatomy too.

    Without label maps, lobe, side and distances stay unknown, and each row says why.

    Example: `its profiles from-annotations luna16 --table annotations.csv --scans scans.csv --out luna16`

    Result: a profile CSV, a scan list and the rejected rows in the folder of `--out`.
    """
    from itrialspace_assets.cli.show import progress
    from itrialspace_assets.intake.annotation_sources import find_source
    from itrialspace_assets.intake.annotations import read_annotations
    from itrialspace_assets.intake.outcome import annotated_profiles, annotated_scans, write_annotated
    from itrialspace_assets.profiles.masks import measure_scans

    kind = find_source(source)
    annotated = read_annotations(kind, table, scans)
    entry = _entry(kind.dataset, kind.entry, kind.native)
    settings = _work(out / "profiles", workers)
    rows, rejected = None, list[Any]()
    if masks is not None:
        wanted = annotated_scans(annotated, kind, masks)
        with progress("scans", len(wanted)) as advance:
            rows, rejected = measure_scans(wanted, settings, entry.name, advance)
    lines = write_annotated(out, entry, annotated, annotated_profiles(annotated, kind, entry, rows), rejected, kind)
    _end(settings, lines, out)


@app.command()
def verify(
    dataset: Annotated[str, typer.Option("--dataset", help="Dataset in the data root.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File for the differences of every nodule (.csv, .parquet, .json)."),
    ] = None,
    workers: Workers = None,
    folder: Folder = None,
) -> None:
    """Measure the masks of a dataset again and compare them with its profile table, column by column.

    Example: `its profiles verify --dataset DLCS24 --out differences.csv`

    Result: a table on the screen; with `--out` also a file.
    """
    from itrialspace_assets.base.settings import require_data_root
    from itrialspace_assets.cli.show import progress, save, show
    from itrialspace_assets.profiles.registry import dataset as registered
    from itrialspace_assets.profiles.verify import compare, scans_of

    settings = load(folder, workers=workers)
    require_data_root(settings)
    entry = registered(settings, dataset)
    profiles, scans = scans_of(settings, entry)
    from itrialspace_assets.profiles.masks import measure_scans

    with progress("scans", len(scans)) as advance:
        rows, rejected = measure_scans(scans, settings, f"verify-{dataset}", advance)
    summary, each = compare(profiles, rows)
    show(
        summary,
        f"{dataset}: {each['id'].n_unique() if each.height else 0} of {profiles.height} nodules measured",
        100,
    )
    for rejection in rejected[:10]:
        typer.echo(f"not measured: {rejection.detail}")
    if out:
        save(each, out)
        typer.echo(f"Result: {out}")


@app.command()
def check(
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="One dataset. Default: every dataset with a profile table.")
    ] = None,
    folder: Folder = None,
) -> None:
    """Check profile tables of the data root: print every broken rule with its rows.

    The exit code is 1 if a table is refused.

    Example: `its profiles check --dataset DLCS24`

    Result: findings on the screen; nothing is written.
    """
    from itrialspace_assets.base.errors import TableError
    from itrialspace_assets.base.settings import require_data_root
    from itrialspace_assets.cli.show import show
    from itrialspace_assets.profiles.load import finding_rows, load_profiles
    from itrialspace_assets.profiles.registry import dataset as registered
    from itrialspace_assets.profiles.registry import datasets

    settings = load(folder)
    require_data_root(settings)
    names = (
        [dataset] if dataset else [n for n, e in datasets(settings).items() if e.profile_csv(settings.data).exists()]
    )
    refused = False
    for name in names:
        entry = registered(settings, name)
        try:
            loaded = load_profiles(
                entry.profile_csv(settings.data), entry, settings.anatomy, released=settings.released
            )
        except TableError as error:
            typer.echo(f"{name}: refused. {error}", err=True)
            refused = True
            continue
        found = finding_rows(entry, loaded.findings, loaded.profiles.height, released=settings.released)
        typer.echo(f"{name}: {loaded.profiles.height} nodules in {loaded.scans.height} scans, {found.height} findings")
        if found.height:
            show(found.select("severity", "rule", "column", "rows", "of_rows", "first_rows", "sample", "known"))
    if refused:
        raise typer.Exit(1)


def _work(out: Path, workers: int | None) -> "Settings":
    """Settings whose journals lie beside an output: a stopped command continues."""
    from itrialspace_assets.base.settings import load_settings

    folder = out.absolute().parent / f".{out.stem}-work"
    return load_settings(data_dir=folder, output_dir=folder, workers=workers)


def _entry(name: str, entry: dict[str, Any] | None = None, columns: Container[str] = ()) -> "Dataset":
    """The registered dataset, or a new one from ``entry``, or from what the measurement and ``columns`` tell."""
    from itrialspace_assets.base.settings import load_settings
    from itrialspace_assets.intake.outcome import new_entry
    from itrialspace_assets.profiles.registry import datasets

    known = datasets(load_settings())
    return known[name] if name in known else new_entry(name, entry, columns)


def _end(settings: "Settings", lines: list[str], out: Path) -> None:
    import shutil

    shutil.rmtree(settings.output, ignore_errors=True)  # the journal of a finished command
    for line in lines:
        typer.echo(line)
    typer.echo(f"Result: {out}")
