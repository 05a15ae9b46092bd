"""What scorers make of generations, and what the writer refuses to call an answer."""

from pathlib import Path

import polars as pl
import pytest

from itrialspace_assets.base.errors import TableError
from itrialspace_assets.readers.scorers import score
from itrialspace_assets.records.store import write_table
from itrialspace_assets.records.tables import TASK_OPTIONS

COLUMNS = ("task", "options", "option_scores", "raw_text", "failure")


def scored(scorer: str, *rows: tuple) -> list[tuple]:
    """(answer, score, status, reason) of rows of task, options, scores, text and failure."""
    schema = [pl.String, pl.List(pl.String), pl.List(pl.Float64), pl.String, pl.String]
    frame = pl.DataFrame(rows, schema=dict(zip(COLUMNS, schema, strict=True)), orient="row")
    return score(frame, scorer).select("answer", "score", "status", "reason").rows()


def test_the_greatest_score_answers_and_a_tie_does_not() -> None:
    two, three = ["present", "absent"], ["<5mm", "5-10mm", "10-20mm", ">20mm"]
    assert scored(
        "option_scores",
        ("presence", two, [0.75, 0.25], None, None),
        ("presence", two[::-1], [0.75, 0.25], None, None),
        ("size", three, [0.0, 3.0, 1.0, 2.0], None, None),
        ("presence", two, [0.5, 0.5], None, None),
        ("presence", two, None, "yes", None),
        ("presence", two, None, None, "unreadable_volume: gone"),
    ) == [
        ("present", 0.5, "ok", None),
        ("absent", -0.5, "ok", None),
        ("5-10mm", None, "ok", None),
        (None, None, "unparsed", "options tie"),
        (None, None, "unparsed", "no option scores"),
        (None, None, "error", "unreadable_volume: gone"),
    ]


def test_a_spot_is_present_from_its_threshold_on_and_sized_by_its_diameter() -> None:
    two, sizes = ["present", "absent"], list(TASK_OPTIONS["size"])
    assert scored(
        "spot",
        ("presence", two, [480.0, 480.0], None, None),
        ("presence", two, [479.9, 480.0], None, None),
        ("size", sizes, None, "4.2 mm", None),
        ("size", sizes, None, "5.0 mm", None),
        ("size", sizes, None, "26.9 mm", None),
    ) == [
        ("present", 480.0, "ok", None),
        ("absent", 479.9, "ok", None),
        ("<5mm", None, "ok", None),
        ("5-10mm", None, "ok", None),
        (">20mm", None, "ok", None),
    ]


def answer_row(**other: object) -> dict[str, object]:
    row = {
        "target_uid": "t", "slice_uid": "s", "profile": "lung_axial", "z_offsets": "0", "condition": "plain",
        "control": "none", "task": "presence", "scorer": "text", "source": "real", "reader": "mock", "mode": "real",
        "dataset": "D", "generation_key": "k", "picture_sha256": "p", "scorer_version": "1", "answer": "present",
        "score": 0.5, "status": "ok", "reason": None,
    }  # fmt: skip
    return row | other


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "unparsed", "reason": "x", "score": None},  # an answer that was not parsed
        {"answer": None, "score": None},  # ok without an answer
        {"answer": "yes"},
        {"answer": "5-10mm"},  # an option of another task
        {"answer": None, "status": "refused", "reason": "x"},  # a score without an answer
        {"answer": None, "status": "refused", "score": None},  # no reason
    ],
)
def test_the_writer_refuses_an_answer_that_contradicts_its_status(tmp_path: Path, wrong: dict[str, object]) -> None:
    where = {"source": "real", "reader": "mock", "mode": "real", "dataset": "D"}
    write_table(tmp_path, "answers", [answer_row()], **where)
    with pytest.raises(TableError, match="rules broken"):
        write_table(tmp_path, "answers", [answer_row(**wrong)], **where)
