"""``/compat/nodulemap/…``: the original's map API, keys as published (docs/facts/explorer.md#compatible-endpoints).

Its faults are not copied: unknown values are refused, nothing is written on the server, no path of a disk leaves it.
"""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from fastapi import APIRouter, Depends, HTTPException, Query, Response
from pydantic import Field

from itrialspace_assets import __version__
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.explorer.compat import answers
from itrialspace_assets.explorer.compat.graph import (
    GraphChoice,
    GraphFilters,
    GraphRequest,
    donor_export,
    graph,
    neighbour_export,
    search_of,
)
from itrialspace_assets.explorer.compat.nodes import (
    NODE,
    NODE_ID,
    ON_DISK,
    demographics,
    file_ids,
    metadata,
    row_of_node,
)
from itrialspace_assets.explorer.compat.pictures import slice_picture
from itrialspace_assets.explorer.compat.scans import centre_of, read_ct, read_mask
from itrialspace_assets.explorer.layouts.nodule_map import NeighbourSearch, NoduleMap, Reach
from itrialspace_assets.explorer.layouts.presets import FEATURE_SETS, PRESETS, feature_set, preset
from itrialspace_assets.explorer.search.columns import Columns
from itrialspace_assets.explorer.server.open_map import MapOf
from itrialspace_assets.explorer.server.problems import bytes_of
from itrialspace_assets.explorer.server.state import RootOf
from itrialspace_assets.imaging.anatomy import SIZE_BUCKETS

router = APIRouter(prefix="/compat/nodulemap", tags=["compat: NoduleMap"])

Backend = Literal["weighted", "feature_l2", "features", "embedding"]
_Model = Annotated[str, Field(max_length=60)]
_K = Annotated[int, Field(ge=1, le=500)]
#: Arguments of a route that answers with a picture, and of one with a file.
_PNG = bytes_of("image/png")
_FILE = bytes_of("text/csv", "application/json")
_Text = Annotated[str, Field(max_length=2000)] | None


class ModelAsked(StrictModel):
    """The parameters that most addresses have."""

    model: _Model = "UMAP_2D"
    feature_set: _Model = "reinsertion_core"


class NeighboursAsked(ModelAsked):
    """``search_backend`` says what is searched; ``model`` is read by embedding alone. The last but one is ours."""

    k: _K = 10
    scope: _Model = "cross_dataset"
    datasets: _Text = None
    balance_by_dataset: bool = False
    search_backend: Backend = "weighted"
    exclude_same_patient: bool = False
    debug: bool = False


class LayoutAsked(ModelAsked):
    limit: Annotated[int, Field(ge=1, le=1000)] = 5


class SearchAsked(ModelAsked):
    """``node_id``: empty for the first node."""

    node_id: Annotated[str, Field(max_length=300)] = ""
    k: _K = 3
    search_backend: Backend = "weighted"


class GraphAsked(GraphChoice):
    """A graph by parameters; words with commas."""

    datasets: _Text = None
    label: _Text = None
    lobe: _Text = None
    zone: _Text = None
    side: _Text = None
    size_bucket: _Text = None
    diameter_min: float | None = None
    diameter_max: float | None = None


class ExportRequest(StrictModel):
    """Neighbours of a node as a file. ``search_backend`` is ours: the export is of what the view shows."""

    node_id: str
    model: str = "UMAP_2D"
    feature_set: str = "reinsertion_core"
    k: int = 10
    scope: str = "cross_dataset"
    format: Literal["csv", "json", "donors"] = "csv"
    search_backend: Backend = "weighted"


def _csv(text: str | None) -> list[str] | None:
    return [part.strip() for part in text.split(",") if part.strip()] if text else None


def _row(columns: Columns, node_id: str) -> int:
    row = row_of_node(columns, node_id)
    if row is None:
        raise HTTPException(404, f"Node not found: {node_id}")
    return row


