"""The ledger: whole batches or none, few files, one answer a key, and damage that is named."""

import multiprocessing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from itrialspace_assets.base.errors import TableError
from itrialspace_assets.readers import ledger as ledgers
from itrialspace_assets.readers.ledger import Ledger


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of ten answers."""
    monkeypatch.setattr(ledgers, "FULL", 10)


def rows(first: int, count: int, text: str = "present", at: int = 1) -> list[dict[str, Any]]:
    return [
        {
            "generation_key": f"k{i:05}",
            "picture_sha256": f"p{i}",
            "condition": "plain",
            "control": "none",
            "task": "presence",
            "prompt_id": "p_1",
            "prompt_sha256": "h",
            "options": ["present", "absent"],
            "option_scores": None if i % 2 else [0.1 * i, 1 / 3],
            "outside_log_mass": None,
            "raw_text": text,
            "seconds": 0.001,
            "asked_ns": at,
        }
        for i in range(first, first + count)
    ]


def keys(first: int, count: int) -> pl.Series:
    return pl.Series([f"k{i:05}" for i in range(first, first + count)], dtype=pl.String)


def test_what_was_appended_is_found_before_and_after_compaction(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l")
    assert ledger.lookup(keys(0, 3)).height == 0
    for start in range(0, 47, 4):
        ledger.append(rows(start, 4))
    before = ledger.rows()
    assert before["generation_key"].to_list() == keys(0, 48).to_list()
    assert before.row(6, named=True) == rows(6, 1)[0], "numbers come back bit for bit"
    found = ledger.lookup(keys(30, 40)).sort("generation_key")
    assert found.equals(before.filter(pl.col("generation_key") >= "k00030"))
    ledger.compact()
    assert len(ledger.shards()) == 4
    assert ledger.tails() == []
    assert ledger.rows().equals(before)
    assert ledger.lookup(keys(30, 40)).sort("generation_key").equals(found)
    assert ledger.verify() == []
    assert ledger.compact() == (4, 4), "nothing is left to gather"


def test_only_shards_that_hold_a_key_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path / "l")
    for start in range(0, 60, 10):
        ledger.append(rows(start, 10))
    ledger.compact()
    opened: list[Path] = []
    real = ledgers._read_shards

    def counted(paths: list[Path], *more: Any) -> pl.DataFrame:
        opened.extend(paths)
        return real(paths, *more)

    monkeypatch.setattr(ledgers, "_read_shards", counted)
    assert ledger.lookup(keys(23, 2)).height == 2
    assert len(opened) == 1
    ledger.append(rows(60, 10))  # newer than the index
    assert ledger.lookup(keys(64, 2)).height == 2


@pytest.mark.parametrize("kept", [4, 20, 300])
def test_a_batch_that_was_written_in_part_is_none(tmp_path: Path, kept: int) -> None:
    killed, other = Ledger(tmp_path / "l"), Ledger(tmp_path / "l")
    killed.append(rows(0, 3))
    (tail,) = killed.tails()
    whole = tail.read_bytes()
    killed.append(rows(3, 3))
    tail.write_bytes(tail.read_bytes()[: len(whole) + kept])
    other.append(rows(6, 2))
    want = [*keys(0, 3), *keys(6, 2)]
    assert other.keys().sort().to_list() == want
    killed._held.close()  # as the end of its process does
    other.seal()
    other.compact()
    assert other.keys().sort().to_list() == want
    spoiled = bytearray(whole)
    spoiled[-40] ^= 1
    tail.write_bytes(bytes(spoiled))
    assert ledgers._read_tail(tail).is_empty(), "neither is one whose bytes changed"


def test_the_answer_that_was_asked_for_first_counts(tmp_path: Path) -> None:
    first, second = Ledger(tmp_path / "l"), Ledger(tmp_path / "l")
    second.append(rows(0, 2, "absent", at=2))
    first.append(rows(0, 2, "present", at=1))
    second.append(rows(2, 2, at=3))
    assert first.lookup(keys(0, 2))["raw_text"].to_list() == ["present"] * 2
    (problem, _) = first.verify()
    assert "expected one answer, got 2 that differ" in problem.what
    assert first.compact() == (2, 2), "a tail that a process still appends to is left alone"
    first.seal()
    second.seal()
    assert first.compact() == (2, 1)
    assert first.rows()["raw_text"].to_list() == ["present"] * 4
    assert first.verify() == []


def _write(folder: Path, start: int) -> None:
    ledgers.FULL = 10
    ledger = Ledger(folder)
    for i in range(start, start + 200, 4):
        ledger.append(rows(i, 4))
        if i % 40 == 0:
            try:
                ledger.compact()
            except TableError as error:
                assert "under way" in str(error)


@pytest.mark.slow
def test_writers_and_compaction_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(tmp_path / "l", 200 * n)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    ledger = Ledger(tmp_path / "l")
    assert [w.exitcode for w in writers] == [0, 0, 0]
    assert ledger.keys().sort().to_list() == keys(0, 600).to_list()
    ledger.compact()
    assert ledger.keys().sort().to_list() == keys(0, 600).to_list()
    assert len(ledger.shards()) <= 60
    assert ledger.verify() == []


def test_damage_is_named(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "mock" / "r1")
    for start in range(0, 30, 10):
        ledger.append(rows(start, 10))
    ledger.compact()
    bad, gone, _ = ledger.shards()
    lost = pl.read_parquet(gone).height
    gone.unlink()
    bad.write_bytes(bad.read_bytes()[:-20])
    found = {p.file: p.what for p in ledger.verify()}
    assert "got other content; remove the file" in found[bad.name]
    assert f"{lost} answers that it lists are in no file" in found["index.parquet"]
    with pytest.raises(TableError, match=rf"mock/r1/{bad.name}: expected a shard"):
        ledger.rows()
