from pathlib import Path

import polars as pl
import pytest

from itrialspace_assets.base.errors import TableError
from itrialspace_assets.catalog.dictionary import dictionary
from itrialspace_assets.records.schema import Table, violations
from itrialspace_assets.records.store import read_all, read_table, table_path, write_table
from itrialspace_assets.records.tables import TABLES

GOOD = {"dataset": "A", "nodule_uid": "A/1", "x": 1.0, "y": 2.0}


def test_a_good_table_reads_back_and_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    rows = [GOOD | {"nodule_uid": f"A/{i}"} for i in (3, 1, 2)]
    first = write_table(tmp_path, "nodule_map", rows).read_bytes()
    assert read_table(tmp_path, "nodule_map")["nodule_uid"].to_list() == ["A/1", "A/2", "A/3"]
    assert write_table(tmp_path, "nodule_map", rows[::-1]).read_bytes() == first


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([GOOD, GOOD], "unique key"),
        ([GOOD | {"x": None}], "x: null not allowed"),
        ([GOOD | {"x": float("inf")}], "finite"),
        ([GOOD | {"x": "wide"}], "nodule_map"),
        ([GOOD | {"z": 1.0}], "no such columns"),
    ],
)
def test_a_broken_rule_stops_the_write_and_keeps_the_old_file(
    tmp_path: Path, rows: list[dict[str, object]], message: str
) -> None:
    before = write_table(tmp_path, "nodule_map", [GOOD]).read_bytes()
    with pytest.raises(TableError, match=message):
        write_table(tmp_path, "nodule_map", rows)
    assert table_path(tmp_path, "nodule_map").read_bytes() == before


def test_allowed_values_ranges_and_partition_values_are_checked() -> None:
    table = TABLES["rejected_cases"]
    row = {"stage": "insert", "partition": "m/d", "case_uid": "c", "nodule_idx": 0, "reason": "because", "detail": ""}
    found = violations(table, table.frame([row]), stage="insert", partition="other")
    assert {v.column for v in found} == {"reason", "partition"}
    host = TABLES["host_lobes"].frame(
        [
            {
                "scan_uid": "s",
                "dataset": "d",
                "lobe": "left_lung_upper_lobe",
                "voxels": 0,
                "box": [0],
                "occupied": [0],
                "fit_radius_mm": -1.0,
            }
        ]
    )
    assert {(v.column, v.rule) for v in violations(TABLES["host_lobes"], host)} == {
        ("voxels", "expected >= 1"),
        ("fit_radius_mm", "expected >= 0"),
    }


def test_missing_and_unknown_columns_and_types_are_named() -> None:
    frame = pl.DataFrame({"nodule_uid": ["A/1"], "dataset": ["A"], "x": ["1"], "w": [1]})
    rules = {v.column: v.rule for v in violations(TABLES["nodule_map"], frame)}
    assert rules["y"] == "missing column"
    assert rules["w"] == "no such column"
    assert "expected type" in rules["x"]


def test_a_file_of_another_contract_or_a_damaged_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_table(tmp_path, "nodule_map", [GOOD])
    old = TABLES["nodule_map"]
    changed = Table(old.name, old.description, old.partition, old.key, old.columns[:-1])
    monkeypatch.setitem(TABLES, "nodule_map", changed)  # type: ignore[arg-type]
    with pytest.raises(TableError, match="contract"):
        read_table(tmp_path, "nodule_map")
    monkeypatch.undo()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TableError, match="damaged"):
        read_table(tmp_path, "nodule_map")
    path.unlink()
    with pytest.raises(TableError, match="its stage has not run"):
        read_table(tmp_path, "nodule_map")
    assert read_all(tmp_path, "nodule_map").is_empty()


def test_an_empty_partition_is_valid(tmp_path: Path) -> None:
    write_table(tmp_path, "insertions", [], mode="m", dataset="d")
    assert read_table(tmp_path, "insertions", mode="m", dataset="d").schema == TABLES["insertions"].schema


def test_every_table_is_in_the_dictionary_and_keys_are_columns() -> None:
    text = dictionary()
    for table in TABLES.values():
        assert f"## {table.name}" in text
        names = [c.name for c in table.columns]
        assert len(names) == len(set(names))
        assert {*table.key, *table.partition} <= set(names)


def test_the_profile_has_53_published_columns() -> None:
    from itrialspace_assets.records.tables import PROFILE_COLUMNS

    assert len(PROFILE_COLUMNS) == 53  # spec of the published release


def test_modes_may_share_a_slice(tmp_path: Path) -> None:
    row = {"split": "s", "source": "tissue", "slice_uid": "u", "list_sha256": "x"}
    row |= {"condition": "plain", "control": "none", "sha256": "p"}
    write_table(tmp_path, "splits", [row | {"mode": m, "name": m} for m in ("m01", "m08")])
    assert read_table(tmp_path, "splits").height == 2
