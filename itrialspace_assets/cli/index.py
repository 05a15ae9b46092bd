"""``its index``: info, stats, search, similar, match, detail, export. Parses, calls ``index.query``, prints."""

from pathlib import Path
from typing import Annotated, Any

import typer

from itrialspace_assets.cli.options import Folder, load

app = typer.Typer(
    no_args_is_help=True, help="Ask the nodule index: counts, filters, similar nodules, donors for a place."
)

Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        "-w",
        help="Filter, repeatable: label=1, nodule_mean_diam_mm=6..15, lobe_name=a,b, annotation_id~text, age=null.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Write the whole answer (.csv, .parquet or .json) instead of showing it."),
]
Limit = Annotated[int, typer.Option(help="Rows to show.", min=1)]


def _index(folder: Path | None) -> Any:
    from itrialspace_assets.index.query import open_index

    return open_index(load(folder))


def _answer(index: Any, found: Any, out: Path | None, limit: int, title: str) -> None:
    from itrialspace_assets.cli.show import save, show

    if out:
        save(found, out)
        typer.echo(f"{found.height} rows in {out}")
    else:
        show(index.short(found), f"{title}: {found.height} nodules", limit)


@app.command()
def info(folder: Folder = None) -> None:
    """Datasets, their sizes and terms, and what is unusual in their tables."""
    import polars as pl

    from itrialspace_assets.cli.show import show
    from itrialspace_assets.profiles.registry import datasets
    from itrialspace_assets.records.store import read_all

    settings = load(folder)
    known = (
        read_all(settings.output, "nodules")
        .group_by("dataset")
        .agg(nodules=pl.len(), scans=pl.col("scan_uid").n_unique())
    )
    registry = pl.DataFrame([
        {"dataset": e.name, "label source": e.label_source, "population": e.population, "annotation": e.annotation_completeness,
         "licence": e.licence, "may be passed on": "yes" if e.redistributable else "no", "release rows": e.release_rows, "citation": e.citation}
        for e in datasets(settings).values()
    ])  # fmt: skip
    show(registry.join(known, on="dataset", how="left", maintain_order="left"), "Datasets")
    findings = read_all(settings.output, "findings").select(
        "dataset", "severity", "rule", "column", "rows", "of_rows", "known", "sample"
    )
    if findings.height:
        show(
            findings.sort("dataset", "severity", "rule", descending=[False, True, False]),
            "Unusual in their tables",
            100,
        )


@app.command()
def stats(
    by: Annotated[str | None, typer.Option(help="Count by this column instead.")] = None,
    across: Annotated[str | None, typer.Option(help="And across this one.")] = None,
    where: Where = None,
    folder: Folder = None,
) -> None:
    """Per dataset: nodules, people, labels, diameters; or counts by any two columns."""
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.cli.show import show

    if across and (by is None or by == across):
        raise ConfigError("--across needs --by with another column")
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
    """Nodules that meet every filter: `its index search -w label=1 -w nodule_mean_diam_mm=6..15 --sort age`."""
    index = _index(folder)
    _answer(index, index.where(where or (), sort, descending), out, limit, "Found")


@app.command()
def similar(
    nodule: Annotated[str, typer.Argument(help="nodule_uid, for example LUNA16/<annotation id>.")],
    k: Annotated[int, typer.Option("--k", "-k", help="How many.", min=1)] = 10,
    weight: Annotated[list[str] | None, typer.Option(help="Weight, repeatable: diameter=2, lobe=0.")] = None,
    where: Where = None,
    same_person: Annotated[bool, typer.Option("--same-person", help="Keep nodules of the same person.")] = False,
    out: Out = None,
    folder: Folder = None,
) -> None:
    """The nodules most like one, by standardised position, distance and size."""
    index = _index(folder)
    _answer(
        index,
        index.similar(nodule, k, _numbers("--weight", weight), where or (), same_person),
        out,
        k,
        f"Most like {nodule}",
    )


@app.command()
def match(
    lobe: Annotated[str, typer.Option(help="Lobe of the place: RUL, RML, RLL, LUL, LLL.")],
    cc: Annotated[float | None, typer.Option(help="Height in the lobe, % from below.", min=0, max=100)] = None,
    pleural: Annotated[float | None, typer.Option(help="Distance to the pleura, mm.", min=0)] = None,
    diameter: Annotated[float | None, typer.Option(help="Wanted diameter, mm.", min=0.1)] = None,
    label: Annotated[int | None, typer.Option(help="1 malignant, 0 benign.", min=0, max=1)] = None,
    host: Annotated[
        str | None, typer.Option(help="Scan that receives the nodule; nodules of its person are left out.")
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", help="How many.", min=1)] = 10,
    where: Where = None,
    out: Out = None,
    folder: Folder = None,
) -> None:
    """Donors for a place, best first: `its index match --lobe RUL --cc 60 --diameter 12 --label 1`."""
    import polars as pl

    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.index.query import Place
    from itrialspace_assets.records.store import read_table

    index, person = _index(folder), None
    if host:
        scans = read_table(load(folder).output, "scans").filter(pl.col("scan_uid") == host)
        if scans.is_empty():
            raise ConfigError(f"--host {host!r}: expected a scan_uid of the index, <dataset>/<ct id>")
        person = scans["person_uid"][0]
    _answer(
        index,
        index.donors_for(Place(lobe, cc, pleural, diameter, label, person), k, where or ()),
        out,
        k,
        f"Donors for {lobe}",
    )


@app.command()
def detail(
    nodule: Annotated[str, typer.Argument(help="nodule_uid, or an annotation id that one dataset alone has.")],
    folder: Folder = None,
) -> None:
    """Every column of one nodule, and the other nodules of its scan."""
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
        str | None, typer.Option("--format", help="csv, parquet or json; else by the file's ending.")
    ] = None,
    where: Where = None,
    folder: Folder = None,
) -> None:
    """Write the index, or the rows that meet the filters, as CSV, Parquet or JSON."""
    from itrialspace_assets.cli.show import save

    found = _index(folder).where(where or ())
    save(found, out, kind)
    typer.echo(f"{found.height} nodules in {out}")


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