@dataclass(frozen=True)
class Opened:
    """What these endpoints read: the index, its map, and where files lie."""

    settings: Settings
    columns: Columns
    seen: NoduleMap


def _opened(root: RootOf, seen: MapOf) -> Opened:
    return Opened(root.settings, root.columns, seen)


OpenedOf = Annotated[Opened, Depends(_opened)]


@dataclass(frozen=True)
class NoduleNode:
    """A node by the id that was asked, and its row in the index."""

    opened: Opened
    id: str
    row: int


def _node(opened: OpenedOf, node_id: str) -> NoduleNode:
    return NoduleNode(opened, node_id, _row(opened.columns, node_id))


NodeOf = Annotated[NoduleNode, Depends(_node)]


def _download(content: bytes, kind: str, name: str) -> Response:
    return Response(content, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})


def _models(seen: NoduleMap) -> list[dict[str, Any]]:
    """Every layout with ``ready``; PCA has no more numbers than there are features."""
    found = []
    for of in FEATURE_SETS:
        for one in PRESETS.values():
            ready = not seen.why_not(of, one.name)
            dims = seen.dims(of, one.name)
            found.append({"feature_set": of, "model_name": one.name, "n_dims": dims, "ready": ready})
    return found


def _bare(models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in one.items() if k != "ready"} for one in models if one["ready"]]


@router.get("/health", response_model=answers.MapHealth)
def health(seen: MapOf) -> dict[str, Any]:
    """Version and layouts that are there; ``artifact_dir`` is empty: paths stay on the server."""
    return {"status": "ok", "version": __version__, "models": _bare(_models(seen)), "artifact_dir": ""}


@router.get("/api/models", response_model=answers.MapModels)
def models(seen: MapOf) -> dict[str, Any]:
    """Layouts that are there; ``health`` has all of them with ``ready``."""
    every = _models(seen)
    there = _bare(every)
    return {
        "models": there,
        "layout_models": [m for m in there if m["n_dims"] == 2],
        "search_models": there,
        "health": every,
        "version": __version__,
    }


@router.get("/api/filters", response_model=answers.MapFilters)
def filters(root: RootOf, asked: Annotated[ModelAsked, Query()]) -> dict[str, Any]:
    """Values that filters take, as the index holds them."""
    columns = root.columns

    def values(column: str) -> list[str]:
        return sorted(columns.values(column))

    there = set(values("size_bucket"))
    low, high = columns.ends("reinsertion_nodule_diam_mm")
    return {
        "datasets": values("dataset"),
        "labels": ["benign", "malignant", "unlabelled"],
        "lobes": values("reinsertion_lobe"),
        "zones": values("reinsertion_lung_zone"),
        "sides": values("reinsertion_lung_side"),
        "size_buckets": [bucket for bucket in SIZE_BUCKETS if bucket in there],
        "label_sources": values("label_source"),
        "population_types": values("population_type"),
        "diameter_range": {"min": low, "max": high},
    }


@router.post("/api/graph", response_model=answers.GraphAnswer)
def post_graph(opened: OpenedOf, asked: GraphRequest) -> Response:
    """Nodes, edges and their numbers; ``edges_available`` is false where edges must be made first."""
    if why := opened.seen.why_not(_known(asked.feature_set), asked.vis_model):
        raise HTTPException(404, why)
    made = graph(opened.seen, opened.columns, asked)
    tail = json.dumps({"stats": made.stats, "edges_available": made.edges_available}).encode()
    parts = (
        b'{"nodes":',
        made.nodes.write_json().encode(),
        b',"edges":',
        made.edges.write_json().encode(),
        b",",
        tail[1:],
    )
    return Response(b"".join(parts), media_type="application/json")


