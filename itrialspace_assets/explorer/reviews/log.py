"""Adds a verdict of a person to the log of reviews, and makes the table ``reviews`` of it. Knows no page.

    reviews/reviews.jsonl    one review a line; lines are only ever added

The log is the truth: it holds every verdict in the order in which they were given, with its time. The table holds the
last verdict of each person on each case.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field, StringConstraints, ValidationError, model_validator

from itrialspace_assets.base.errors import TableError
from itrialspace_assets.base.locks import locked
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.records.store import write_table

#: Longest name of a person and longest reason, in characters; ours.
NAME_LENGTH, REASON_LENGTH = 80, 500
#: Reasons of a rejection that are offered; a person may write others (ours).
READY_REASONS = (
    "nodule in an implausible place",
    "visible edge or seam at the nodule",
    "nodule does not look like one",
    "nodule is not visible",
    "artefact of the rendering elsewhere in the scan",
    "anatomy or mask is wrong",
)
Line = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]*$")]


class Verdict(StrictModel):
    """What a person says of a case. A rejection needs a reason."""

    case_uid: Line = Field(min_length=1, max_length=300)
    reviewer: Line = Field(min_length=1, max_length=NAME_LENGTH, description="name of the person who looked")
    verdict: Literal["accept", "reject"]
    reason: Line = Field("", max_length=REASON_LENGTH, description="why; a rejection needs one")

    @model_validator(mode="after")
    def _reasoned(self) -> "Verdict":
        if self.verdict == "reject" and not self.reason:
            raise ValueError("expected a reason for the rejection, got none")
        return self


class Review(Verdict):
    """A verdict as the log holds it: its place in the order of all, and when it was given (UTC, to the second)."""

    number: int
    at: str


def log_path(output: Path) -> Path:
    """File of the log; ``output`` is the folder of the outputs."""
    return output / "reviews" / "reviews.jsonl"


def read_reviews(output: Path) -> list[Review]:
    """All reviews in the order in which they were given.

    Args:
        output: folder of the outputs.

    Raises:
        TableError: a line is no review; names it. The last line of a writer that was killed does not count.
    """
    path = log_path(output)
    if not path.exists():
        return []
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    found = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            found.append(Review.model_validate_json(line))
        except ValidationError as error:
            raise TableError(
                f"reviews/{path.name}: line {number}: expected a review, got {line[:60]!r} "
                f"({error.errors()[0]['msg']}); put the file back as it was"
            ) from None
    return found


def add_review(output: Path, verdict: Verdict) -> Review:
    """Add a verdict to the log and renew the table ``reviews``; two writers at once wait for each other.

    Args:
        output: folder of the outputs.
        verdict: of a case that exists.

    Raises:
        TableError: the log is damaged; nothing is added.
        ConfigError: the folder cannot be written to.
    """
    path = log_path(output)
    with locked(path.with_suffix(".lock")):
        known = read_reviews(output)
        at = datetime.now(UTC).isoformat(timespec="seconds")
        review = Review(**verdict.model_dump(), number=known[-1].number + 1 if known else 1, at=at)
        _append(path, json.dumps(review.model_dump(), ensure_ascii=False, sort_keys=True).encode() + b"\n")
        write_table(output, "reviews", _last_of_each([*known, review]))
    return review


def _append(path: Path, line: bytes) -> None:
    with path.open("a+b") as out:
        size = out.seek(0, os.SEEK_END)
        if size:
            out.seek(-1, os.SEEK_END)
            if out.read(1) != b"\n":  # a writer was killed within a line: it was never answered, so it is cut off
                out.seek(0)
                out.truncate(out.read().rfind(b"\n") + 1)
        out.write(line)
        out.flush()
        os.fsync(out.fileno())


def _last_of_each(reviews: list[Review]) -> list[dict[str, Any]]:
    """Rows of ``reviews``: the last verdict of each person on each case."""
    rows = [r.model_dump(exclude={"at"}) | {"reason": r.reason or None} for r in reviews]
    return pl.DataFrame(rows, infer_schema_length=None).unique(["case_uid", "reviewer"], keep="last").to_dicts()
