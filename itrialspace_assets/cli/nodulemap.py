"""``its-nodulemap``: the original's command for the map of nodules. Parses, calls ``explorer``, prints and saves."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from itrialspace_assets.cli.options import Folder, load, run_app

if TYPE_CHECKING:
    from itrialspace_assets.base.settings import Settings
    from itrialspace_assets.explorer.layouts.nodule_map import NeighbourSearch

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Map of the nodules: build layouts and edges, ask for neighbours, serve the web page.",
)

Outdir = Annotated[
    Path | None,
    typer.Option(
        "--outdir", "--artifact-dir", help="Output folder that holds tables/ (out/ of a root). Default: as of --dir."
    ),
]
Model = Annotated[str, typer.Option(help="Layout: PCA_2D, PCA_32, UMAP_2D, UMAP_16, UMAP_32 or TSNE_2D.")]
FeatureSet = Annotated[str, typer.Option(help="Features: reinsertion_core or core_53.")]
Scope = Annotated[
    str,
    typer.Option(help="Where neighbours come from: cross_dataset (all datasets), within_dataset or other_datasets."),
]
Backend = Annotated[str, typer.Option(help="Search space: weighted, feature_l2 or embedding.")]
Node = Annotated[str, typer.Option(help="<dataset>_<annotation id>, or nodule_uid.")]
K = Annotated[int, typer.Option(help="Number of neighbours.", min=1, max=500)]
#: Layouts that --all-2d builds (published).
ALL_2D = ("PCA_2D", "UMAP_2D", "TSNE_2D")


def _settings(folder: Path | None, outdir: Path | None) -> "Settings":
    if outdir is None:
        return load(folder)
    data = None if folder is None else folder.absolute() / "data"
    return load(data_dir=data, output_dir=outdir.absolute())


def _open(folder: Path | None, outdir: Path | None) -> tuple[Any, Any]:
    """The columns of the index, made first where there is none, and its map."""
    from itrialspace_assets.cli.earlier import index_first
    from itrialspace_assets.explorer.layouts.nodule_map import NoduleMap
    from itrialspace_assets.explorer.search.columns import open_columns

    settings = _settings(folder, outdir)
    index_first(settings)
    columns = open_columns(settings)
    return columns, NoduleMap(settings, columns)


@app.command()
def build(
    model: Model = "UMAP_2D",
    feature_set: FeatureSet = "reinsertion_core",
    all_2d: Annotated[bool, typer.Option("--all-2d", help="Build PCA_2D, UMAP_2D and TSNE_2D.")] = False,
    outdir: Outdir = None,
    folder: Folder = None,
) -> None:
    """Build a layout of the nodules, or all of two dimensions.

    UMAP and t-SNE need the extra `maps` and take minutes for ten thousand nodules. A layout belongs to the index that
    it was built of; after a change of the index build it again.

    Example: `its-nodulemap build --model UMAP_2D --dir .demo`

    Result: a Parquet file below `explorer/layouts` of the output folder.
    """
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.explorer.layouts.build import make_layout
    from itrialspace_assets.explorer.layouts.presets import feature_set as known
    from itrialspace_assets.explorer.layouts.presets import preset
    from itrialspace_assets.explorer.layouts.reduce import lacks

    chosen = [preset(name) for name in (ALL_2D if all_2d else (model,))]
    known(feature_set)
    if missing := next(filter(None, map(lacks, chosen)), ""):
        raise ConfigError(missing)
    _, seen = _open(folder, outdir)
    for one in chosen:
        typer.echo(f"{one.name} of {feature_set}: {seen.nodules.height} nodules")
        path, _ = make_layout(seen.settings, seen.nodules, feature_set, one, verbose=True)
        typer.echo(f"Result: {seen.settings.output / path}")


@app.command()
def edges(
    model: Model = "UMAP_2D",
    feature_set: FeatureSet = "reinsertion_core",
    k: Annotated[int, typer.Option(help="Neighbours of each nodule: 3, 5, 10 or 25.")] = 5,
    mode: Annotated[str, typer.Option(help="closest or farthest.")] = "closest",
    scope: Scope = "cross_dataset",
    all_k: Annotated[bool, typer.Option("--all-k", help="3, 5, 10 and 25 neighbours.")] = False,
    space: Backend = "weighted",
    outdir: Outdir = None,
    folder: Folder = None,
) -> None:
    """Find the nearest (or farthest) nodules of each nodule, exact, and keep them as edges.

    The time grows with the square of the number of nodules: seconds for ten thousand, hours for a million. `--model`
    is read with `--space embedding` alone.

    Example: `its-nodulemap edges --all-k --dir .demo`

    Result: Parquet files below `explorer/edges` of the output folder.
    """
    from itrialspace_assets.cli.show import progress
    from itrialspace_assets.explorer.compat.graph import search_of
    from itrialspace_assets.explorer.layouts.build import make_edges
    from itrialspace_assets.explorer.layouts.nodule_map import EDGE_K, edges_name

    search = search_of(space, feature_set, model)
    wanted = EDGE_K if all_k else (k,)
    edges_name(wanted[0], mode, scope, search)  # a wrong option ends before the index is opened
    _, seen = _open(folder, outdir)
    for one in wanted:
        with progress(f"k = {one}", seen.nodules.height) as advance:
            path, count = make_edges(seen, one, mode, scope, search, advance)
        typer.echo(f"{count} edges\nResult: {path}")


@app.command()
def info(outdir: Outdir = None, folder: Folder = None) -> None:
    """List layouts and edges with their rows, and say which are of another index.

    Example: `its-nodulemap info --dir .demo`

    Result: tables on the screen; nothing is written. Exit code 1 where there is no index.
    """
    import polars as pl
    import pyarrow.parquet as pq

    from itrialspace_assets.cli.show import show
    from itrialspace_assets.explorer.layouts.files import present
    from itrialspace_assets.explorer.layouts.nodule_map import NoduleMap
    from itrialspace_assets.explorer.layouts.presets import FEATURE_SETS, PRESETS
    from itrialspace_assets.explorer.layouts.table import Held
    from itrialspace_assets.index.query import open_index

    settings = _settings(folder, outdir)
    index = open_index(settings)
    seen = NoduleMap(settings, Held(index.nodules))
    rows = [
        (s, p.name, p.algorithm, "ready" if not (why := seen.why_not(s, p.name)) else why)
        for s in FEATURE_SETS
        for p in PRESETS.values()
    ]
    show(pl.DataFrame(rows, ["feature_set", "layout", "algorithm", "state"], orient="row"), "Layouts")
    files = [
        (str(path.relative_to(settings.output)), pq.read_metadata(path).num_rows, path.stat().st_size)
        for path in present(settings)
    ]
    shown = pl.DataFrame(files, {"file": pl.String, "rows": pl.Int64, "bytes": pl.Int64}, orient="row")
    show(shown, f"Files, of {index.nodules.height} nodules")


def _near(
    folder: Path | None,
    outdir: Path | None,
    node: str,
    k: int,
    search: "NeighbourSearch",
    scope: str,
    same_person: bool,
) -> tuple[dict[str, Any], Any, Any]:
    """Metadata of a node; metadata of its neighbours with distance; their rows of the index."""
    import polars as pl

    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.explorer.compat.nodes import NODE, ON_DISK, metadata, row_of_node
    from itrialspace_assets.explorer.layouts.nodule_map import Reach

    columns, seen = _open(folder, outdir)
    row = row_of_node(columns, node)
    if row is None:
        raise ConfigError(f"--node {node!r}: expected <dataset>_<annotation id> or a nodule_uid of the index")
    found = seen.neighbours(row, k, search, Reach(scope, same_person=same_person))
    rows = columns.frame([*NODE, *ON_DISK], found["row"].to_numpy())
    near = pl.concat([metadata(rows), found.drop("row")], how="horizontal")
    return metadata(columns.whole(row)).row(0, named=True), near, rows


@app.command()
def query(
    node: Node,
    model: Model = "UMAP_2D",
    feature_set: FeatureSet = "reinsertion_core",
    k: K = 10,
    scope: Scope = "cross_dataset",
    search_backend: Backend = "weighted",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    outdir: Outdir = None,
    folder: Folder = None,
) -> None:
    """Find the nodules nearest to one, exact, nearest first. `--model` is read with `--search-backend embedding` alone.

    Example: `its-nodulemap query --node LUNA16_A-1 --k 5`

    Result: a table (or JSON) on the screen; nothing is written.
    """
    from itrialspace_assets.cli.show import show
    from itrialspace_assets.explorer.compat.graph import search_of

    search = search_of(search_backend, feature_set, model)
    _, near, _ = _near(folder, outdir, node, k, search, scope, True)
    if json:
        typer.echo(near.write_json())
        return
    columns = ("rank", "node_id", "distance", "similarity", "reinsertion_nodule_diam_mm", "reinsertion_lobe")
    show(near.select(*columns, "label_text"), f"Nearest to {node} ({search_backend})", k)


@app.command()
def export(
    node: Node,
    model: Model = "UMAP_2D",
    feature_set: FeatureSet = "reinsertion_core",
    k: K = 10,
    scope: Scope = "cross_dataset",
    search_backend: Backend = "weighted",
    kind: Annotated[str, typer.Option("--format", help="csv, json or donors.")] = "csv",
    output_dir: Annotated[Path, typer.Option("--output-dir", "-o", help="Folder for the file.")] = Path(
        "nodulemap_exports"
    ),
    outdir: Outdir = None,
    folder: Folder = None,
) -> None:
    """Export the neighbours of a nodule, or candidate donors, which leave out nodules of the same person.

    Example: `its-nodulemap export --node LUNA16_A-1 --format donors -o exports`

    Result: one file in the folder of `--output-dir`.
    """
    import json

    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.base.fingerprints import replace_file
    from itrialspace_assets.explorer.compat.graph import donor_export, neighbour_export, search_of

    if kind not in ("csv", "json", "donors"):
        raise ConfigError(f"--format {kind!r}: expected csv, json or donors")
    search = search_of(search_backend, feature_set, model)
    asked, near, rows = _near(folder, outdir, node, k, search, scope, kind != "donors")
    meta = {"model": model, "feature_set": feature_set, "k": k, "scope": scope}
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in node)
    if kind == "json":
        data = json.dumps({"query": asked, "neighbors": near.to_dicts(), "meta": meta}, indent=1)
        path = output_dir / f"neighbors_{name}.json"
    elif kind == "csv":
        data, path = neighbour_export(asked, near, meta).write_csv(), output_dir / f"neighbors_{name}.csv"
    else:
        data, path = donor_export(rows).write_csv(), output_dir / f"candidate_donors_{name}.csv"
    replace_file(path, data.encode())
    typer.echo(f"{near.height} nodules written\nResult: {path}")


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on. Every address but the default needs a token, which is printed.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the web page.", min=0, max=65535)] = 8422,
    workers: Annotated[int, typer.Option(help="Processes: one, which answers requests side by side.")] = 1,
    outdir: Outdir = None,
    folder: Folder = None,
) -> None:
    """Serve the explorer, with the original's addresses below /compat/nodulemap. As `its explore`.

    Example: `its-nodulemap serve --dir .demo`

    Result: a web page at http://127.0.0.1:8422.
    """
    serve_explorer(_settings(folder, outdir), host, port, workers)


def serve_explorer(settings: "Settings", host: str, port: int, workers: int = 1) -> None:
    """Serve the explorer until it is ended.

    Args:
        settings: of the data root.
        host: address to listen on.
        port: port; 0: any free one.
        workers: processes; one.

    Raises:
        ConfigError: another number of processes, or the address cannot be listened on.
    """
    import secrets

    from itrialspace_assets.cli.memory import give_back_soon

    give_back_soon()
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.base.settings import require_data_root
    from itrialspace_assets.cli.earlier import index_first
    from itrialspace_assets.explorer.serve import serve
    from itrialspace_assets.explorer.server.security import (
        access_for,
        is_loopback,
    )

    if workers != 1:
        raise ConfigError(f"--workers {workers}: expected 1; one process answers requests side by side")
    require_data_root(settings)
    index_first(settings)
    token = None if is_loopback(host) else secrets.token_urlsafe(24)
    told = f"?token={token}" if token else ""
    access = access_for(host, token, ())
    serve(settings, access, host, port, lambda address: typer.echo(f"Result: {address}{told} (Ctrl-C ends it)"))


def main() -> None:
    """Entry point of ``its-nodulemap``."""
    run_app(app)


if __name__ == "__main__":
    main()
