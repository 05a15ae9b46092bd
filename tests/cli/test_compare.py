"""``its compare`` on a run of a few slices: planted flips counted exactly, a changed trial refused, ids named."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.readers.ledger import Ledger
from itrialspace_assets.records.store import write_table
from tests.analysis.small_run import MODE, answers, run_settings, sha, slices, write_answers, write_slices

from .conftest import Its

CASES = 12
READERS = "readers: {mock: {enabled: true, tasks: [presence]}}"


def answered(settings: Settings, every: pl.DataFrame, reader: str, wrong: dict[int, str]) -> pl.DataFrame:
    """Right answers but those of some cases: wrong on both slices, on the lesion alone, or refused on it.

    Args:
        settings: which readers there are.
        every: rows of slices.
        reader: who answers.
        wrong: case -> both, lesion or refused.
    """
    case, lesion = pl.col("case_uid").str.slice(-5).cast(pl.Int64), pl.col("presence") == "present"
    other = pl.when(lesion).then(pl.lit("absent")).otherwise(pl.lit("present"))
    kinds = {k: case.is_in([c for c, w in wrong.items() if w == k]) for k in ("both", "lesion", "refused")}
    turned = kinds["both"] | (kinds["lesion"] & lesion)
    none = kinds["refused"] & lesion
    said = every.with_columns(
        answer=pl.when(none).then(None).when(turned).then(other).otherwise(pl.col("presence")),
        status=pl.when(none).then(pl.lit("refused")).otherwise(pl.lit("ok")),
    )
    score = pl.when(pl.col("answer") == "present").then(case + 1.0).when(pl.col("answer") == "absent").then(-case - 1.0)
    return answers(settings, reader, said.with_columns(score=score))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, pl.DataFrame]:
    """Twelve cases read by blob, wrong on cases 0 and 1, and by mock, wrong on case 1, the lesion of 2, refusing 3."""
    settings = run_settings(tmp_path / "new", READERS)
    monkeypatch.setenv("ITRIALSPACE_DATA_DIR", str(settings.data))
    monkeypatch.setenv("ITRIALSPACE_OUTPUT_DIR", str(settings.output))
    monkeypatch.setenv("ITRIALSPACE_READERS_CONFIG", str(settings.readers_config))
    every = slices(CASES)
    write_slices(settings, every)
    write_answers(settings, "blob", answered(settings, every, "blob", {0: "both", 1: "both"}))
    write_answers(settings, "mock", answered(settings, every, "mock", {1: "both", 2: "lesion", 3: "refused"}))
    return settings, every


Run = tuple[Settings, pl.DataFrame]


def found(its: Its, *words: str) -> dict:
    done = its("compare", *words, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_planted_flips_are_counted_exactly(its: Its, run: Run) -> None:
    got = found(its, "blob", "mock", "--metric", "accuracy")
    (one,) = got["sources"]
    counts = {k: one[k] for k in ("n", "improved", "regressed", "both_right", "both_wrong", "unanswered_b")}
    assert counts == {
        "n": 24, "improved": 2, "regressed": 2, "both_right": 18, "both_wrong": 2, "unanswered_b": 1
    }  # fmt: skip
    assert (one["a"]["estimate"], one["b"]["estimate"]) == (pytest.approx(20 / 24), pytest.approx(20 / 24))
    assert one["difference"]["estimate"] == 0
    assert one["difference"]["low"] < 0 < one["difference"]["high"]
    assert 0 < one["p"] <= 1
    assert sorted((f["flip"], f["case_uid"][-1], f["b_answer"]) for f in got["flips"]) == [
        ("improved", "0", "absent"), ("improved", "0", "present"), ("regressed", "2", "absent"),
        ("regressed", "3", None),
    ]  # fmt: skip
    levels = {(x["factor"], x["level"]): (x["improved"], x["regressed"], x["n"]) for x in got["levels"]}
    assert levels["size_bucket", "5-10mm"] == (1, 2, 12)
    assert levels["nodule", "none"] == (1, 0, 12)
    back = found(its, "mock", "blob", "--metric", "sensitivity")["sources"][0]
    assert (back["improved"], back["regressed"]) == (2, 2)
    assert back["difference"]["estimate"] == pytest.approx(10 / 12 - 9 / 12), "B less A"


def test_a_condition_chooses_and_reads_no_file(its: Its, run: Run, tmp_path: Path) -> None:
    got = found(its, "blob", "mock", "--metric", "accuracy", "--where", "presence = 'present' AND a_score < 0 -- flips")
    assert (got["sources"][0]["n"], got["sources"][0]["improved"]) == (2, 1)
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    for where, says in (
        (f"(SELECT count(*) FROM read_csv('{secret}')) > 0", "disabled by configuration"),
        (f"(SELECT count(*) FROM '{secret}') > 0", "DuckDB says"),
        ("1=1); CREATE TABLE x AS SELECT (1", "expected one condition, got 2 statements"),
        ("sizes = 3", "DuckDB says: Binder Error"),
        ("a_answer", "DuckDB says"),
    ):
        done = its("compare", "blob", "mock", "--where", where)
        assert (done.code, says in done.err, "Traceback" in done.err) == (2, True, False), done.err
    assert "found none of 0" in its("compare", "blob", "mock", "--where", "a_score > 1000").err


def test_missing_and_repeated_answers_are_named(its: Its, run: Run) -> None:
    settings, every = run
    rows = answered(settings, every, "mock", {})
    again = rows.filter(pl.col("target_uid") == every["target_uid"][0]).with_columns(profile=pl.lit("other"))
    gone = rows.filter(pl.col("target_uid").is_in(every["target_uid"].unique(maintain_order=True)[2:15].implode()))
    write_answers(settings, "mock", pl.concat([rows.join(gone, on="target_uid", how="anti"), again]))
    got = found(its, "blob", "mock", "--metric", "accuracy")
    assert (got["only_a"]["count"], got["only_b"]["count"], got["twice_b"]["count"]) == (13, 0, 1)
    assert len(got["only_a"]["first"]) == 10
    assert got["twice_b"]["first"] == [f"tissue/{every['published_id'][0]}"]
    assert got["sources"][0]["n"] == 24 - 13 - 1
    said = its("compare", "blob", "mock").err
    assert "13 slices are in A alone and do not count" in said
    assert "; and 3 more" in said


def test_a_changed_trial_is_no_changed_model(its: Its, run: Run, tmp_path: Path) -> None:
    settings, _ = run
    shutil.copytree(settings.output, tmp_path / "old")
    same = found(its, f"{tmp_path / 'old'}:mock", "mock")
    assert (same["sources"][0]["n"], same["flips"]) == (24, [])
    other = slices(CASES, pictures="rendered again").filter(pl.col("case_uid").str.ends_with("7"))
    old = settings.model_copy(update={"output_dir": tmp_path / "old"})
    every = pl.concat([slices(CASES).filter(~pl.col("case_uid").str.ends_with("7")), other])
    write_table(old.output, "slices", every, source="tissue", mode=MODE, dataset="LUNA25")
    write_answers(old, "mock", answered(old, every, "mock", {7: "both"}))
    done = its("compare", f"{tmp_path / 'old'}:mock", "mock")
    assert done.code == 2
    assert "2 slices are other pictures or targets, first: tissue/" in done.err
    got = found(its, f"{tmp_path / 'old'}:mock", "mock", "--leave-out-changed")
    assert (got["changed"]["count"], got["sources"][0]["n"], got["sources"][0]["improved"]) == (2, 22, 0)
    (tmp_path / "old/tables/cases" / MODE).mkdir(parents=True)
    (tmp_path / "old/tables/cases" / MODE / "part.parquet").write_bytes(b"another plan")
    assert f"the manifests of {MODE} differ" in its("compare", f"{tmp_path / 'old'}:mock", "mock").err
    assert "expected an output folder" in its("compare", f"{tmp_path / 'none'}:mock", "mock").err


def test_revisions_come_from_the_ledger(its: Its, run: Run) -> None:
    settings, every = run
    for revision, wrong in (("aaaa11", {0: "both"}), ("bbbb22", {1: "both", 2: "lesion"})):
        said = answered(settings, every, "mock", wrong).sort("target_uid", "condition")
        Ledger.of(settings, "mock", revision).append(
            [
                {
                    "generation_key": sha(revision, *row)[:32], "picture_sha256": row[0], "condition": row[1],
                    "control": "none", "task": "presence", "prompt_id": "p", "prompt_sha256": "q",
                    "options": ["present", "absent"], "option_scores": None, "outside_log_mass": None,
                    "raw_text": row[2], "seconds": 0.1, "asked_ns": 1,
                }
                for row in said.select("picture_sha256", "condition", "answer").iter_rows()
            ]
        )  # fmt: skip
    got = found(its, "mock@aaaa", "mock@bbbb", "--metric", "accuracy")
    assert (got["a"]["revisions"], got["b"]["revisions"]) == (["aaaa11"], ["bbbb22"])
    (one,) = got["sources"]
    assert (one["n"], one["improved"], one["regressed"], one["both_wrong"]) == (24, 2, 3, 0)
    assert "revisions of mock in the ledger: aaaa11, bbbb22" in its("compare", "mock@cccc", "mock").err


def test_the_page_stands_alone_and_shows_the_flips(its: Its, run: Run, tmp_path: Path) -> None:
    settings, every = run
    for path in every.filter(pl.col("condition") == "plain")["path"]:
        (settings.output / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(settings.output / path)
    done = its("compare", "blob", "mock", "--metric", "accuracy", "--out", str(tmp_path / "cmp"))
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == f"Result: {tmp_path / 'cmp' / 'compare.html'}"
    page = (tmp_path / "cmp" / "compare.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "A absent, B present" in page
    assert "B refused" in page
    assert "http" not in page
    assert str(tmp_path) not in page
    assert pl.read_csv(tmp_path / "cmp" / "flips.csv").height == 4


def test_wrong_words_say_what_is_expected(its: Its, run: Run) -> None:
    for words, says in (
        (("blob", "nobody"), "readers with answers there: blob, mock"),
        (("blob", "mock", "--metric", "aucc"), "expected one of auc, "),
        (("blob", "mock", "--task", "colour"), "--task 'colour': expected one of presence"),
        (("blob", "mock", "--condition", "contour"), "expected slices under contour"),
        (("Blob!", "mock"), "expected READER, FOLDER:READER or READER@REVISION"),
    ):
        done = its("compare", *words)
        assert (done.code, says in done.err) == (2, True), done.err
