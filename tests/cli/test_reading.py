"""``its evaluate``, ``its rescore`` and ``its ledger`` through Dagster, on a partition of drawn slices."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.cli.reading import ledger_app
from itrialspace_assets.graph import build_graph
from itrialspace_assets.orchestration.nodes import Node
from itrialspace_assets.readers import checks
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import read_table
from tests.cli.conftest import Done, Its
from tests.readers.conftest import PART, WHERE, read, slice_rows, study, table  # noqa: F401

Study = Callable[..., Settings]


def places(settings: Settings) -> dict[str, str]:
    return {
        "ITRIALSPACE_DATA_DIR": str(settings.data),
        "ITRIALSPACE_OUTPUT_DIR": str(settings.output),
        "ITRIALSPACE_READERS_CONFIG": str(settings.readers_config),
        "ITRIALSPACE_WORKERS": "1",
    }


@pytest.fixture
def its_on(its: Its, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Run a command on the outputs of some settings, in this process."""
    monkeypatch.setenv("DAGSTER_HOME", "")  # put back afterwards: a command sets it
    monkeypatch.delenv("DAGSTER_HOME")

    def call(settings: Settings, *arguments: str) -> Done:
        for name, value in places(settings).items():
            monkeypatch.setenv(name, value)
        return its(*arguments)

    return call


@pytest.mark.slow
def test_evaluate_asks_what_was_not_asked_and_rescore_asks_nobody(
    study: Study,  # noqa: F811
    its_on: Callable[..., Done],
) -> None:
    settings = study(24)
    where = ("--datasets", "LUNA16", "--reader", "mock", "--source", "real")
    tried = its_on(settings, "evaluate", *where, "--dry-run")
    assert tried.code == 0, tried.err
    assert (
        "real/mock (trained on nothing (answers by chance)): 144 requests of 1 partitions, 128 left, about" in tried.out
    )
    command = [sys.executable, "-m", "itrialspace_assets.cli.main", "evaluate", *where]
    env = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"} | places(settings)
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 batches and scans, about 0 s left" in done.stderr, "logged to a terminal: not in this process"
    assert table(settings, "answers").height == 144
    assert "144 requests of 1 partitions, 0 left" in its_on(settings, "evaluate", *where, "--dry-run").out
    other = study(24, "scorer: option_scores")
    again = its_on(other, "rescore", *where)
    assert again.code == 0, again.err
    assert table(settings, "answers")["scorer"].unique().to_list() == ["option_scores"]
    assert "1 made" in again.out or "made in" in again.out
    some = its_on(other, "evaluate", *where, "--max-cases", "2")
    assert some.code == 0, some.err
    assert table(settings, "answers")["slice_uid"].n_unique() == 4
    wrong = its_on(other, "evaluate", "--reader", "mok")
    assert (wrong.code, "expected names out of mock" in wrong.err) == (2, True)
    found = its_on(other, "ledger", "verify")
    assert found.code == 0, found.out
    assert "144" in found.out
    (shard,) = (p for p in (settings.output / "ledger/mock").rglob("*.parquet") if p.name != "index.parquet")
    shard.unlink()
    assert its_on(other, "ledger", "verify").code == 1
    assert its_on(other, "ledger", "compact").code == 0


def node(settings: Settings) -> Node:
    return build_graph(settings).node((REAL, "predictions", "mock"))


def test_checks_tell_what_is_wrong_with_the_answers(study: Study) -> None:  # noqa: F811
    settings = study(60)
    read(settings, "r1")
    at = node(settings)
    rules = (checks.covered, checks.answering, checks.varied, checks.answered_once)
    assert [rule(settings, at, PART)[0] for rule in rules] == [True] * 4
    refusing = study(60, "options: {refusal_rate: 0.3}")
    read(refusing, "r2")
    passed, shown = checks.answering(refusing, node(refusing), PART)
    assert not passed
    assert "task lobe, control none, answers 120, refused 0." in shown["high"].value
    failing = study(60, "options: {error_rate: 0.3}")
    read(failing, "r3")
    passed, shown = checks.covered(failing, node(failing), PART)
    assert not passed
    assert "task lobe, condition bbox, control none, wanted 60, got" in shown["low"].value


