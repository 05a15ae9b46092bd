"""Verdicts of people: nothing is lost, the last one counts, and a rejected case leaves the next frozen list."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from itrialspace_assets.analysis.splits import rejected_by_people, without
from itrialspace_assets.base.errors import TableError
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.explorer.reviews.log import Verdict, add_review, log_path, read_reviews
from itrialspace_assets.records.store import read_all

CASE = "t/a/00000"


def say(output: Path, reviewer: str, verdict: str, case: str = CASE, reason: str = "it floats") -> None:
    add_review(output, Verdict(case_uid=case, reviewer=reviewer, verdict=verdict, reason=reason))


def _many(output: Path, reviewer: str) -> None:
    for number in range(5):
        say(output, reviewer, "accept", f"t/a/{number:05d}")


def test_two_people_at_once_lose_nothing(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as people:  # a lock of a file keeps out threads as it does processes
        list(people.map(_many, (tmp_path, tmp_path), ("Ada", "Ben")))
    log = read_reviews(tmp_path)
    assert [r.number for r in log] == list(range(1, 11))
    assert [sum(r.reviewer == name for r in log) for name in ("Ada", "Ben")] == [5, 5]
    assert read_all(tmp_path, "reviews").height == 10


def test_the_last_review_by_anyone_counts(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, output_dir=tmp_path)
    assert rejected_by_people(settings) == frozenset()
    say(tmp_path, "Ada", "reject")
    say(tmp_path, "Ben", "accept", reason="")
    assert rejected_by_people(settings) == frozenset()
    say(tmp_path, "Ada", "accept")
    say(tmp_path, "Ben", "reject")
    say(tmp_path, "Ada", "reject", "t/a/00001")
    assert rejected_by_people(settings) == {CASE, "t/a/00001"}
    table = read_all(tmp_path, "reviews")
    assert table.select("case_uid", "reviewer", "verdict", "number").rows() == [
        (CASE, "Ada", "accept", 3),
        (CASE, "Ben", "reject", 4),
        ("t/a/00001", "Ada", "reject", 5),
    ]
    slices = pl.DataFrame({"slice_uid": ["s0", "s1", "s2"], "case_uid": [CASE, CASE, "t/a/00002"]})
    kept, cases = without(rejected_by_people(settings), slices)
    assert (kept["slice_uid"].to_list(), cases) == (["s2"], 1)


def test_half_a_line_of_a_killed_writer_is_cut_off_and_a_damaged_log_is_refused(tmp_path: Path) -> None:
    say(tmp_path, "Ada", "accept")
    path = log_path(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"case_uid": "t/a')
    say(tmp_path, "Ben", "accept")
    assert [r.reviewer for r in read_reviews(tmp_path)] == ["Ada", "Ben"] and path.read_bytes().startswith(whole)
    path.write_bytes(b"{}\n" + whole)
    with pytest.raises(TableError, match="line 1: expected a review"):
        say(tmp_path, "Ada", "accept")
    assert path.read_bytes() == b"{}\n" + whole


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"verdict": "reject", "reason": "  "}, "expected a reason"),
        ({"reviewer": " "}, "reviewer"),
        ({"reviewer": "a\nb"}, "reviewer"),
        ({"reviewer": "x" * 81}, "reviewer"),
        ({"reason": "x" * 501}, "reason"),
        ({"verdict": "perhaps"}, "verdict"),
    ],
)
def test_what_is_no_verdict_is_refused(change: dict[str, str], told: str) -> None:
    given = {"case_uid": CASE, "reviewer": "Ada", "verdict": "accept", "reason": ""} | change
    with pytest.raises(ValidationError, match=told):
        Verdict(**given)
