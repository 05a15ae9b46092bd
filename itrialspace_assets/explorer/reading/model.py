"""What a reading session is asked to be, what it shows, and what is answered. Opens no file."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.imaging.anatomy import AnswerSize, LobeName
from itrialspace_assets.records.tables import TASK_OPTIONS, Condition

#: Name of a person; ``human_`` and it name the reader that its answers become.
Name = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,30}$")]
Presence = Literal["present", "absent"]
Percent = Annotated[int, Field(ge=0, le=100)]
assert get_args(Presence) == TASK_OPTIONS["presence"]

#: Most items of a session, and marks on a picture (ours).
MOST_ITEMS, MOST_MARKS = 2_000, 20
#: Longest time of an item in seconds that is kept as it is said (ours: a day).
_MOST_S = 86_400


class SessionRequest(StrictModel):
    """What a session is about.

    Attributes:
        reader: name of the person.
        kind: cases, one picture at a time; or pairs, a real and a synthetic one side by side.
        split: a frozen split; its lists are read, all or those of ``lists``.
        lists: of the split, as source/name.
        modes: trial modes, and ``real``; so many of their cases are drawn (``cases``). Of pairs those of the synthetic.
        cases: cases that are drawn, or pairs.
        condition: guidance drawn on the pictures.
        tasks: what is asked beside presence.
        marks: whether places are marked.
        seed: of the order and of what is drawn.
    """

    reader: Name
    kind: Literal["cases", "pairs"] = "cases"
    split: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,80}$")] | None = None
    lists: tuple[Annotated[str, Field(max_length=200)], ...] = Field((), max_length=100)
    modes: tuple[Annotated[str, Field(pattern=r"^[a-z0-9_]{1,80}$")], ...] = Field((), max_length=100)
    cases: Annotated[int, Field(ge=1, le=MOST_ITEMS)] | None = None
    condition: Condition = "plain"
    tasks: tuple[Literal["lobe", "size"], ...] = ("lobe", "size")
    marks: bool = True
    seed: Annotated[int, Field(ge=0, le=2**53)] = 42

    @model_validator(mode="after")
    def _one_choice(self) -> "SessionRequest":
        if self.kind == "pairs" and (self.split is not None or self.cases is None):
            raise ValueError("of pairs expected cases (how many pairs) and no split")
        if self.kind == "cases" and (self.split is None) == (not self.modes):
            raise ValueError("expected either split, or modes with cases")
        if self.kind == "cases" and (self.modes != ()) != (self.cases is not None):
            raise ValueError("expected modes and cases together")
        if len(set(self.tasks)) < len(self.tasks):
            raise ValueError("tasks: expected each once")
        return self


class SessionPicture(StrictModel):
    """A picture of a session. Only ``token`` leaves the server: it is drawn at random and says nothing."""

    token: str
    slice_uid: str
    path: str
    sha256: str
    width: int
    height: int


class SessionItem(StrictModel):
    """One picture, or two from left to right."""

    pictures: tuple[SessionPicture, ...]


class Header(StrictModel):
    """The first line of a session's file."""

    session: str
    asked: SessionRequest
    items: tuple[SessionItem, ...]
    started: str


class PictureMark(StrictModel):
    """A place on a picture: its column and row in pixels, from the upper left corner."""

    x: Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)]
    y: Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)]


class CaseAnswer(StrictModel):
    """What a person says of a picture; ``confidence`` is how sure it is of ``presence``, 0 a guess, 100 certain."""

    presence: Presence
    confidence: Percent
    lobe: LobeName | None = None
    size: AnswerSize | None = None
    marks: tuple[PictureMark, ...] = Field((), max_length=MOST_MARKS)


class PairAnswer(StrictModel):
    """Which of two pictures a person takes for the synthetic one, and how sure it is."""

    synthetic: Literal["left", "right"]
    confidence: Percent


def require_fitting(asked: SessionRequest, given: CaseAnswer | PairAnswer) -> None:
    """Refuse an answer to other questions than a session asks.

    Raises:
        ConfigError: it is of another kind, or lacks what is asked, or says what is not.
    """
    if isinstance(given, PairAnswer) != (asked.kind == "pairs"):
        raise ConfigError(f"answer: expected one of a session of {asked.kind}")
    if isinstance(given, PairAnswer):
        return
    for task, said in (("lobe", given.lobe), ("size", given.size)):
        wanted = given.presence == "present" and task in asked.tasks
        if (said is not None) != wanted:
            raise ConfigError(f"{task}: expected {'an answer' if wanted else 'none'}, got {said or 'none'}")
    if given.marks and not (asked.marks and given.presence == "present"):
        raise ConfigError("marks: expected none")


class Answered(StrictModel):
    """An answer to an item.

    Attributes:
        item: place of the item in the session, from 0.
        case: the answer, of a session of cases.
        pair: the answer, of a session of pairs.
        seconds: that the pictures were shown, without pauses; as the page measured it.
        paused: seconds of pauses.
        shown_at: when the item was first shown, UTC; as the server saw it.
        at: when the answer came, UTC.
    """

    item: int
    case: CaseAnswer | None = None
    pair: PairAnswer | None = None
    seconds: Annotated[float, Field(ge=0, le=_MOST_S, allow_inf_nan=False)]
    paused: Annotated[float, Field(ge=0, le=_MOST_S, allow_inf_nan=False)]
    shown_at: str | None
    at: str
