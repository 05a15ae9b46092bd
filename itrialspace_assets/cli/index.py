"""``its index``: info, stats, search, similar, match, detail, export. Parses, calls ``index.query``, prints."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from itrialspace_assets.cli.options import Folder, load

if TYPE_CHECKING:
    import polars as pl

    from itrialspace_assets.index.query import Index

app = typer.Typer(
    no_args_is_help=True, help="Query the nodule index: counts, filters, similar nodules, donors for a position."
)

Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        "-w",
        help="Filter, repeatable: label=1 (equal), nodule_mean_diam_mm=6..15 (range), lobe_name=a,b (one of), "
        "annotation_id~text (contains), age=null (missing).",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Write all rows to this file (.csv, .parquet, .json) instead of the screen."),
]
K = Annotated[int, typer.Option("--k", "-k", help="Number of nodules.", min=1)]
Limit = Annotated[int, typer.Option(help="Rows on the screen.", min=1)]


def _index(folder: Path | None) -> "Index":
    from itrialspace_assets.cli.earlier import index_first
    from itrialspace_assets.index.query import open_index

    settings = load(folder)
    index_first(settings)
    return open_index(settings)


def _answer(index: "Index", found: "pl.DataFrame", out: Path | None, limit: int, title: str) -> None:
    from itrialspace_assets.cli.show import save, show

    if out:
        save(found, out)
        typer.echo(f"{found.height} nodules written\nResult: {out}")
    else:
        show(index.short(found), f"{title}: {found.height} nodules", limit)


@app.command()
def info(folder: Folder = None) -> None:
    """List the datasets with size, terms and citation, and the findings in their tables.

    The index is made first where there is none.

    Example: `its index info`

    Result: tables on the screen; nothing is written.
    """
    import polars as pl

    from itrialspace_assets.cli.earlier import index_first
    from itrialspace_assets.cli.show import show
    from itrialspace_assets.profiles.registry import datasets
    from itrialspace_assets.records.store import read_all, read_table

    settings = load(folder)
    index_first(settings)
    scans = read_table(settings.output, "scans")
    known = scans.group_by("dataset").agg(
        nodules=pl.col("n_nodules").sum(),
        scans=pl.len(),
        maps=pl.col("has_organ_map").sum(),
        cts=pl.col("has_ct").sum(),
    )
    registry = pl.DataFrame(
        [
            {
                "dataset": e.name,
                "label source": e.label_source,
                "population": e.population,
                "annotation": e.annotation_completeness,
                "licence": e.licence,
                "stated by": e.licence_source,
                "redistributable": "yes" if e.redistributable else "no",
                "release rows": e.release_rows,
                "citation": e.citation,
            }
            for e in datasets(settings).values()
        ]
    )
    counted = registry.join(known, on="dataset", how="left", maintain_order="left")
    show(counted.with_columns(pl.col("nodules", "scans", "maps", "cts").fill_null(0)), "Datasets")
    findings = read_all(settings.output, "findings").select(
        "dataset", "severity", "rule", "column", "rows", "of_rows", "known", "sample"
    )
    if findings.height:
        show(
            findings.sort("dataset", "severity", "rule", descending=[False, True, False]),
            "Findings in their tables",
            100,
        )


@app.command()
def stats(
    by: Annotated[str | None, typer.Option(help="Count by this column.")] = None,
    across: Annotated[str | None, typer.Option(help="Second column to count by. Needs --by.")] = None,
    where: Where = None,
    folder: Folder = None,
) -> None:
    """Count nodules, persons, labels and diameters of each dataset, or nodules by any two columns.

    Example: `its index stats --by dataset --across size_bucket`

    Result: a table on the screen; nothing is written.
    """
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.cli.show import show

    if across and (by is None or by == across):
        raise ConfigError(f"--across {across}: expected --by with another column, got {by or 'none'}")
    index = _index(folder)
    show(index.counts(by, across, where or ()) if by else index.stats(where or ()), "Nodules", 200)


@app.command()
def search(
    where: Where = None,
    sort: Annotated[str | None, typer.Option(help="Column to sort by.")] = None,
    descending: Annotated[bool, typer.Option("--descending", help="Largest first.")] = False,
    limit: Limit = 20,
    out: Out = None,
    folder: Folder = None,
) -> None:
    """Find nodules that meet every filter.

    Example: `its index search -w label=1 -w nodule_mean_diam_mm=6..15 --sort age`

    Result: a table on the screen, or the file of `--out`.
    """
    index = _index(folder)
    _answer(index, index.where(where or (), sort, descending), out, limit, "Found")


@app.command()
def similar(
    nodule: Annotated[str, typer.Argument(help="nodule_uid: <dataset>/<annotation id>.")],
    k: K = 10,
    weight: Annotated[
        list[str] | None, typer.Option(help="Weight of a feature, repeatable: diameter=2, lobe=0.")
    ] = None,
    where: Where = None,
    same_person: Annotated[bool, typer.Option("--same-person", help="Include nodules of the same person.")] = False,
    out: Out = None,
    folder: Folder = None,
) -> None:
    """Find the nodules most similar to one, by standardized position, distance and size.

    Example: `its index similar LUNA16/A-1 --weight diameter=2 -k 5`

    Result: a table on the screen, or the file of `--out`.
    """
    index = _index(folder)
    _answer(
        index,
        index.similar(nodule, k, _numbers("--weight", weight), where or (), same_person),
        out,
        k,
        f"Most similar to {nodule}",
    )


@app.command()
def match(
    lobe: Annotated[str, typer.Option(help="Lobe: RUL, RML, RLL, LUL, LLL.")],
    cc: Annotated[
        float | None, typer.Option(help="Craniocaudal position in the lobe, % from below.", min=0, max=100)
    ] = None,
    pleural: Annotated[float | None, typer.Option(help="Distance to the pleura in mm.", min=0)] = None,
    diameter: Annotated[float | None, typer.Option(help="Diameter in mm.", min=0.1)] = None,
    label: Annotated[int | None, typer.Option(help="1 malignant, 0 benign.", min=0, max=1)] = None,
    host: Annotated[
        str | None, typer.Option(help="scan_uid of the host. Nodules of the same person are excluded.")
    ] = None,
    k: K = 10,
    where: Where = None,
    out: Out = None,
    folder: Folder = None,
) -> None:
    """Find donors for a position in a lobe, best first.

    Example: `its index match --lobe RUL --cc 60 --diameter 12 --label 1`

    Result: a table on the screen, or the file of `--out`.
    """
    import polars as pl

    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.index.query import WantedDonor
    from itrialspace_assets.records.store import read_table

    index, person = _index(folder), None
    if host:
        scans = read_table(load(folder).output, "scans").filter(pl.col("scan_uid") == host)
        if scans.is_empty():
            raise ConfigError(f"--host {host!r}: expected a scan_uid of the index, <dataset>/<ct id>")
        person = scans["person_uid"][0]
    _answer(
        index,
        index.donors_for(WantedDonor(lobe, cc, pleural, diameter, label, person), k, where or ()),
        out,
        k,
        f"Donors for {lobe}",
    )


@app.command()
def detail(
    nodule: Annotated[str, typer.Argument(help="nodule_uid, or an annotation id that only one dataset has.")],
    folder: Folder = None,
) -> None:
    """Show every column of one nodule, and the other nodules of its scan.

    Example: `its index detail LUNA16/A-1`

    Result: tables on the screen; nothing is written.
    """
    import polars as pl

    from itrialspace_assets.cli.show import show
    from itrialspace_assets.records.tables import TABLES

    index = _index(folder)
    row = index.row(nodule).row(0, named=True)
    about = {c.name: c for c in TABLES["nodules"].columns}
    lines = [
        {"column": n, "value": None if v is None else str(v), "unit": about[n].unit, "meaning": about[n].description}
        for n, v in row.items()
    ]
    show(pl.DataFrame(lines), str(row["nodule_uid"]), 200)
    others = index.companions(row["nodule_uid"])
    if others.height:
        show(index.short(others), "In the same scan")


@app.command()
def export(
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write.")],
    kind: Annotated[
        str | None, typer.Option("--format", help="csv, parquet or json. Default: the ending of the file.")
    ] = None,
    where: Where = None,
    folder: Folder = None,
) -> None:
    """Export the index, or the nodules that meet every filter, as CSV, Parquet or JSON.

    Example: `its index export --out malignant.parquet -w label=1`

    Result: the file of `--out`.
    """
    from itrialspace_assets.cli.show import save

    found = _index(folder).where(where or ())
    save(found, out, kind)
    typer.echo(f"{found.height} nodules written\nResult: {out}")


def _numbers(option: str, given: list[str] | None) -> dict[str, float]:
    from itrialspace_assets.base.errors import ConfigError

    found = {}
    for text in given or []:
        name, _, value = text.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise ConfigError(f"{option} {text!r}: expected name=number") from None
    return found
