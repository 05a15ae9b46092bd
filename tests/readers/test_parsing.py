"""Free text becomes an answer: the strict parser on a corpus of answers, and the published one on its known cases."""

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itrialspace_assets.imaging.anatomy import ANSWER_EDGES, answer_size
from itrialspace_assets.readers.scorers import score
from itrialspace_assets.records.tables import TASK_OPTIONS

#: One answer a line: the task, a kind (plain, refusal, echo ...), the text, and what a person reads in it: an option,
#: ``refused`` or ``none``. The texts are ours. Those of the kind ``second`` were written when the parser was done.
CORPUS = Path(__file__).with_name("corpus") / "answers.jsonl"


def scored(scorer: str, rows: list[tuple[str, str | None]]) -> pl.DataFrame:
    """``answer``, ``status`` and ``reason`` of (task, text)."""
    frame = pl.DataFrame(rows, schema={"task": pl.String, "raw_text": pl.String}, orient="row").with_columns(
        options=pl.lit(None, pl.List(pl.String)),
        option_scores=pl.lit(None, pl.List(pl.Float64)),
        failure=pl.lit(None, pl.String),
    )
    return score(frame, scorer).select("answer", "status", "reason")


def read(scorer: str, task: str, text: str | None) -> str | None:
    """The answer, or None."""
    answer: str | None = scored(scorer, [(task, text)])["answer"][0]
    return answer


def classes_of(low: int, high: int) -> int:
    """Number of size classes that a range (mm, its upper end not in it) has a share in."""
    return 1 + sum(low < edge < high for edge in ANSWER_EDGES)


@pytest.fixture(scope="module")
def corpus() -> pl.DataFrame:
    """The corpus with what the strict parser makes of it."""
    rows = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]
    read = scored("text", [(row["task"], row["text"]) for row in rows])
    return pl.concat([pl.DataFrame(rows), read], how="horizontal")


def test_the_corpus_is_large_mixed_and_labelled(corpus: pl.DataFrame) -> None:
    assert corpus.height >= 300
    kinds = {"plain", "negation", "refusal", "hedge", "echo", "empty", "long", "json", "language", "no unit", "second"}
    assert kinds <= set(corpus["kind"])
    for (task,), rows in corpus.group_by("task"):
        assert {*TASK_OPTIONS[str(task)], "refused", "none"} == set(rows["right"])
    assert corpus["text"].str.len_chars().max() > 3000
    assert not corpus.select("task", "text").is_duplicated().any()


def test_no_answer_is_wrong_and_few_are_missed(corpus: pl.DataFrame) -> None:
    """319 of 328 texts are read as a person reads them; of the others no answer is made."""
    answered = corpus.filter(pl.col("answer").is_not_null())
    assert answered.filter(pl.col("answer") != pl.col("right")).is_empty()
    has_none = pl.col("right").is_in(["refused", "none"])
    right = corpus.filter(
        pl.when(has_none).then(pl.col("answer").is_null()).otherwise(pl.col("answer") == pl.col("right"))
    )
    assert (right.height, corpus.height) == (319, 328)


def test_no_refusal_is_an_answer(corpus: pl.DataFrame) -> None:
    refusals = corpus.filter(right="refused")
    assert refusals.height > 40
    assert refusals["answer"].null_count() == refusals.height
    assert set(refusals["status"]) == {"refused"}
    others = corpus.filter(pl.col("right") == "none")
    assert set(others["status"]) == {"unparsed"}
    assert others["reason"].null_count() == 0


def test_an_option_alone_is_an_answer_and_all_of_them_are_none() -> None:
    forms = ("{}", " {}.\n", "**{}**", "Answer: {}", '{{"answer": "{}"}}')
    cases = [(t, f.format(o), o) for t, options in TASK_OPTIONS.items() for o in options for f in forms]
    cases += [(t, s.join(o), None) for t, o in TASK_OPTIONS.items() for s in (", ", " or ", "/", "\n")]
    got = scored("text", [case[:2] for case in cases])["answer"].to_list()
    assert [(*case, g) for case, g in zip(cases, got, strict=True) if g != case[2]] == []


def test_an_option_of_another_task_is_none() -> None:
    assert read("text", "presence", "5-10mm") is None
    assert read("text", "size", "present") is None
    assert read("text", "lobe", "benign") is None


def test_a_diameter_falls_into_its_class_and_a_range_into_the_one_that_holds_it() -> None:
    tenths = range(1, 1000)
    sizes = [answer_size(t / 10) for t in tenths]
    texts = [f"The nodule is about {t / 10} mm wide." for t in tenths] + [f"{t / 100:.2f} cm" for t in tenths]
    assert scored("text", [("size", text) for text in texts])["answer"].to_list() == sizes + sizes
    ranges = [(low, high) for low in range(41) for high in range(41)]
    held = [
        answer_size((low + high) / 2) if low < high and classes_of(low, high) == 1 else None for low, high in ranges
    ]
    for form in ("{}-{} mm", "between {} and {} mm", "{} mm to {} mm"):
        assert scored("text", [("size", form.format(*r)) for r in ranges])["answer"].to_list() == held


@given(st.lists(st.text(max_size=200), min_size=20, max_size=40))
@settings(max_examples=4, deadline=None)
def test_any_text_gives_an_option_or_a_reason(texts: list[str]) -> None:
    for task, options in TASK_OPTIONS.items():
        for answer, status, reason in scored("text", [(task, text) for text in texts]).rows():
            assert (answer in options and status == "ok" and reason is None) or (answer is None and reason)


@pytest.mark.parametrize(
    ("task", "text", "answer"),
    [
        # docs/facts/readers.md#published-parsers: what the published rules make of these
        ("presence", "Yes, there is a nodule and no effusion.", "absent"),
        ("presence", "I cannot tell if a nodule is present.", "present"),
        ("presence", "The nodule is not visible.", "present"),
        ("presence", "not seen", "present"),
        ("presence", "not absent", "present"),
        ("presence", "", None),
        ("presence", "unclear", None),
        ("lobe", "right_lung_lower_lobe", "right_lung_lower_lobe"),
        ("lobe", "Right lung lower lobe", "right_lung_lower_lobe"),
        ("lobe", "RUL", "right_lung_upper_lobe"),
        ("lobe", "right upper lobe, right middle lobe, right lower lobe, left upper lobe, left lower lobe",
         "right_lung_middle_lobe"),
        ("lobe", "upper lobe of the right lung", None),
        ("size", "5-10 mm", "5-10mm"),
        ("size", "10–20mm", "10-20mm"),
        ("size", "5-10", None),
        ("size", "<5", None),
        ("size", "8 mm", None),
        ("size", "5 mm to 10 mm", None),
        ("size", "<5 mm, 5-10 mm, 10-20 mm, >20 mm", "<5mm"),
        ("size", "less than 50 mm", "<5mm"),
        ("malignancy", "malignant", None),
    ],
)  # fmt: skip
def test_the_published_parser_as_it_is(task: str, text: str, answer: str | None) -> None:
    got, status, _ = scored("compat", [(task, text)]).row(0)
    assert (got, status) == (answer, "ok" if answer else "unparsed")


def test_scores_of_options_are_kept_beside_an_answer_in_words() -> None:
    frame = pl.DataFrame(
        {
            "task": ["presence"],
            "raw_text": ["Yes."],
            "options": [["present", "absent"]],
            "option_scores": [[-0.25, -2.0]],
            "failure": pl.Series([None], dtype=pl.String),
        }
    )
    assert score(frame, "text").select("answer", "score", "status", "scorer").row(0) == ("present", 1.75, "ok", "text")
