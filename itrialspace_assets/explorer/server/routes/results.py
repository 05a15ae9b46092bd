"""``/api/reports`` and ``/api/results``: reports as they are, numbers, the cases behind them, flips."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.explorer.results.flips import Flips, flips, readers_with_answers
from itrialspace_assets.explorer.results.numbers import Behind, Choices, Place, behind, choices, numbers
from itrialspace_assets.explorer.results.reports import ReportFiles, report_file, reports
from itrialspace_assets.explorer.server.arrow import MEDIA_TYPE, arrow
from itrialspace_assets.explorer.server.problems import bytes_of
from itrialspace_assets.explorer.server.security import Uid
from itrialspace_assets.explorer.server.state import RootOf

router = APIRouter(prefix="/api", tags=["results"])

Word = Annotated[str | None, Query(max_length=200)]


class ReportList(StrictModel):
    """Every report."""

    reports: tuple[ReportFiles, ...]


class ChoiceList(StrictModel):
    """What numbers can be chosen by in each report, and which readers have answers."""

    analyses: tuple[Choices, ...]
    readers: tuple[str, ...]


@router.get("/reports")
def get_reports(root: RootOf) -> ReportList:
    """Every report that was written."""
    return ReportList(reports=reports(root.settings))


@router.get("/reports/{name}/{file:path}", response_class=Response, responses={200: {"content": {"*/*": {}}}})
def get_report_file(root: RootOf, name: str, file: str) -> Response:
    """A file of a report as it was written; its page runs the scripts that it holds, in an origin of its own."""
    found = report_file(root.settings, name, file)
    return Response(found.data, media_type=found.media_type, headers={"content-security-policy": found.policy})


@router.get("/results/choices")
def get_choices(root: RootOf) -> ChoiceList:
    """Reports that have numbers, and what their numbers can be chosen by."""
    with root.catalog() as db:
        return ChoiceList(analyses=choices(db), readers=readers_with_answers(root.settings))


@router.get("/results/metrics", **bytes_of(MEDIA_TYPE))
def get_metrics(
    root: RootOf,
    analysis: Word = None,
    source: Word = None,
    reader: Word = None,
    task: Word = None,
    condition: Word = None,
    stratum: Word = None,
    metric: Word = None,
    limit: Annotated[int, Query(ge=1, le=20_000)] = 5_000,
) -> Response:
    """Numbers of the reports with their intervals, by any of their keys."""
    given = {
        "analysis": analysis,
        "source": source,
        "reader": reader,
        "task": task,
        "condition": condition,
        "stratum": stratum,
        "metric": metric,
    }
    with root.catalog() as db:
        return arrow(numbers(db, {k: v for k, v in given.items() if v is not None}, limit))


@router.get("/results/cases")
def get_cases(
    root: RootOf,
    analysis: Uid,
    metric: Uid,
    task: Uid,
    condition: Uid,
    stratum: Uid,
    source: Uid,
    reader: Uid,
    limit: Annotated[int, Query(ge=1, le=2_000)] = 200,
) -> Behind:
    """The cases behind one number, those that cost it most first."""
    place = Place(
        analysis=analysis,
        metric=metric,
        task=task,
        condition=condition,
        stratum=stratum,
        source=source,
        reader=reader,
    )
    with root.catalog() as db:
        return behind(db, place, limit)


@router.get("/results/flips")
def get_flips(
    root: RootOf,
    a: Uid,
    b: Uid,
    task: Uid = "presence",
    condition: Uid = "plain",
    limit: Annotated[int, Query(ge=1, le=2_000)] = 200,
) -> Flips:
    """Two readers on the same slices, and the cases that flipped."""
    return flips(root.settings, a, b, task, condition, limit)
