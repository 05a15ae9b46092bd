"""``/api/trials``, ``/api/trial``, ``/api/cases``, ``/api/case``: trials, their balance, and their cases."""

import re
from typing import Annotated

import polars as pl
from fastapi import APIRouter, Query
from starlette.responses import Response

from itrialspace_assets.base.nearest import not_found
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.catalog.case_story import StoryTable, tell
from itrialspace_assets.catalog.casepage import page_of
from itrialspace_assets.explorer.cases.sheet import Sheet, VerdictFilter, case_rows, sheet
from itrialspace_assets.explorer.cases.trials import TrialFlow, TrialTold, trial, trials
from itrialspace_assets.explorer.reviews.log import Review, read_reviews
from itrialspace_assets.explorer.server.problems import bytes_of
from itrialspace_assets.explorer.server.security import Uid
from itrialspace_assets.explorer.server.state import OpenRoot, RootOf
from itrialspace_assets.records.store import table_files
from itrialspace_assets.records.tables import CONDITIONS

router = APIRouter(prefix="/api", tags=["cases"])

#: Most cases of an answer; ours.
MOST_CASES = 200
_FLOW = ("cases", "trials", "arms", "balance", "insertions", "cts", "slices", "answers", "rejected_cases", "reviews")
Mode = Annotated[str, Query(min_length=1, max_length=120, description="trial, as in the table cases")]
Case = Annotated[Uid, Query(description="case_uid")]


class SlicePicture(StrictModel):
    """An evaluation slice of a case, without a control; its picture is ``/api/slice.png``."""

    slice_uid: str
    condition: str
    source: str
    profile: str
    presence: str
    guidance_site: str
    z_offset: int


class CaseTold(StrictModel):
    """What is known of a case, its slices, and every review of it in their order."""

    case_uid: str
    mode: str
    mark: str
    lead: str
    tables: list[StoryTable]
    slices: list[SlicePicture]
    reviews: list[Review]


@router.get("/trials")
def get_trials(root: RootOf) -> list[TrialFlow]:
    """Every planned trial: cases planned, inserted, rendered, sliced, answered, rejected, reviewed."""
    found: list[TrialFlow] = root.kept("cases.trials", _stamp(root), lambda: trials(root.settings))
    return found


@router.get("/trial")
def get_trial(root: RootOf, mode: Mode) -> TrialTold:
    """A trial: its flow, its arms, and its balance as asked and as got."""
    return trial(root.settings, mode)


@router.get("/cases")
def get_cases(
    root: RootOf,
    mode: Mode,
    arm: Annotated[str | None, Query(max_length=200, description="of this arm only")] = None,
    verdict: Annotated[VerdictFilter | None, Query(description="with this last verdict only")] = None,
    offset: Annotated[int, Query(ge=0, le=10**9, description="cases to leave out first")] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_CASES, description="cases at most")] = 24,
) -> Sheet:
    """Cases of a trial, a page at a time."""
    known = [path.parent.name for path in table_files(root.settings.output, "cases")]
    if mode not in known:
        raise not_found("mode", mode, known)
    rows: pl.DataFrame = root.kept(f"cases.sheet.{mode}", _stamp(root), lambda: case_rows(root.settings, mode))
    return sheet(rows, arm, verdict, offset, limit)


@router.get("/case")
def get_case(root: RootOf, uid: Case) -> CaseTold:
    """What the static case page tells of a case, in tables; its volumes are ``/api/volumes``."""
    told = tell(root.settings, uid)
    order = pl.col("condition").replace_strict({c: i for i, c in enumerate(CONDITIONS)}, return_dtype=pl.Int64)
    shown = told.slices.filter(pl.col("control") == "none", pl.col("path").str.ends_with(".png")).sort(
        "source", "profile", pl.col("presence") != "present", "guidance_site", "z_offset", order
    )
    pictures = [SlicePicture(**row) for row in shown.select(list(SlicePicture.model_fields)).iter_rows(named=True)]
    reviews = [review for review in read_reviews(root.settings.output) if review.case_uid == uid]
    return CaseTold(
        case_uid=uid,
        mode=told.mode,
        mark=told.mark,
        lead=told.lead,
        tables=list(told.tables),
        slices=pictures,
        reviews=reviews,
    )


@router.get("/case.html", **bytes_of("text/html"))
def get_case_page(root: RootOf, uid: Case) -> Response:
    """The static page of a case, one file; a browser saves it, since its own scripts may not run here."""
    name = re.sub("[^A-Za-z0-9._-]", "_", uid)
    saved = {"content-disposition": f'attachment; filename="{name}.html"'}
    return Response(page_of(root.settings, uid), media_type="text/html", headers=saved)


def _stamp(root: OpenRoot) -> tuple[int, ...]:
    """Changes when a table of trials or cases is made again."""
    output = root.settings.output
    return tuple(path.stat().st_mtime_ns for table in _FLOW for path in table_files(output, table))