def test_a_refused_nodule_is_among_the_missed_ones(study: Study) -> None:  # noqa: F811
    from itrialspace_assets.catalog.rebuild import build, connect, questions

    settings = study(40, "options: {refusal_rate: 0.5}")
    read(settings, "r1")
    build(settings, {})
    answers = table(settings, "answers").filter(task="presence", condition="plain")
    positive = read_table(settings.output, "slices", **WHERE).filter(presence="present").select("slice_uid").unique()
    wanted = answers.join(positive, on="slice_uid").filter(pl.col("answer").ne_missing("present"))
    with connect(settings) as db:
        missed = db.sql(questions()["missed_nodules"]).pl()
        view = db.sql("SELECT * FROM predictions WHERE status_is_ok IS NULL".replace("status_is_ok", "prediction")).pl()
    assert missed.height == wanted.height
    assert (missed["parse_status"] == "refused").sum() == wanted.filter(status="refused").height > 0
    assert view["correct"].null_count() == view.height, "no answer is neither right nor wrong"


def test_the_view_knows_the_truth_of_every_task(study: Study) -> None:  # noqa: F811
    """Each answer of each option is right where it is the truth, and neither where that is not known."""
    from itrialspace_assets.catalog.rebuild import build, connect

    rows = slice_rows(study(0).output, range(24), ("plain",))
    for row in rows:
        place = int(row["slice_uid"][1:])
        row |= {"label": (place // 2) % 3 if (place // 2) % 3 < 2 else None} if row["presence"] == "present" else {}
        row |= {"lobe": "unknown"} if place == 0 else {}
    words_of = "{malignancy: {id: m, text: '{options}', paraphrase: '{options}?'}}"
    settings = study(24, f"tasks: [presence, lobe, size, malignancy], prompts: {words_of}", rows)
    read(settings, "r1")
    build(settings, {})
    with connect(settings) as db:
        view = db.sql("SELECT * FROM predictions").pl()
    truth = {"presence": "presence", "lobe": "lobe", "size": "size_class"}
    words = {1: "malignant", 0: "benign", None: None}
    of = {r["slice_uid"]: r for r in rows}
    for r in view.iter_rows(named=True):
        row = of[r["slice_uid"]]
        known = words[row.get("label")] if r["task"] == "malignancy" else row[truth[r["task"]]]
        assert r["ground_truth"] == known
        assert r["correct"] == (None if known in (None, "unknown") else r["prediction"] == known), r
    assert set(view.filter(task="malignancy")["correct"]) == {True, False, None}


def test_a_reader_that_does_not_read_the_source_is_said(study: Study, its_on: Callable[..., Done]) -> None:  # noqa: F811
    done = its_on(study(2, "sources: [real]"), "evaluate", "--reader", "mock", "--source", "tissue", "--dry-run")
    assert (done.code, "expected a reader of tissue among mock, got none" in done.err) == (2, True), done.err


@pytest.mark.parametrize("command", ["verify", "compact"])
def test_a_ledger_that_is_not_there_is_said(study: Study, its_on: Callable[..., Done], command: str) -> None:  # noqa: F811
    settings = study(2)
    none = its_on(settings, "ledger", command)
    assert (none.code, "expected a ledger, found none; ask a reader with `its evaluate`" in none.err) == (2, True)
    read(settings, "r1")
    wrong = its_on(settings, "ledger", command, "--reader", "mock, mok")
    assert (wrong.code, "--reader: expected names out of mock, got mok; nothing was asked" in wrong.err) == (2, True)
    assert its_on(settings, "ledger", command, "--reader", " mock").code == 0


def test_the_group_has_help() -> None:
    assert {c.name for c in ledger_app.registered_commands} == {"verify", "compact"}


def test_an_ids_file_is_made_of_a_split(study: Study, tmp_path: Path) -> None:  # noqa: F811
    from itrialspace_assets.analysis.frozen import ListKey, freeze
    from itrialspace_assets.cli.reading import _ids

    settings = study(4)
    slices = read_table(settings.output, "slices", **WHERE).filter(pl.col("slice_uid").is_in(["s0001", "s0002"]))
    freeze(settings, ListKey("demo_v1", "real", "real-LUNA16"), slices, "all")
    assert _ids(settings).read_text().split() == ["s0001", "s0002"]
