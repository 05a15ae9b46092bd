"""``/api/reports`` and ``/api/results``: reports as they are, numbers, the cases behind them, flips."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import Field

from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.explorer.results.flips import Flips, flips, readers_with_answers
from itrialspace_assets.explorer.results.numbers import Behind, Choices, MetricKey, behind, choices, numbers
from itrialspace_assets.explorer.results.reports import ReportFiles, report_file, reports
from itrialspace_assets.explorer.server.arrow import MEDIA_TYPE, arrow
from itrialspace_assets.explorer.server.problems import bytes_of
from itrialspace_assets.explorer.server.security import Uid
from itrialspace_assets.explorer.server.state import RootOf

router = APIRouter(prefix="/api", tags=["results"])

Word = Annotated[str | None, Field(max_length=200)]


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


@router.get("/reports/{name}/{file:path}", **bytes_of("*/*"))
def get_report_file(
    root: RootOf,
    name: Annotated[str, Path(description="folder of the report")],
    file: Annotated[str, Path(description="file in it")],
) -> Response:
    """A file of a report as it was written; its page runs the scripts that it holds, in an origin of its own."""
    found = report_file(root.settings, name, file)
    return Response(found.data, media_type=found.media_type, headers={"content-security-policy": found.policy})


@router.get("/results/choices")
def get_choices(root: RootOf) -> ChoiceList:
    """Reports that have numbers, and what their numbers can be chosen by."""
    with root.catalog() as db:
        return ChoiceList(analyses=choices(db), readers=readers_with_answers(root.settings))


class Numbers(StrictModel):
    """Keys of ``metrics``; those that are not given may be anything."""

    analysis: Word = Field(None, description="report: a mode, real-<dataset>, or study")
    source: Word = Field(None, description="real, or the renderer's name")
    reader: Word = Field(None, description="reader")
    task: Word = Field(None, description="task")
    condition: Word = Field(None, description="guidance")
    stratum: Word = Field(None, description="stratum, as all or size_bucket=5-10mm")
    metric: Word = Field(None, description="metric")
    limit: int = Field(5_000, ge=1, le=20_000, description="rows at most")


class CasesOf(MetricKey):
    """A number, and how many cases of it to answer."""

    limit: int = Field(200, ge=1, le=2_000, description="cases at most")


class TwoReaders(StrictModel):
    """Two readers, and what they were asked."""

    a: Uid = Field(description="one reader")
    b: Uid = Field(description="the other")
    task: Uid = Field("presence", description="task")
    condition: Uid = Field("plain", description="guidance")
    limit: int = Field(200, ge=1, le=2_000, description="flips at most")


@router.get("/results/metrics", **bytes_of(MEDIA_TYPE))
def get_metrics(root: RootOf, asked: Annotated[Numbers, Query()]) -> Response:
    """Numbers of the reports with their intervals, by any of their keys."""
    with root.catalog() as db:
        return arrow(numbers(db, asked.model_dump(exclude={"limit"}, exclude_none=True), asked.limit))


@router.get("/results/cases")
def get_cases(root: RootOf, asked: Annotated[CasesOf, Query()]) -> Behind:
    """The cases behind one number, those that cost it most first."""
    with root.catalog() as db:
        return behind(db, MetricKey(**asked.model_dump(exclude={"limit"})), asked.limit)


@router.get("/results/flips")
def get_flips(root: RootOf, asked: Annotated[TwoReaders, Query()]) -> Flips:
    """Two readers on the same slices, and the cases that flipped."""
    return flips(root.settings, asked.a, asked.b, asked.task, asked.condition, asked.limit)
