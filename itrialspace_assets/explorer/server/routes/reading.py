"""``/api/reading``: sessions of the reading room. What an answer tells about a picture is its size in pixels alone."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.explorer.reading import journal
from itrialspace_assets.explorer.reading.choose import Offer, header, offers
from itrialspace_assets.explorer.reading.model import CaseAnswer, PairAnswer, SessionRequest
from itrialspace_assets.explorer.reading.picture import pixels
from itrialspace_assets.explorer.server.problems import bytes_of
from itrialspace_assets.explorer.server.security import Uid
from itrialspace_assets.explorer.server.state import RootOf

router = APIRouter(prefix="/api/reading", tags=["reading"])

Token = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,30}-[0-9]{1,6}$")]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class Summary(StrictModel):
    """A session and how far it is."""

    session: str
    reader: str
    kind: Literal["cases", "pairs"]
    items: int
    answered: int
    started: str


class Sessions(StrictModel):
    """Every session."""

    sessions: tuple[Summary, ...]


class ShownPicture(StrictModel):
    """A picture: the token that it is asked for by, and its size in pixels."""

    token: str
    width: int
    height: int


class SessionState(StrictModel):
    """Where a session is; without pictures at its end."""

    session: str
    reader: str
    kind: Literal["cases", "pairs"]
    tasks: tuple[str, ...]
    marks: bool
    items: int
    answered: int
    seconds: float
    pictures: tuple[ShownPicture, ...]


class Open(StrictModel):
    """Which session is opened."""

    session: Name


class SessionAnswer(StrictModel):
    """An answer to the item that is shown: of a session of cases ``case``, of pairs ``pair``."""

    session: Name
    token: Token
    case: CaseAnswer | None = None
    pair: PairAnswer | None = None
    seconds: Seconds
    paused: Seconds = 0.0


def _state(now: journal.Session) -> SessionState:
    asked = now.header.asked
    shown = () if now.finished else now.header.items[now.at].pictures
    return SessionState(
        session=now.name,
        reader=asked.reader,
        kind=asked.kind,
        tasks=asked.tasks if asked.kind == "cases" else (),
        marks=asked.marks and asked.kind == "cases",
        items=len(now.header.items),
        answered=now.at,
        seconds=sum(a.seconds for a in now.answers),
        pictures=tuple(ShownPicture(token=p.token, width=p.width, height=p.height) for p in shown),
    )


@router.get("/offers")
def get_offers(root: RootOf) -> Offer:
    """What a session can be about: frozen splits and their lists, modes, guidance."""
    return offers(root.settings)


@router.get("/sessions")
def get_sessions(root: RootOf) -> Sessions:
    """Every session and how far it is."""
    return Sessions(
        sessions=tuple(
            Summary(
                session=s.name,
                reader=s.header.asked.reader,
                kind=s.header.asked.kind,
                items=len(s.header.items),
                answered=s.at,
                started=s.header.started,
            )
            for s in journal.sessions(root.settings)
        )
    )


@router.post("/sessions")
def post_session(root: RootOf, asked: SessionRequest) -> SessionState:
    """Begin a session."""
    found = journal.start(root.settings, lambda name, at: header(root.settings, asked, name, at), asked.reader)
    return _state(found)


@router.post("/open")
def post_open(root: RootOf, wanted: Open) -> SessionState:
    """The item that a session is at; the time when it is first shown is kept."""
    return _state(journal.show(root.settings, wanted.session))


@router.post("/answer")
def post_answer(root: RootOf, given: SessionAnswer) -> SessionState:
    """Keep the answer to the item that is shown, for good, and go to the next."""
    said = given.case or given.pair
    if said is None or (given.case and given.pair):
        raise ConfigError("answer: expected case or pair, one of them")
    journal.answer(root.settings, given.session, given.token, said, given.seconds, given.paused)
    return _state(journal.show(root.settings, given.session))


@router.get("/picture.png", **bytes_of("image/png"))
def get_picture(
    root: RootOf,
    session: Annotated[Uid, Query(description="session")],
    token: Annotated[Uid, Query(description="of the picture, as the item names it")],
) -> Response:
    """A picture of a session. Its pixels alone: no name, no time, no note of the file."""
    picture = journal.picture_of(journal.session(root.settings, session), token)
    return Response(pixels(root.settings, picture), media_type="image/png")
