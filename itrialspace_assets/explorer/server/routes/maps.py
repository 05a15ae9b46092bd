"""``/api/maps``, ``/api/map…``, ``/api/slices/map``: layouts, edges and neighbours of nodules, points of slices."""

from dataclasses import replace
from typing import Annotated

import polars as pl
from fastapi import APIRouter, HTTPException, Query, Response
from pydantic import Field

from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.explorer.layouts.nodule_map import EDGE_K, MODES, ON_DEMAND, SCOPES, NeighbourSearch, Reach
from itrialspace_assets.explorer.layouts.presets import FEATURE_SETS, PRESETS
from itrialspace_assets.explorer.layouts.slices import OUTCOMES, READ, AnswerFilter, SlicePoints, answered, colour, draw
from itrialspace_assets.explorer.layouts.spaces import SPACES
from itrialspace_assets.explorer.server.arrow import MEDIA_TYPE, arrow
from itrialspace_assets.explorer.server.open_map import MapOf
from itrialspace_assets.explorer.server.problems import bytes_of
from itrialspace_assets.explorer.server.state import RootOf
from itrialspace_assets.records.store import table_files
from itrialspace_assets.records.tables import CONDITIONS, TASKS

router = APIRouter(prefix="/api", tags=["maps"])

#: Neighbours that are answered at most (published).
MOST = 500
_Name = Annotated[str, Field(max_length=60)]


class Points(StrictModel):
    """Which layout, of which feature set."""

    name: _Name = Field("PCA_2D", description="layout, as /api/maps lists them")
    feature_set: _Name = Field("reinsertion_core", description="features, as /api/maps lists them")


class NeighbourQuery(StrictModel):
    """In what sense nodules are near, and where they may come from; ``layout`` is read by the space embedding alone."""

    space: _Name = Field("weighted", description="weighted, feature_l2 or embedding")
    scope: _Name = Field("all_datasets", description="as /api/maps lists them")
    feature_set: _Name = Field("reinsertion_core", description="features, as /api/maps lists them")
    layout: _Name = Field("PCA_32", description="whose numbers the space embedding uses")

    @property
    def search(self) -> NeighbourSearch:
        return NeighbourSearch(self.space, self.feature_set, self.layout)


class Edges(NeighbourQuery):
    """Edges: ``k`` nearest or farthest nodules of each."""

    k: int = Field(5, description="3, 5, 10 or 25")
    mode: _Name = Field("closest", description="closest or farthest")


class NearOne(NeighbourQuery):
    """Neighbours of one nodule; ``dataset`` (repeated) goes with the scope selected_datasets."""

    uid: Annotated[str, Field(max_length=300, description="nodule_uid")]
    k: int = Field(10, ge=1, le=MOST, description="neighbours")
    dataset: list[Annotated[str, Field(max_length=100)]] = Field(
        default_factory=list, max_length=100, description="datasets, for the scope that asks for some"
    )
    balance: bool = Field(False, description="of each dataset its nearest, then the nearest of the rest")
    same_person: bool = Field(True, description="whether nodules of the same person may be among them")


class Coloured(StrictModel):
    """Whose answers to which slices colour the map."""

    reader: _Name = Field(description="whose answers")
    source: _Name = Field(description="image source: real, or a renderer")
    task: _Name = Field("presence", description="task")
    condition: _Name = Field("plain", description="guidance")
    mode: Annotated[str, Field(max_length=100)] | None = Field(None, description="of this mode only")
    dataset: _Name | None = Field(None, description="of hosts of this dataset only")


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
def get_map(seen: MapOf, asked: Annotated[Points, Query()]) -> Response:
    """Points of all nodules in the order of nodule_uid: ``x``, ``y``, float32; the first two numbers of the layout."""
    points = seen.layout(asked.feature_set, asked.name)
    return arrow(pl.DataFrame({"x": points[:, 0], "y": points[:, 1]}))


@router.get("/map/edges", **bytes_of(MEDIA_TYPE))
def get_edges(seen: MapOf, asked: Annotated[Edges, Query()]) -> Response:
    """Nearest or farthest nodules of each: ``source``, ``target`` (row numbers, uint32), ``distance``, ``rank``."""
    return arrow(seen.edges(asked.k, asked.mode, asked.scope, asked.search, most=ON_DEMAND))


@router.get("/map/neighbours")
def get_neighbours(seen: MapOf, asked: Annotated[NearOne, Query()]) -> Neighbours:
    """The nodules nearest to one, exact, nearest first."""
    row = seen.nodules.row_of(asked.uid)
    if row is None:
        raise HTTPException(404, f"nodule {asked.uid!r}: the index has none of this id")
    reach = Reach(asked.scope, tuple(asked.dataset), asked.balance, asked.same_person)
    found = seen.neighbours(row, asked.k, asked.search, reach)
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
    used = seen.space(asked.search)
    return Neighbours(
        uid=asked.uid,
        space=used.name,
        metric=used.metric,
        columns=used.points.shape[1],
        neighbours=[Neighbour(**one) for one in rows],
    )


@router.get("/slices/map", **bytes_of(MEDIA_TYPE))
def get_slice_map(root: RootOf, given: Annotated[Coloured, Query()]) -> Response:
    """Points of slices by what they show, with the reader's answer as ``outcome``: right, wrong, refused and others."""
    asked, settings = AnswerFilter(**given.model_dump()), root.settings
    files = [p for table in READ for p in table_files(settings.output, table)]
    stamps = [(p, p.stat().st_mtime_ns) for p in files]
    same = replace(asked, task=TASKS[0])  # points are the same for every task
    drawn: SlicePoints = root.kept("slices_drawn", (same, stamps), lambda: draw(settings, asked))
    frame: pl.DataFrame = root.kept("slices_coloured", (asked, stamps), lambda: colour(settings, asked, drawn))
    return arrow(frame)
