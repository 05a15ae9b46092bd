"""What a program outside is given and must return, as JSON. The schemas are published in ``docs/schemas``.

Positions are world mm in RAS. A program is told neither the condition nor the control, nor any id of ours.
"""

import json
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from itrialspace_assets.readers.api import MOST_CHARACTERS

#: Most marks of a scan (ours).
MARKS = 1000

_Millimetres = Annotated[float, Field(gt=0, le=1000)]
_Point = tuple[float, float, float]


class Message(BaseModel):
    """A message without unknown keys, NaN, infinite numbers, and numbers that are written as text or truth."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class ScanRequest(Message):
    """``/input/request.json`` of a scan; ``ct`` is a NIfTI file beside it: HU, RAS, millimetres."""

    version: Literal[1] = 1
    kind: Literal["scan"] = "scan"
    ct: str


class FoundMark(Message):
    """A spot: world position (mm, RAS), diameter (mm, null where unknown), and score (higher: more likely a nodule)."""

    point_mm: _Point
    diameter_mm: _Millimetres | None = None
    score: float


class ScanResult(Message):
    """``/output/result.json`` of a scan."""

    version: Literal[1]
    marks: tuple[FoundMark, ...] = Field(max_length=MARKS)


class SliceQuestion(Message):
    """A question. ``pictures``: PNG files beside it in z order; ``pixel_mm``: height and width of a pixel."""

    id: str
    task: str
    question: str | None
    options: tuple[str, ...]
    pictures: tuple[str, ...]
    pixel_mm: tuple[float, float] | None


class SlicesRequest(Message):
    """``/input/request.json`` of slices."""

    version: Literal[1] = 1
    kind: Literal["slices"] = "slices"
    requests: tuple[SliceQuestion, ...]


class SliceAnswer(Message):
    """What is said to a question: text, a score for each option (higher: more likely), or both; else ``error``."""

    id: str
    text: str | None = Field(None, max_length=MOST_CHARACTERS)
    option_scores: dict[str, float] | None = None
    error: str | None = Field(None, max_length=1000)


class SlicesResult(Message):
    """``/output/result.json`` of slices."""

    version: Literal[1]
    answers: tuple[SliceAnswer, ...]


class GrandChallengePoint(BaseModel):
    """A point of grand-challenge: world mm, LPS (docs/facts/readers.md#grand-challenge)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    name: str | None = None
    type: Literal["Point"] = "Point"
    point: _Point
    probability: float | None = Field(None, ge=0, le=1)


class GrandChallengeVersion(Message):
    """Version of the format."""

    major: Literal[1]
    minor: int = Field(ge=0)


class GrandChallengePoints(Message):
    """The format ``Multiple points`` of grand-challenge."""

    name: str | None = None
    type: Literal["Multiple points"]
    points: tuple[GrandChallengePoint, ...] = Field(max_length=MARKS)
    version: GrandChallengeVersion


PUBLISHED: dict[str, type[Message]] = {
    "scan_request": ScanRequest,
    "scan_result": ScanResult,
    "slices_request": SlicesRequest,
    "slices_result": SlicesResult,
}


def schema(name: str) -> dict[str, Any]:
    """JSON Schema of a published message."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **PUBLISHED[name].model_json_schema()}


def _refuse_twice(where: str, pairs: list[tuple[str, Any]]) -> None:
    """
    Raises:
        ValueError: an object holds a key twice.
    """
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{where}: expected each key of an object once, got {twice[:60]!r} more than once")


def parse(kind: type[Message], data: bytes, where: str) -> Any:
    """A message in JSON, checked.

    Args:
        kind: which one.
        data: its bytes.
        where: the file, for messages.

    Raises:
        ValueError: it is no JSON, breaks the schema, or holds a key twice; says where.
    """
    try:
        found = kind.model_validate_json(data)
        json.loads(data, object_pairs_hook=partial(_refuse_twice, where))
        return found
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = ".".join(map(str, first["loc"])) or "file"
        got = first["input"].decode(errors="replace") if isinstance(first["input"], bytes) else str(first["input"])
        raise ValueError(f"{where}: {at}: {first['msg']} (got {got[:60]!r})") from None
