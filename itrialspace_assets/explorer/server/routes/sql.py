"""``/api/sql``: one SELECT over the catalog, the ready questions, and the dictionary of its tables."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.explorer.results.console import (
    MOST_ROWS,
    SECONDS,
    DictionaryTable,
    QueryAnswer,
    ask,
    dictionary,
)
from itrialspace_assets.explorer.results.console import questions as ready_questions
from itrialspace_assets.explorer.server.state import RootOf

router = APIRouter(prefix="/api", tags=["sql"])


class Statement(StrictModel):
    """One SELECT; ``$name`` in it stands for a value."""

    sql: str = Field(min_length=1, max_length=50_000)
    values: dict[Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")], Annotated[str, Field(max_length=1_000)]] = Field(
        default_factory=dict, max_length=20
    )
    limit: int = Field(500, ge=1, le=MOST_ROWS)


class QuestionValue(StrictModel):
    """A value that a question takes; without a default it must be given."""

    name: str
    meaning: str
    default: str | None


class ReadyQuestion(StrictModel):
    """A ready question."""

    name: str
    asks: str
    sql: str
    values: tuple[QuestionValue, ...]


class Console(StrictModel):
    """What the console knows beforehand, and its limits."""

    questions: tuple[ReadyQuestion, ...]
    tables: tuple[DictionaryTable, ...]
    most_rows: int
    seconds: float


@router.post("/sql")
def post_sql(root: RootOf, statement: Statement) -> QueryAnswer:
    """The answer to one SELECT over the catalog. Files, settings and writes are turned off."""
    return ask(root.settings, statement.sql, statement.values, statement.limit)


@router.get("/sql/questions")
def get_questions() -> Console:
    """The ready questions, every table and view with its columns, and the limits of a statement."""
    ready = tuple(
        ReadyQuestion(
            name=q.name,
            asks=q.asks,
            sql=q.sql,
            values=tuple(QuestionValue(name=v.name, meaning=v.meaning, default=v.default) for v in q.values),
        )
        for q in ready_questions().values()
    )
    return Console(questions=ready, tables=dictionary(), most_rows=MOST_ROWS, seconds=SECONDS)