@router.get("/api/graph", response_model=answers.GraphAnswer)
def get_graph(opened: OpenedOf, given: Annotated[GraphAsked, Query()]) -> Response:
    """The same with parameters; words with commas."""
    words = {name: _csv(getattr(given, name)) for name in ("datasets", "lobe", "zone", "side", "size_bucket")}
    others = given.model_dump(include={"label", "diameter_min", "diameter_max"})
    asked = GraphRequest(
        **given.model_dump(include=set(GraphChoice.model_fields)), filters=GraphFilters(**words, **others)
    )
    return post_graph(opened, asked)


@router.get("/api/node/{node_id}/axial_thumbnail", **_PNG)
def thumbnail(node: NodeOf) -> Response:
    """Axial slice through a nodule: lung window, its mask, a cross, letters of orientation."""
    settings, row = node.opened.settings, node.opened.columns.whole(node.row).row(0, named=True)
    ct = read_ct(settings, row["ct_path"])
    if ct is None:
        raise HTTPException(404, "Thumbnail unavailable: CT or mask not found")
    mask, why = read_mask(settings, row, ct)
    centre = centre_of(row, ct, mask)
    content = slice_picture(ct, "axial", round(float(centre[2])), "lung", mask, centre)
    return Response(content, media_type="image/png", headers={"x-mask": why or "shown"})


@router.get("/api/node/{node_id}/neighbors", response_model=answers.NeighboursAnswer, response_model_exclude_unset=True)
def neighbours(node: NodeOf, asked: Annotated[NeighboursAsked, Query()]) -> dict[str, Any]:
    """Nearest nodes. Balanced ones hold every dataset that k allows. ``exclude_same_patient`` is ours."""
    started, seen = time.perf_counter(), node.opened.seen
    search = _search(asked.search_backend, asked.feature_set, asked.model)
    datasets = tuple(_csv(asked.datasets) or ())
    reach = Reach(asked.scope, datasets, asked.balance_by_dataset, not asked.exclude_same_patient)
    found = _near(node, asked.k, search, reach)
    answer: dict[str, Any] = {
        "query_node_id": node.id,
        "k": asked.k,
        "scope": asked.scope,
        "neighbors": found.to_dicts(),
    }
    if asked.debug:
        answer["_debug"] = _matrix(seen, search) | {
            "model_requested": asked.model,
            "model_canonical": preset(asked.model).name,
            "feature_set": asked.feature_set,
            "elapsed_ms": round(1000 * (time.perf_counter() - started), 3),
            "n_results": found.height,
        }
    return answer


@router.get("/api/node/{node_id}", response_model=answers.NodeAnswer)
def get_node(node: NodeOf, asked: Annotated[ModelAsked, Query()]) -> dict[str, Any]:
    """A node's metadata and demographics; ids of its scan and of itself stand for files that are on disk."""
    one = node.opened.columns.whole(node.row)
    row, ids = one.row(0, named=True), file_ids(node.opened.settings, one).row(0, named=True)
    return metadata(one).row(0, named=True) | {
        "demographics": demographics(row),
        "ct_path_abs": ids["ct_path"],
        "nodule_mask_path_abs": ids["nodule_mask_path"],
        "organ_seg_path_abs": ids["organ_seg_path"],
    }


@router.post("/api/export", **_FILE)
def export(opened: OpenedOf, asked: ExportRequest) -> Response:
    """Neighbours of a node as a download. Donors leave out the node's own person."""
    if not 1 <= asked.k <= 500:
        raise HTTPException(422, f"k {asked.k}: expected 1 to 500")
    row = _row(opened.columns, asked.node_id)
    search = _search(asked.search_backend, asked.feature_set, asked.model)
    donors = asked.format == "donors"
    rows = opened.seen.neighbours(row, asked.k, search, Reach(asked.scope, same_person=not donors))
    if donors:
        frame = donor_export(opened.columns.frame([*ON_DISK, "annotation_id"], rows["row"].to_numpy()))
        return _download(frame.write_csv().encode(), "text/csv", "candidate_donors.csv")
    found = _described(opened.columns, rows)
    query = metadata(opened.columns.whole(row)).row(0, named=True)
    meta = asked.model_dump(include={"model", "feature_set", "k", "scope"})
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in asked.node_id)
    if asked.format == "csv":
        table = neighbour_export(query, found, meta)
        return _download(table.write_csv().encode(), "text/csv", f"neighbors_{name}.csv")
    content = {
        "query": query,
        "neighbors": found.to_dicts(),
        "meta": meta | {"exported_at": datetime.now(UTC).isoformat()},
    }
    return _download(json.dumps(content).encode(), "application/json", f"neighbors_{name}.json")


