"""``/compat/retriever/…``: the original's retriever API, keys as published
(docs/facts/explorer.md#compatible-endpoints).

Its faults are not copied: facets follow the filters, exports are whole and leave nothing on the server, and a CT is
named by the id of its scan, never by a path.
"""

import json
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from fastapi import APIRouter, Depends, HTTPException, Query, Response
from pydantic import Field

from itrialspace_assets import __version__
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.explorer.compat import answers
from itrialspace_assets.explorer.compat.found import (
    RESULT,
    MatchRequest,
    SearchFilters,
    SimilarRequest,
    deltas,
    facets,
    page,
    whole_rows,
    within_datasets,
)
from itrialspace_assets.explorer.compat.nodes import file_ids, is_among, label_is, met, row_of_annotation
from itrialspace_assets.explorer.compat.pictures import PLANES, middle, slice_picture
from itrialspace_assets.explorer.compat.scans import centre_of, ct_path_of, read_ct, read_mask
from itrialspace_assets.explorer.search.columns import Columns
from itrialspace_assets.explorer.search.near import alike, donors
from itrialspace_assets.explorer.server.problems import bytes_of
from itrialspace_assets.explorer.server.state import RootOf
from itrialspace_assets.imaging.anatomy import LOBES
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.index.query import FEATURES, MISMATCHES, WantedDonor

router = APIRouter(prefix="/compat/retriever", tags=["compat: Retriever"])

#: Rows of a search that names no limit (published).
LIMIT = 50
#: Columns of a donor.
_DONOR = (
    *("annotation_id", "dataset", "label", "scan_uid", "reinsertion_lobe", "reinsertion_nodule_diam_mm"),
    *("reinsertion_pleural_dist_mm", "reinsertion_lobe_cc_pct"),
)
_Id = Annotated[str, Field(max_length=300)]
_Word = Annotated[str, Field(max_length=40)]
#: Arguments of a route that answers with a picture, and of one with a file.
_PNG = bytes_of("image/png")
_FILE = bytes_of("text/csv", "application/json")


class SliceAsked(StrictModel):
    """``ct_path`` is a scan_uid, ``mask_path`` a nodule_uid of that scan; without ``index`` the middle slice."""

    ct_path: _Id
    axis: _Word = "axial"
    index: int | None = None
    mask_path: _Id | None = None
    window: _Word = "lung"


class ViewAsked(StrictModel):
    annotation_id: _Id
    axis: _Word = "axial"
    window: _Word = "lung"
    show_mask: bool = True


