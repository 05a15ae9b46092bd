"""``/api/reviews``: people accept or reject cases, by name; and what they said so far."""

from typing import Annotated

from fastapi import APIRouter, Query

from itrialspace_assets.base.nearest import not_found
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.explorer.reviews.log import READY_REASONS, Review, Verdict, add_review, read_reviews
from itrialspace_assets.explorer.server.security import Uid
from itrialspace_assets.explorer.server.state import RootOf
from itrialspace_assets.records.store import read_all

router = APIRouter(prefix="/api", tags=["reviews"])

#: Most reviews of an answer, the last ones; ours.
MOST_REVIEWS = 1000


class Reviews(StrictModel):
    """Reviews in the order in which they were given, how many there are, and reasons that are offered."""

    total: int
    reviews: list[Review]
    ready_reasons: tuple[str, ...]


@router.get("/reviews")
def get_reviews(
    root: RootOf,
    uid: Annotated[Uid | None, Query(description="case_uid: of this case only")] = None,
    reviewer: Annotated[str | None, Query(max_length=80, description="by this person only")] = None,
) -> Reviews:
    """The last reviews, of one case or of one person if asked."""
    found = [
        review
        for review in read_reviews(root.settings.output)
        if uid in (None, review.case_uid) and reviewer in (None, review.reviewer)
    ]
    return Reviews(total=len(found), reviews=found[-MOST_REVIEWS:], ready_reasons=READY_REASONS)


@router.post("/reviews")
def post_review(root: RootOf, verdict: Verdict) -> Review:
    """Accept or reject a case. The last review by anyone counts; a rejected case leaves the next frozen list."""
    known = read_all(root.settings.output, "cases", ["case_uid"])["case_uid"]
    if verdict.case_uid not in known:
        raise not_found("case_uid", verdict.case_uid, known.to_list())
    return add_review(root.settings.output, verdict)