@router.get("/debug/layout", response_model=answers.LayoutSample)
def debug_layout(opened: OpenedOf, asked: Annotated[LayoutAsked, Query()]) -> dict[str, Any]:
    """The first points of a layout."""
    points = opened.seen.layout(asked.feature_set, asked.model)[: asked.limit]
    some = opened.columns.frame(["dataset", "annotation_id"], np.arange(len(points)))
    some = some.select(NODE_ID, x=pl.Series(points[:, 0]), y=pl.Series(points[:, 1]))
    return {"n_total": opened.columns.height, "samples": some.to_dicts()}


@router.get("/debug/search", response_model=answers.SearchSample)
def debug_search(opened: OpenedOf, asked: Annotated[SearchAsked, Query()]) -> dict[str, Any]:
    """Neighbours of a node, of the first without one, and the matrix that was searched."""
    if not opened.columns.height:
        raise HTTPException(404, "the index holds no nodule")
    started = time.perf_counter()
    search = _search(asked.search_backend, asked.feature_set, asked.model)
    row = _row(opened.columns, asked.node_id) if asked.node_id else 0
    found = _near(NoduleNode(opened, asked.node_id, row), asked.k, search, Reach())
    elapsed = round(1000 * (time.perf_counter() - started), 3)
    return _matrix(opened.seen, search) | {"elapsed_ms": elapsed, "neighbors": found.to_dicts()}


@router.get("/debug/alignment", response_model=dict[str, answers.Alignment], response_model_exclude_unset=True)
def debug_alignment(opened: OpenedOf, feature_set: _Model = "reinsertion_core") -> dict[str, Any]:
    """For each layout that is there: its nodes, and that they are those of the first; ours always are."""
    columns, seen = opened.columns, opened.seen
    first = columns.frame(["dataset", "annotation_id"], np.arange(min(5, columns.height)))
    ids = first.select(NODE_ID).to_series().to_list()
    found: dict[str, Any] = {}
    for one in _bare([m for m in _models(seen) if m["feature_set"] == _known(feature_set)]):
        about = {"n_nodes": columns.height, "first_5": ids, "aligned": True}  # a file of others is not read
        found[one["model_name"]] = about | ({"ref_model": next(iter(found))} if found else {})
    return found


def _known(name: str) -> str:
    return feature_set(name).name


def _search(backend: str, of: str, model: str) -> NeighbourSearch:
    """The space that is searched; a model or feature set that there is none of is refused even where it is not read."""
    return search_of(backend, _known(of), preset(model).name)


def _near(node: NoduleNode, k: int, search: NeighbourSearch, reach: Reach) -> pl.DataFrame:
    rows = node.opened.seen.neighbours(node.row, k, search, reach)
    return _described(node.opened.columns, rows)


def _described(columns: Columns, near: pl.DataFrame) -> pl.DataFrame:
    """Metadata of neighbours, with what ``near`` says of each ``row``."""
    return pl.concat([metadata(columns.frame(NODE, near["row"].to_numpy())), near.drop("row")], how="horizontal")


def _matrix(seen: NoduleMap, search: NeighbourSearch) -> dict[str, Any]:
    points = seen.space(search).points
    return {"embedding_dim": points.shape[1], "n_embeddings": len(points)}
