"""Tables that are written and read some rows at a time are those that are written and read at once."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from itrialspace_assets.base.errors import TableError
from itrialspace_assets.records import runs, store
from itrialspace_assets.records.by_key import ByKey
from itrialspace_assets.records.schema import errors, violations
from itrialspace_assets.records.store import TableWriter, file_violations, read_blocks, write_parts, write_table
from itrialspace_assets.records.tables import TABLES

HERE = {"source": "tissue", "reader": "mock", "mode": "m", "dataset": "d"}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 32 rows, so that some hundreds of rows are many blocks."""
    monkeypatch.setattr(runs, "_PIECE", 4)
    monkeypatch.setattr(runs, "BLOCK", 32)
    monkeypatch.setattr(store, "BLOCK", 32)


def rows(count: int) -> list[dict[str, Any]]:
    """Rows of ``detections``, 1 to 4 marks an image, in a drawn order."""
    draw = np.random.default_rng(7)
    same = HERE | {"reader_revision": "r", "world_y": 0.0, "world_z": 0.0, "score": 0.5}
    found = [
        same | {"image_uid": f"image{i:04d}", "mark": mark, "world_x": float(i)}
        for i in range(count)
        for mark in range(1 + i % 4)
    ]
    return [found[i] for i in draw.permutation(len(found))]


def parts(of: list[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    return (of[at : at + size] for at in range(0, len(of), size))


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_parts_in_any_order_make_the_bytes_of_the_whole(tmp_path: Path, size: int) -> None:
    given = rows(120)
    whole = write_table(tmp_path / "a", "detections", given, **HERE).read_bytes()
    path, count = write_parts(tmp_path / "b", "detections", parts(given, size), **HERE)
    assert (path.read_bytes(), count) == (whole, len(given))
    assert [p.name for p in path.parent.iterdir()] == [path.name], "nothing else is left there"


def test_pages_of_the_file_do_not_depend_on_the_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts that fill the dictionary of a column, 1 MiB, in the middle of the file."""
    monkeypatch.setattr(runs, "_PIECE", 100)
    monkeypatch.setattr(runs, "BLOCK", 700)
    given = [row | {"image_uid": row["image_uid"] * 80} for row in rows(2000)]
    whole = write_table(tmp_path / "a", "detections", given, **HERE).read_bytes()
    path, _ = write_parts(tmp_path / "b", "detections", parts(given, 777), **HERE)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("size", [7, 64, 10_000])
def test_row_groups_do_not_depend_on_the_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(store, "GROUP", 50)
    given = rows(120)
    path, _ = write_parts(tmp_path / "a", "detections", parts(given, size), **HERE)
    whole = write_table(tmp_path / "b", "detections", given, **HERE)
    assert path.read_bytes() == whole.read_bytes()
    footer = pq.read_metadata(path)
    assert [footer.row_group(i).num_rows for i in range(footer.num_row_groups)] == [50] * 6
    assert pl.concat(read_blocks("detections", path)).equals(TABLES["detections"].frame(given))


def test_blocks_hold_whole_keys_in_order_and_all_rows(tmp_path: Path) -> None:
    path = write_table(tmp_path, "detections", rows(120), **HERE)
    blocks = list(read_blocks("detections", path, ["mark"]))
    assert len(blocks) > 5
    keys = [set(block["image_uid"]) for block in blocks]
    assert not any(a & b for a, b in pairwise(keys))
    assert pl.concat(blocks).rows() == pl.read_parquet(path).select("image_uid", "mark").rows()


def test_what_is_broken_is_told_as_of_the_whole(tmp_path: Path) -> None:
    """A negative mark in two rows, and a row that is there twice, in another part."""
    given = rows(120)
    given[3]["mark"], given[200]["mark"] = -1, -2
    broken = [*given, given[10]]
    table = TABLES["detections"]
    said = {str(v) for v in errors(violations(table, table.frame(broken), **HERE))}
    assert len(said) == 2
    with pytest.raises(TableError) as told:
        write_parts(tmp_path, "detections", parts(broken, 9), **HERE)
    assert set(str(told.value).partition("broken: ")[2].split("; ")) == said
    given[0]["image_uid"] = None
    with pytest.raises(TableError, match="image_uid: null not allowed"):
        write_parts(tmp_path, "detections", parts(given, 9), **HERE)
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_file_that_is_not_in_order_is_told(tmp_path: Path) -> None:
    """Its keys could be twice in two blocks."""
    frame = TABLES["detections"].frame(rows(120))
    path = write_table(tmp_path, "detections", frame, **HERE)
    assert file_violations("detections", path, **HERE) == (frame.height, [])
    with TableWriter(tmp_path, "detections", **HERE) as out:
        store._to_parquet(out._table, [frame.reverse().to_arrow(compat_level=pl.CompatLevel.oldest())], path)
    _, found = file_violations("detections", path, **HERE)
    assert "expected rows sorted by the key" in {v.rule for v in found}


def test_rows_by_key_are_those_of_a_dictionary() -> None:
    frame = pl.DataFrame({"key": ["b", "a", "b", "c"], "n": [1, 2, 3, 4]})
    found = ByKey(frame, "key")
    assert dict(found) == {
        "a": [{"key": "a", "n": 2}],
        "b": [{"key": "b", "n": 1}, {"key": "b", "n": 3}],
        "c": [{"key": "c", "n": 4}],
    }
    assert "d" not in found
