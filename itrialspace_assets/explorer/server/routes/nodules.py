"""``/api/nodules/...`` and ``/api/nodule``: the index, searched, compared and exported."""

from typing import Annotated

import numpy as np
import polars as pl
from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.explorer.search import export, find, near, one
from itrialspace_assets.explorer.search.columns import ColumnDescription
from itrialspace_assets.explorer.search.filters import Name, rows_of
from itrialspace_assets.explorer.server.arrow import MEDIA_TYPE, arrow
from itrialspace_assets.explorer.server.problems import bytes_of
from itrialspace_assets.explorer.server.security import Uid
from itrialspace_assets.explorer.server.state import RootOf
from itrialspace_assets.index.query import FEATURES, MISMATCHES

router = APIRouter(prefix="/api", tags=["nodules"])
_TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json", "parquet": "application/vnd.apache.parquet"}


class Weighted(StrictModel):
    """What similarity compares: a short name, the column, the published weight, and whether it is a category."""

    name: str
    column: str
    weight: float
    category: bool


class ColumnList(StrictModel):
    """Every column of the index, and what similarity compares."""

    columns: tuple[ColumnDescription, ...]
    shown: tuple[str, ...]
    similarity: tuple[Weighted, ...]


@router.get("/nodules/columns")
def get_columns(root: RootOf) -> ColumnList:
    """Columns with unit and meaning; those with ``values`` can be facets, numbers can be histograms."""
    compared = [
        (name, *of, category) for kind, category in ((FEATURES, False), (MISMATCHES, True)) for name, of in kind.items()
    ]
    return ColumnList(
        columns=root.columns.described(),
        shown=find.SHOWN,
        similarity=tuple(Weighted(name=n, column=c, weight=w, category=k) for n, c, w, k in compared),
    )


@router.post("/nodules/search")
def post_search(root: RootOf, asked: find.NoduleSearch) -> find.SearchResult:
    """Nodules that meet every filter: how many, one page of them, facets and histograms over all other filters."""
    return find.search(root.columns, asked)


@router.post("/nodules/rows", **bytes_of(MEDIA_TYPE))
def post_rows(root: RootOf, asked: find.NoduleQuery) -> Response:
    """Row numbers (``row``, unsigned 32 bits) of the nodules that meet every filter, in the order of nodule_uid."""
    rows = np.flatnonzero(rows_of(root.columns, asked.filters, asked.text))
    return arrow(pl.DataFrame({"row": rows.astype(np.uint32)}))


@router.get("/nodules/column", **bytes_of(MEDIA_TYPE))
def get_column(root: RootOf, name: Annotated[Name, Query(description="A column of the index.")]) -> Response:
    """A column (``value``) of all nodules in the order of nodule_uid; few texts come as a dictionary."""
    return arrow(pl.DataFrame({"value": root.columns.compact(name)}))


@router.get("/nodule")
def get_nodule(root: RootOf, uid: Annotated[Uid, Query(description="nodule_uid")]) -> one.Detail:
    """Every column of a nodule, and the other nodules of its scan."""
    return one.detail(root.columns, uid)


@router.post("/nodules/similar")
def post_similar(root: RootOf, asked: near.SimilarQuery) -> near.Nearest:
    """The nodules most like one, nearest first, with what differs."""
    return near.similar(root.columns, asked)


@router.post("/nodules/match")
def post_match(root: RootOf, asked: near.DonorQuery) -> near.Nearest:
    """Donors for a place, best first, within tolerances where such are given."""
    return near.match(root.columns, root.settings, asked)


@router.post("/nodules/export", **bytes_of(*(kind.partition(";")[0] for kind in _TYPES.values())))
def post_export(root: RootOf, asked: export.Export) -> StreamingResponse:
    """Every column of the nodules that meet every filter, as a download."""
    columns = root.columns
    mask = export.wanted(columns, asked)
    name = {"content-disposition": f'attachment; filename="nodules.{asked.format}"'}
    return StreamingResponse(export.pieces(columns, mask, asked.format), 200, name, _TYPES[asked.format])
