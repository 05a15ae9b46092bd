"""``its-retriever``: the original's command for finding nodules. Parses, asks the index, prints and saves."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from itrialspace_assets.cli.options import Folder, load, run_app

if TYPE_CHECKING:
    from itrialspace_assets.explorer.search.columns import Columns

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Find nodules: search, similar ones, donors for a place, export; the original's command on our index.",
)

Datasets = Annotated[list[str] | None, typer.Option(help="Datasets, repeatable or with commas.")]
Label = Annotated[int | None, typer.Option(help="1 malignant, 0 benign.", min=0, max=1)]
Lobe = Annotated[list[str] | None, typer.Option(help="Lobe (lobe_name), repeatable or with commas.")]
DiamMin = Annotated[float | None, typer.Option(help="Least diameter in mm.")]
DiamMax = Annotated[float | None, typer.Option(help="Greatest diameter in mm.")]
K = Annotated[int, typer.Option(help="Number of nodules.", min=1, max=500)]


def _columns(folder: Path | None) -> tuple[Any, Any]:
    from itrialspace_assets.cli.earlier import index_first
    from itrialspace_assets.explorer.search.columns import open_columns

    settings = load(folder)
    index_first(settings)
    return settings, open_columns(settings)


def _words(given: list[str] | None) -> list[str] | None:
    return [part.strip() for text in given for part in text.split(",") if part.strip()] if given else None


def _row(columns: "Columns", id_: str) -> int:
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.explorer.compat.nodes import row_of_annotation

    row = row_of_annotation(columns, id_)
    if row is None:
        raise ConfigError(f"--id {id_!r}: expected an annotation id or a nodule_uid of the index")
    return row


@app.command()
def info(folder: Folder = None) -> None:
    """Count the nodules of each dataset.

    Example: `its-retriever info --dir .demo`

    Result: a table on the screen; nothing is written.
    """
    from itrialspace_assets.cli.earlier import index_first
    from itrialspace_assets.cli.show import show
    from itrialspace_assets.index.query import open_index

    settings = load(folder)
    index_first(settings)
    index = open_index(settings)
    show(index.stats(), f"{index.nodules.height} nodules")


@app.command()
def search(
    datasets: Datasets = None,
    label: Label = None,
    lobe: Lobe = None,
    zone: Annotated[list[str] | None, typer.Option(help="Zone (lung_zone), repeatable or with commas.")] = None,
    side: Annotated[str | None, typer.Option(help="Side: left or right.")] = None,
    diam_min: DiamMin = None,
    diam_max: DiamMax = None,
    pleural_min: Annotated[float | None, typer.Option(help="Least distance to the pleura in mm.")] = None,
    pleural_max: Annotated[float | None, typer.Option(help="Greatest distance to the pleura in mm.")] = None,
    population: Annotated[str | None, typer.Option(help="screening or diagnostic.")] = None,
    label_source: Annotated[str | None, typer.Option(help="histopathology or radiology.")] = None,
    limit: Annotated[int, typer.Option(help="Rows on the screen.", min=1, max=5000)] = 50,
    sort: Annotated[str | None, typer.Option(help="Column to sort by.")] = None,
    desc: Annotated[bool, typer.Option("--desc", help="Largest first.")] = False,
    folder: Folder = None,
) -> None:
    """Find nodules that meet every filter. A nodule without a distance is in no range of distances.

    Example: `its-retriever search --label 1 --diam-min 6 --diam-max 15 --sort nodule_mean_diam_mm --desc`

    Result: a table on the screen; nothing is written.
    """
    from itrialspace_assets.cli.show import show
    from itrialspace_assets.explorer.compat.found import RESULT, SearchFilters, page

    asked = SearchFilters(
        datasets=_words(datasets),
        label=label,
        lobe=_words(lobe),
        lung_zone=_words(zone),
        lung_side=side,
        diameter_min=diam_min,
        diameter_max=diam_max,
        pleural_distance_min=pleural_min,
        pleural_distance_max=pleural_max,
        population_type=population,
        label_source=label_source,
        limit=limit,
        sort_by=sort,
        sort_ascending=not desc,
    )
    _, columns = _columns(folder)
    total, rows = page(columns, asked, None)
    show(columns.frame([c for c in RESULT if c != "ct_path"], rows), f"{total} nodules", limit)


@app.command()
def similar(
    id_: Annotated[str, typer.Option("--id", help="Annotation id or nodule_uid.")],
    k: K = 10,
    label: Label = None,
    datasets: Datasets = None,
    allow_same_patient: Annotated[
        bool, typer.Option("--allow-same-patient", help="Include nodules of the same person.")
    ] = False,
    folder: Folder = None,
) -> None:
    """Find the nodules most similar to one, by standardized position, distance and size.

    Example: `its-retriever similar --id LUNA16/A-1 --k 5`

    Result: a table on the screen; nothing is written.
    """
    import numpy as np
    import polars as pl

    from itrialspace_assets.cli.show import show
    from itrialspace_assets.explorer.compat.found import within_datasets
    from itrialspace_assets.explorer.compat.nodes import label_is, met
    from itrialspace_assets.explorer.search.find import SHOWN
    from itrialspace_assets.explorer.search.near import alike

    _, columns = _columns(folder)
    row = _row(columns, id_)
    where = within_datasets(columns, _words(datasets), None) & met(columns, [label_is(columns, label)])
    rows, distance = alike(columns, row, where, k, same_person=allow_same_patient)
    uid = columns.frame(["nodule_uid"], np.array([row]))["nodule_uid"][0]
    found = columns.frame(SHOWN, rows).insert_column(0, pl.Series("distance", distance))
    show(found, f"Similar to {uid}", k)


@app.command()
def match(
    lobe: Annotated[str, typer.Option(help="Lobe: RUL, RML, RLL, LUL, LLL, or its full name.")],
    k: K = 10,
    cc_pct: Annotated[float | None, typer.Option(help="Craniocaudal position in the lobe, % from below.")] = None,
    pleural: Annotated[float | None, typer.Option(help="Distance to the pleura in mm.", min=0)] = None,
    diameter: Annotated[float | None, typer.Option(help="Diameter in mm.", min=0.1)] = None,
    label: Label = None,
    datasets: Datasets = None,
    folder: Folder = None,
) -> None:
    """Find donors for a position in a lobe, best first.

    Example: `its-retriever match --lobe RUL --cc-pct 60 --diameter 12 --label 1`

    Result: a table on the screen; nothing is written.
    """
    import polars as pl

    from itrialspace_assets.cli.show import show
    from itrialspace_assets.explorer.compat.found import within_datasets
    from itrialspace_assets.explorer.search.find import SHOWN
    from itrialspace_assets.explorer.search.near import donors
    from itrialspace_assets.index.query import WantedDonor

    _, columns = _columns(folder)
    where = within_datasets(columns, _words(datasets), None)
    rows, scores = donors(columns, WantedDonor(lobe, cc_pct, pleural, diameter, label), where, k)
    show(pl.concat([scores, columns.frame(SHOWN, rows)], how="horizontal"), f"Donors for {lobe}", k)


@app.command()
def detail(
    id_: Annotated[str, typer.Option("--id", help="Annotation id or nodule_uid.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    folder: Folder = None,
) -> None:
    """Show every column of one nodule.

    Example: `its-retriever detail --id LUNA16/A-1 --json`

    Result: a table (or JSON) on the screen; nothing is written.
    """
    import polars as pl

    from itrialspace_assets.cli.show import show

    _, columns = _columns(folder)
    one = columns.whole(_row(columns, id_))
    if json:
        typer.echo(one.write_json())
        return
    lines = [(name, None if value is None else str(value)) for name, value in one.row(0, named=True).items()]
    show(pl.DataFrame(lines, ["column", "value"], orient="row"), one["nodule_uid"][0], 200)


@app.command()
def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
    kind: Annotated[str, typer.Option("--format", help="csv or json.")] = "csv",
    datasets: Datasets = None,
    label: Label = None,
    lobe: Lobe = None,
    diam_min: DiamMin = None,
    diam_max: DiamMax = None,
    include_paths: Annotated[
        bool, typer.Option("--include-paths/--no-paths", help="Add the files of each nodule that are on disk.")
    ] = True,
    folder: Folder = None,
) -> None:
    """Export the nodules that meet every filter, with every column of the index; no limit.

    The columns of `--include-paths` hold ids of the scan or nodule whose file is on disk, not paths of this computer.

    Example: `its-retriever export -o malignant.csv --label 1`

    Result: the file of `--output`.
    """
    import json

    import polars as pl

    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.base.fingerprints import replace_file
    from itrialspace_assets.cli.show import save
    from itrialspace_assets.explorer.compat.found import SearchFilters, page, whole_rows
    from itrialspace_assets.explorer.compat.nodes import file_ids

    if kind not in ("csv", "json"):
        raise ConfigError(f"--format {kind!r}: expected csv or json")
    asked = SearchFilters(
        datasets=_words(datasets), label=label, lobe=_words(lobe), diameter_min=diam_min, diameter_max=diam_max
    )
    settings, columns = _columns(folder)
    found = whole_rows(columns, page(columns, asked, None)[1])
    if include_paths:
        files = file_ids(settings, found).rename({"ct_path": "ct_path_abs"})
        found = pl.concat([found, files], how="horizontal")
    if kind == "csv":
        save(found, output, kind)
    else:
        given = asked.model_dump(exclude_defaults=True)
        content = {"n_results": found.height, "filters": given, "results": found.to_dicts()}
        replace_file(output, json.dumps(content).encode())
    typer.echo(f"{found.height} nodules written\nResult: {output}")


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on. Every address but the default needs a token, which is printed.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the web page.", min=0, max=65535)] = 8421,
    folder: Folder = None,
) -> None:
    """Serve the explorer, with the original's addresses below /compat/retriever. As `its explore`.

    Example: `its-retriever serve --dir .demo`

    Result: a web page at http://127.0.0.1:8421.
    """
    from itrialspace_assets.cli.nodulemap import serve_explorer

    serve_explorer(load(folder), host, port)


def main() -> None:
    """Entry point of ``its-retriever``."""
    run_app(app)


if __name__ == "__main__":
    main()