class RetrieverExport(StrictModel):
    """Nodules as a file, all that match unless the filters limit them."""

    filters: SearchFilters = Field(default_factory=SearchFilters)
    format: Literal["csv", "json"] = "csv"
    include_paths: bool = True
    filename: str | None = Field(None, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


def _row(columns: Columns, annotation: str) -> int:
    row = row_of_annotation(columns, annotation)
    if row is None:
        raise HTTPException(404, f"annotation_id {annotation!r}: the index has none of this id")
    return row


def _which(root: RootOf, annotation_id: str, dataset: Annotated[str | None, Query(max_length=60)] = None) -> int:
    return _row(root.columns, f"{dataset}/{annotation_id}" if dataset else annotation_id)


RowOf = Annotated[int, Depends(_which)]


def _ct(settings: Settings, columns: Columns, scan: str) -> Volume:
    ct_path = ct_path_of(columns, scan)
    if ct_path is None:
        raise HTTPException(404, f"ct_path {scan!r}: expected a scan_uid of the index (answers name it so)")
    ct = read_ct(settings, ct_path)
    if ct is None:
        raise HTTPException(404, f"scan {scan!r}: its CT is not in the data root, or cannot be read")
    return ct


@router.get("/health", response_model=answers.RetrieverHealth)
def health(root: RootOf) -> dict[str, Any]:
    """Version, nodules and datasets."""
    columns = root.columns
    return {"version": __version__, "n_nodules": columns.height, "datasets": sorted(columns.values("dataset"))}


@router.get("/filters", response_model=answers.RetrieverFilters)
def filters(root: RootOf) -> dict[str, Any]:
    """Values that filters take."""
    return {
        "datasets": sorted(root.columns.values("dataset")),
        "lobes": list(LOBES),
        "zones": ["upper_zone", "middle_zone", "lower_zone"],
        "sides": ["right", "left", "unknown"],
        "labels": [0, 1, None],
        "central_peripheral": ["central", "peripheral"],
        "population_types": ["screening", "diagnostic", "all"],
        "label_sources": ["histopathology", "radiology", "all"],
    }


@router.post("/search", response_model=answers.SearchAnswer)
def search(root: RootOf, asked: SearchFilters) -> dict[str, Any]:
    """Nodules that meet every filter; ``ct_path`` of a result is the id of its scan."""
    columns = root.columns
    total, chosen = page(columns, asked, LIMIT)
    found = columns.frame([c if c != "ct_path" else "scan_uid" for c in RESULT], chosen)
    rows = found.rename({"scan_uid": "ct_path"}).to_dicts()
    counts = facets(columns, asked)
    return {"total_matching": total, "returned": len(rows), "results": rows, "facet_counts": counts}


@router.post("/similar", response_model=answers.SimilarAnswer)
def similar(root: RootOf, asked: SimilarRequest) -> dict[str, Any]:
    """Nodules most like one; ``feature_deltas`` are in % and mm."""
    columns = root.columns
    at = _row(columns, asked.annotation_id)
    where = within_datasets(columns, asked.include_datasets, asked.exclude_datasets)
    where &= met(columns, [label_is(columns, asked.label)])
    rows, distance = alike(columns, at, where, asked.k, same_person=not asked.exclude_same_patient)
    shown = ("annotation_id", "dataset", "lobe_name", "nodule_mean_diam_mm", "label")
    compared = [column for column, _ in (*FEATURES.values(), *MISMATCHES.values())]
    row = columns.frame(compared, np.array([at])).row(0, named=True)
    found = columns.frame([*shown, *compared], rows).with_columns(distance=pl.Series(distance))
    results = [
        {name: one[name] for name in shown}
        | {"distance": round(one["distance"], 4), "rank": rank, "feature_deltas": deltas(row, one)}
        for rank, one in enumerate(found.iter_rows(named=True), start=1)
    ]
    return {"reference_id": asked.annotation_id, "k": asked.k, "results": results}


@router.post("/matcher", response_model=answers.MatchAnswer)
def matcher(root: RootOf, asked: MatchRequest) -> dict[str, Any]:
    """Donors for a place, best first."""
    columns = root.columns
    where = within_datasets(columns, asked.include_datasets, asked.exclude_datasets)
    for column, word in (("reinsertion_lung_zone", asked.lung_zone), ("reinsertion_lung_side", asked.lung_side)):
        where &= met(columns, [is_among(columns, column, [word or ""])])
    place = WantedDonor(asked.lobe, asked.lobe_cc_pct, asked.pleural_dist_mm, asked.diameter_mm, asked.label)
    rows, scores = donors(columns, place, where, asked.k)
    found = pl.concat([columns.frame(_DONOR, rows), scores], how="horizontal").select(
        "annotation_id",
        "dataset",
        "label",
        ct_path="scan_uid",
        score=pl.col("score").round(4),
        lobe="reinsertion_lobe",
        diameter_mm=pl.col("reinsertion_nodule_diam_mm").round(2),
        pleural_mm="reinsertion_pleural_dist_mm",
        lobe_cc_pct="reinsertion_lobe_cc_pct",
    )
    return {"target_lobe": asked.lobe, "k": asked.k, "results": found.to_dicts()}


@router.get("/nodule/{annotation_id}", response_model=answers.NoduleAnswer)
def nodule(root: RootOf, at: RowOf) -> dict[str, Any]:
    """Every column of a nodule; ids of its scan and of itself stand for files that are on disk.

    ``dataset`` is ours: which nodule is meant where several datasets have the id.
    """
    one = root.columns.whole(at)
    row, ids = one.row(0, named=True), file_ids(root.settings, one).row(0, named=True)
    return {
        **{name: row[name] for name in ("annotation_id", "dataset", "patient_id", "label")},
        "detail": row | {"ct_path": row["scan_uid"]},
        "paths": ids,
        "paths_exist": {name: bool(of) for name, of in ids.items()},
    }


@router.get("/ct/slice", **_PNG)
def ct_slice(root: RootOf, asked: Annotated[SliceAsked, Query()]) -> Response:
    """A slice of a scan as PNG; ``ct_path`` is a scan_uid, ``mask_path`` a nodule_uid."""
    _require_plane(asked.axis)
    ct = _ct(root.settings, root.columns, asked.ct_path)
    mask, why = None, "none asked for"
    if asked.mask_path:
        row = root.columns.whole(_row(root.columns, asked.mask_path)).row(0, named=True)
        if row["scan_uid"] != asked.ct_path:
            raise HTTPException(422, f"mask_path {asked.mask_path!r}: expected a nodule of scan {asked.ct_path!r}")
        mask, why = read_mask(root.settings, row, ct)
    at = middle(ct, asked.axis) if asked.index is None else asked.index
    content = slice_picture(ct, asked.axis, at, asked.window, mask)
    return Response(content, media_type="image/png", headers={"x-mask": why or "shown"})


@router.get("/ct/nodule-view", **_PNG)
def nodule_view(root: RootOf, asked: Annotated[ViewAsked, Query()]) -> Response:
    """The slice through a nodule's centre as PNG."""
    _require_plane(asked.axis)
    row = root.columns.whole(_row(root.columns, asked.annotation_id)).row(0, named=True)
    ct = _ct(root.settings, root.columns, row["scan_uid"])
    mask, why = read_mask(root.settings, row, ct) if asked.show_mask else (None, "none asked for")
    at = round(float(centre_of(row, ct, mask)[PLANES[asked.axis][0]]))
    content = slice_picture(ct, asked.axis, at, asked.window, mask)
    return Response(content, media_type="image/png", headers={"x-mask": why or "shown"})


@router.get("/ct/info", response_model=answers.CtInfo)
def ct_info(root: RootOf, ct_path: Annotated[str, Query(max_length=300)]) -> dict[str, Any]:
    """Voxels along x, y, z (RAS) of a scan, and their size in mm."""
    ct = _ct(root.settings, root.columns, ct_path)
    return {"shape": list(ct.array.shape), "spacing_mm": [round(float(s), 6) for s in ct.spacing]}


@router.post("/export", **_FILE)
def export(root: RootOf, asked: RetrieverExport) -> Response:
    """Nodules as a download: every column of the index; with ``include_paths`` ids for the five files of each."""
    found = whole_rows(root.columns, page(root.columns, asked.filters, None)[1])
    frame = found.with_columns(ct_path="scan_uid")
    if asked.include_paths:
        files = file_ids(root.settings, found).rename({"ct_path": "ct_path_abs"})
        frame = pl.concat([frame, files], how="horizontal")
    name = asked.filename or f"itrialspace_export.{asked.format}"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    if asked.format == "csv":
        return Response(frame.write_csv().encode(), media_type="text/csv", headers=headers)
    content = {"n_results": frame.height, "filters": asked.filters.model_dump(exclude_none=True)}
    head = json.dumps(content).encode()[:-1]
    body = b"".join((head, b', "results": ', frame.write_json().encode(), b"}"))
    return Response(body, media_type="application/json", headers=headers)


def _require_plane(axis: str) -> None:
    if axis not in PLANES:
        raise HTTPException(422, f"axis {axis!r}: expected one of {', '.join(PLANES)}")
