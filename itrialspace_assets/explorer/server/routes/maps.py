"""``/api/maps``, ``/api/map…``, ``/api/slices/map``: layouts, edges and neighbours of nodules, points of slices."""

from dataclasses import replace
from typing import Annotated

import polars as pl
from fastapi import APIRouter, HTTPException, Query, Response

from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.explorer.layouts.nodule_map import EDGE_K, MODES, ON_DEMAND, SCOPES, Reach, Search
from itrialspace_assets.explorer.layouts.presets import FEATURE_SETS, PRESETS
from itrialspace_assets.explorer.layouts.slices import OUTCOMES, READ, Asked, Drawn, answered, colour, draw
from itrialspace_assets.explorer.layouts.spaces import SPACES
from itrialspace_assets.explorer.layouts.table import row_of
from itrialspace_assets.explorer.server.arrow import MEDIA_TYPE, arrow
from itrialspace_assets.explorer.server.open_map import MapOf, RootOf
from itrialspace_assets.explorer.server.problems import bytes_of
from itrialspace_assets.records.store import table_files
from itrialspace_assets.records.tables import CONDITIONS, TASKS

router = APIRouter(prefix="/api", tags=["maps"])

#: Neighbours that are answered at most (published).
MOST = 500
_Name = Annotated[str, Query(max_length=60)]


class Layout(StrictModel):
    """A layout of a feature set; ``why`` says what to do where it is not ready."""

    feature_set: str
    name: str
    dims: int
    ready: bool
    why: str


class AnsweredSlices(StrictModel):
    """An image source and a reader that has answers to its slices, in some modes (or ``real``)."""

    source: str
    reader: str
    modes: list[str]


class Maps(StrictModel):
    """What can be drawn and asked for."""

    nodules: int
    layouts: list[Layout]
    spaces: list[str]
    scopes: list[str]
    edge_k: list[int]
    edge_modes: list[str]
    edges_on_demand: bool
    slices: list[AnsweredSlices]
    tasks: list[str]
    conditions: list[str]
    outcomes: list[str]


class Neighbour(StrictModel):
    """A nodule near another one; ``distance`` has no unit, ``similarity`` is exp(-distance)."""

    uid: str
    rank: int
    distance: float
    similarity: float
    dataset: str
    label: int | None
    lobe: str
    zone: str
    diameter_mm: float | None
    pleural_mm: float | None
    size_bucket: str | None


class Neighbours(StrictModel):
    """The nodules near one, and in which space: its metric, its columns."""

    uid: str
    space: str
    metric: str
    columns: int
    neighbours: list[Neighbour]


@router.get("/maps")
def get_maps(root: RootOf, seen: MapOf) -> Maps:
    """Layouts, search spaces and scopes that there are, and readers whose answers can colour slices."""
    layouts = [
        Layout(feature_set=s, name=p.name, dims=p.dims, ready=not (why := seen.why_not(s, p.name)), why=why)
        for s in FEATURE_SETS
        for p in PRESETS.values()
    ]
    return Maps(
        nodules=seen.nodules.height,
        layouts=layouts,
        spaces=list(SPACES),
        scopes=list(SCOPES),
        edge_k=list(EDGE_K),
        edge_modes=list(MODES),
        edges_on_demand=seen.nodules.height <= ON_DEMAND,
        slices=[AnsweredSlices(**row) for row in answered(root.settings).iter_rows(named=True)],
        tasks=list(TASKS),
        conditions=list(CONDITIONS),
        outcomes=list(OUTCOMES),
    )


@router.get("/map", **bytes_of(MEDIA_TYPE))
def get_map(seen: MapOf, name: _Name = "PCA_2D", feature_set: _Name = "reinsertion_core") -> Response:
    """Points of all nodules in the order of nodule_uid: ``x``, ``y``, float32; the first two numbers of the layout."""
    points = seen.layout(feature_set, name)
    return arrow(pl.DataFrame({"x": points[:, 0], "y": points[:, 1]}))


@router.get("/map/edges", **bytes_of(MEDIA_TYPE))
def get_edges(
    seen: MapOf,
    k: int = 5,
    mode: _Name = "closest",
    scope: _Name = "all_datasets",
    space: _Name = "weighted",
    feature_set: _Name = "reinsertion_core",
    layout: _Name = "PCA_32",
) -> Response:
    """Nearest or farthest nodules of each: ``source``, ``target`` (row numbers, uint32), ``distance``, ``rank``."""
    return arrow(seen.edges(k, mode, scope, Search(space, feature_set, layout), most=ON_DEMAND))


@router.get("/map/neighbours")
def get_neighbours(
    seen: MapOf,
    uid: Annotated[str, Query(max_length=300)],
    k: Annotated[int, Query(ge=1, le=MOST)] = 10,
    space: _Name = "weighted",
    scope: _Name = "all_datasets",
    dataset: Annotated[tuple[str, ...], Query(max_length=100)] = (),
    balance: bool = False,
    same_person: bool = True,
    feature_set: _Name = "reinsertion_core",
    layout: _Name = "PCA_32",
) -> Neighbours:
    """The nodules nearest to one, exact, nearest first."""
    row = row_of(seen.nodules, uid)
    if row is None:
        raise HTTPException(404, f"nodule {uid!r}: the index has none of this id")
    search = Search(space, feature_set, layout)
    found = seen.neighbours(row, k, search, Reach(scope, dataset, balance, same_person))
    columns = {
        "uid": "nodule_uid",
        "dataset": "dataset",
        "label": "label",
        "lobe": "reinsertion_lobe",
        "zone": "reinsertion_lung_zone",
        "diameter_mm": "reinsertion_nodule_diam_mm",
        "pleural_mm": "reinsertion_pleural_dist_mm",
        "size_bucket": "size_bucket",
    }
    about = seen.nodules.frame(list(columns.values()), found["row"].to_numpy()).rename(
        {v: k for k, v in columns.items()}
    )
    rows = pl.concat([about, found.drop("row")], how="horizontal").iter_rows(named=True)
    used = seen.space(search)
    return Neighbours(
        uid=uid,
        space=used.name,
        metric=used.metric,
        columns=used.points.shape[1],
        neighbours=[Neighbour(**one) for one in rows],
    )


@router.get("/slices/map", **bytes_of(MEDIA_TYPE))
def get_slice_map(
    root: RootOf,
    reader: _Name,
    source: _Name,
    task: _Name = "presence",
    condition: _Name = "plain",
    mode: Annotated[str | None, Query(max_length=100)] = None,
    dataset: Annotated[str | None, Query(max_length=60)] = None,
) -> Response:
    """Points of slices by what they show, with the reader's answer as ``outcome``: right, wrong, refused and others."""
    asked, settings = Asked(source, reader, task, condition, mode, dataset), root.settings
    files = [p for table in READ for p in table_files(settings.output, table)]
    stamps = [(p, p.stat().st_mtime_ns) for p in files]
    same = replace(asked, task=TASKS[0])  # points are the same for every task
    drawn: Drawn = root.kept("slices_drawn", (same, stamps), lambda: draw(settings, asked))
    frame: pl.DataFrame = root.kept("slices_coloured", (asked, stamps), lambda: colour(settings, asked, drawn))
    return arrow(frame)
