"""Searches, each against plain Python over the rows of the table."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from itrialspace_assets.base.errors import ConfigError, NotFound, TableError
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.explorer.search import columns as columns_module
from itrialspace_assets.explorer.search import export, find, near, one
from itrialspace_assets.explorer.search.columns import Columns
from itrialspace_assets.explorer.search.filters import Filter, rows_of
from itrialspace_assets.explorer.search.find import NoduleQuery, NoduleSearch, search
from tests.explorer.search.nodules import LOBES, frame, write

NODULES = frame()
ROWS = NODULES.rows(named=True)
DIAMETER = "reinsertion_nodule_diam_mm"


@pytest.fixture(scope="module")
def columns(tmp_path_factory: pytest.TempPathFactory) -> Columns:
    return Columns(write(tmp_path_factory.mktemp("out"), NODULES))


def meets(row: dict, one: dict) -> bool:
    """What a filter means, in plain Python."""
    if "uids" in one:
        return row["nodule_uid"] in one["uids"]
    value = row[one["column"]]
    if "any" in one:
        return value in one["any"]
    if "missing" in one:
        return (value is None) == one["missing"]
    if value is None:
        return False
    if "contains" in one:
        return one["contains"].lower() in value.lower()
    return one.get("low", -np.inf) <= value <= one.get("high", np.inf)


FILTERS = st.one_of(
    st.builds(
        lambda v: {"column": "dataset", "any": v}, st.lists(st.sampled_from(["D0", "D1", "D2", "no"]), min_size=1)
    ),
    st.builds(lambda v: {"column": "label", "any": v}, st.lists(st.sampled_from([0, 1, None]), min_size=1)),
    st.builds(lambda v: {"column": "has_ct", "any": [v]}, st.booleans()),
    st.builds(lambda v: {"column": "size_bucket", "any": v}, st.lists(st.sampled_from(["<5mm", None]), min_size=1)),
    st.builds(lambda low, w: {"column": DIAMETER, "low": low, "high": low + w}, st.integers(0, 90), st.integers(0, 60)),
    st.builds(lambda low: {"column": "age", "low": low}, st.integers(30, 95)),
    st.builds(lambda high: {"column": "age", "high": high}, st.integers(40, 90)),  # ages are whole: ends count
    st.builds(lambda v: {"column": "age", "missing": v}, st.booleans()),
    st.builds(lambda v: {"column": "person_uid", "contains": v}, st.sampled_from(["p1", "P2", "7", "x"])),
    st.builds(lambda v: {"uids": [f"D{i % 3}/n{i:04d}" for i in v]}, st.lists(st.integers(0, 400))),
)


@given(st.lists(FILTERS, max_size=4), st.sampled_from(["", "d1", "S4", "N00"]), st.sampled_from([2, 7, 30]))
@hypothesis_settings(max_examples=35)
def test_a_search_equals_plain_python(columns: Columns, filters: list[dict], text: str, bins: int) -> None:
    def has_text(row: dict) -> bool:
        return any(text.lower() in row[c].lower() for c in ("nodule_uid", "scan_uid", "person_uid"))

    def without(column: str | None) -> list[dict]:
        kept = [f for f in filters if column is None or f.get("column") != column]
        return [r for r in ROWS if has_text(r) and all(meets(r, f) for f in kept)]

    facets, histograms = ("dataset", "label", "size_bucket", "has_ct"), (DIAMETER, "age")
    asked = {"filters": filters, "text": text, "facets": facets, "histograms": histograms, "bins": bins, "limit": 7}
    found = search(columns, NoduleSearch.model_validate_json(json.dumps(asked)))
    wanted = without(None)
    assert found.total == len(wanted)
    assert [r["nodule_uid"] for r in found.rows] == [r["nodule_uid"] for r in wanted[:7]]
    for facet in found.facets:
        values = [r[facet.column] for r in without(facet.column)]
        assert {v.value: v.count for v in facet.values if v.count} == {v: values.count(v) for v in set(values)}
    for histogram in found.histograms:
        values = [r[histogram.column] for r in without(histogram.column)]
        known = [v for v in values if v is not None]
        everything = [r[histogram.column] for r in ROWS if r[histogram.column] is not None]
        assert histogram.edges == tuple(np.linspace(min(everything), max(everything), bins + 1).tolist())
        assert list(histogram.counts) == np.histogram(known, histogram.edges)[0].tolist()
        assert histogram.missing == len(values) - len(known)


@given(
    st.sampled_from(["age", DIAMETER, "label", "size_bucket", "person_uid", "has_ct"]),
    st.booleans(),
    st.integers(0, 310),
    st.integers(0, 50),
)
@hypothesis_settings(max_examples=60)
def test_pages_follow_the_order_with_missing_values_last(
    columns: Columns, column: str, descending: bool, offset: int, limit: int
) -> None:
    found = search(columns, NoduleSearch(sort=column, descending=descending, offset=offset, limit=limit))
    known = sorted((r for r in ROWS if r[column] is not None), key=lambda r: r[column], reverse=descending)
    wanted = [*known, *(r for r in ROWS if r[column] is None)][offset : offset + limit]
    assert [r["nodule_uid"] for r in found.rows] == [r["nodule_uid"] for r in wanted]


def test_both_ends_of_a_range_count(columns: Columns) -> None:
    age = next(r["age"] for r in ROWS if r["age"] is not None)
    both = {"column": "age", "low": age, "high": age}
    assert search(columns, NoduleSearch(filters=(both,))).total == sum(r["age"] == age for r in ROWS) > 0


def test_many_codes_are_counted_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.random.default_rng(0).integers(0, 201, 1001).astype(np.uint8)
    few = find._counted(codes, 200)
    monkeypatch.setattr(find, "_MANY", 0)
    assert find._counted(codes, 200) == few == [codes.tolist().count(code) for code in range(201)]


def test_facets_have_every_value_in_its_order(columns: Columns) -> None:
    asked = NoduleSearch(filters=({"column": "label", "any": [1]},), facets=("size_bucket", "label"), limit=0)
    sizes, labels = search(columns, asked).facets
    assert [v.value for v in sizes.values] == ["<5mm", "5-10mm", ">30mm", None], "in order of size, missing last"
    assert [v.value for v in labels.values] == [0, 1, None], "over all other filters"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"facets": ["diam"]}, "expected a column of the index"),
        ({"facets": ["nodule_uid"]}, "at most 200 different values"),
        ({"histograms": ["dataset"]}, "expected a column of numbers"),
        ({"sort": "no"}, "expected a column of the index"),
        ({"columns": ["no"]}, "expected a column of the index"),
        ({"filters": [{"column": "dataset", "low": 1}]}, "expected a column of numbers"),
        ({"filters": [{"column": "label", "any": ["1"]}]}, "expected values of type integer"),
        ({"filters": [{"column": "label", "any": [True]}]}, "expected values of type integer"),
        ({"filters": [{"column": "label", "any": [2**70]}]}, "64 bits"),
        ({"filters": [{"column": "age", "contains": "1"}]}, "expected a column of text"),
    ],
)
def test_what_cannot_be_answered_says_what_is_expected(columns: Columns, asked: dict, message: str) -> None:
    search(columns, NoduleSearch(filters=({"column": "label", "any": [1]},)))  # what is kept of it answers nothing else
    with pytest.raises(ConfigError, match=message):
        search(columns, NoduleSearch.model_validate(asked))


@pytest.mark.parametrize(
    "wrong",
    [
        {"column": "age"},
        {"column": "age", "low": "nan"},
        {"column": "age", "low": 1, "any": [1]},
        {"column": "age", "any": []},
        {"uids": ["a"], "column": "age"},
    ],
)
def test_a_filter_is_of_one_kind(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Filter).validate_python(wrong)


def test_like_nodules_equal_the_formula_and_say_what_differs(columns: Columns) -> None:
    """Independent: the index's own answer is compared with brute force in tests/index; here: rows and differences."""
    asked = near.SimilarQuery(uid="D1/n0001", k=5, weights={"lobe": 9}, filters=({"column": "dataset", "any": ["D2"]},))
    found = near.similar(columns, asked)
    given = next(r for r in ROWS if r["nodule_uid"] == "D1/n0001")
    assert found.candidates == sum(r["dataset"] == "D2" for r in ROWS)
    distances = [n.distance or 0.0 for n in found.nodules]
    assert distances == sorted(distances)
    for nodule in found.nodules:
        row = next(r for r in ROWS if r["nodule_uid"] == nodule.row["nodule_uid"])
        assert row["dataset"] == "D2" and row["person_uid"] != given["person_uid"]
        for d in nodule.differences:
            a, b = row[d.column], given[d.column]
            assert d.difference == (None if a is None or b is None else pytest.approx(a - b, abs=1e-4))
        assert ("lobe" in nodule.differs) == (row["reinsertion_lobe"] != given["reinsertion_lobe"])


def test_tolerances_leave_out_donors_but_do_not_change_scores(columns: Columns, tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, output_dir=tmp_path)
    place = {"lobe": "LUL", "cc_pct": 50, "pleural_mm": 20, "diameter_mm": 30, "k": 500}
    everyone = near.match(columns, settings, near.DonorQuery(**place))
    within = near.match(
        columns, settings, near.DonorQuery(**place, same_lobe=True, cc_tolerance_pct=30, diameter_tolerance_mm=20)
    )
    scores = {n.row["nodule_uid"]: n.score for n in everyone.nodules}
    wanted = {
        r["nodule_uid"]
        for r in ROWS
        if r["reinsertion_lobe"] == LOBES[0]
        and abs((r["reinsertion_lobe_cc_pct"] or 1e9) - 50) <= 30
        and abs((r[DIAMETER] or 1e9) - 30) <= 20
    }
    assert {n.row["nodule_uid"] for n in within.nodules} == wanted and len(wanted) > 3
    assert all(n.score == scores[n.row["nodule_uid"]] and n.differs == () for n in within.nodules)
    with pytest.raises(ConfigError, match="tolerance cc"):
        near.match(columns, settings, near.DonorQuery(lobe="LUL", cc_tolerance_pct=1))


def test_detail_has_every_column_and_the_others_of_the_scan(columns: Columns) -> None:
    found = one.detail(columns, "D2/n0008")
    given = next(r for r in ROWS if r["nodule_uid"] == "D2/n0008")
    assert found.values == given
    others = {r["nodule_uid"] for r in ROWS if r["scan_uid"] == given["scan_uid"]} - {"D2/n0008"}
    assert {r["nodule_uid"] for r in found.companions} == others and others
    for uid in ("D2/n9999", "D0/n0001", ""):  # after the last one, between two, before the first
        with pytest.raises(NotFound):
            columns.row(uid)


@pytest.mark.parametrize("format", ["csv", "json", "parquet"])
@pytest.mark.parametrize("low", [50, 1000])
def test_an_export_holds_every_row_that_was_found(columns: Columns, tmp_path: Path, format: str, low: int) -> None:
    asked = export.Export(filters=({"column": "age", "low": low},), format=format)
    path = tmp_path / "export"
    path.write_bytes(b"".join(export.pieces(columns, export.wanted(columns, asked), asked.format)))
    wanted = NODULES.filter(pl.col("age") >= low)
    if format == "csv":
        assert pl.read_csv(path, schema=NODULES.schema).equals(wanted)
    elif format == "parquet":
        assert pl.read_parquet(path).equals(wanted)
    else:
        assert json.loads(path.read_text()) == wanted.to_dicts()


def test_an_export_of_chosen_nodules_keeps_only_those_that_meet_the_filters(columns: Columns) -> None:
    asked = export.Export(uids=("D0/n0000", "D1/n0001", "no"), filters=({"column": "dataset", "any": ["D1"]},))
    assert np.flatnonzero(export.wanted(columns, asked)).tolist() == [columns.row("D1/n0001")]


def test_columns_are_described_with_what_they_hold(columns: Columns) -> None:
    found = {c.name: c for c in columns.described()}
    ages = NODULES["age"]
    assert (found["age"].low, found["age"].high, found["age"].missing) == (ages.min(), ages.max(), ages.null_count())
    assert found["dataset"].values == ("D0", "D1", "D2") and found["nodule_uid"].values == ()
    assert found["missing_because"].missing == len(ROWS) and found["missing_because"].values == ()


@pytest.mark.parametrize(("small", "batch"), [(1000, 1000), (0, 0)])
def test_rows_are_the_same_whether_columns_are_kept_or_not(
    columns: Columns, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small: int, batch: int
) -> None:
    monkeypatch.setattr(columns_module, "_SMALL", small)
    monkeypatch.setattr(columns_module, "_BATCH", batch)
    fresh, rows = Columns(write(tmp_path, NODULES)), np.array([3, 7, 290])
    for _ in range(2):
        assert fresh.frame(NODULES.columns, rows[::-1]).equals(NODULES[rows[::-1]])
        assert fresh.together(["age", "scan_uid", "coordX"], rows).equals(NODULES[rows]["age", "scan_uid", "coordX"])


def test_a_table_that_was_made_again_does_not_mix_with_the_old_one(tmp_path: Path) -> None:
    path = write(tmp_path, frame(50))
    old = Columns(path)
    write(tmp_path, frame(60, seed=2))
    assert old.series("age").equals(frame(50)["age"], null_equal=True)
    with pytest.raises(TableError, match="made again"):
        list(old.batches(np.ones(50, bool)))
    assert Columns(path).height == 60


def test_an_index_without_rows_and_one_without_values(tmp_path: Path) -> None:
    empty = Columns(write(tmp_path, frame(0)))
    asked = NoduleSearch(facets=("dataset",), histograms=("age",), sort="age", text="a")
    found = search(empty, asked)
    assert found.total == 0 and found.facets[0].values == () and found.histograms[0].edges == ()
    assert rows_of(empty, NoduleQuery().filters).tolist() == []
    blank = frame(3).with_columns(age=pl.lit(None, pl.Float64))
    (histogram,) = search(Columns(write(tmp_path, blank)), NoduleSearch(histograms=("age",))).histograms
    assert (histogram.edges, histogram.counts, histogram.missing) == ((), (), 3)
    level = frame(3).with_columns(age=pl.lit(5.0))
    (histogram,) = search(Columns(write(tmp_path, level)), NoduleSearch(histograms=("age",), bins=2)).histograms
    assert sum(histogram.counts) == 3


def test_many_codes_are_counted_two_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "_MANY", 1)
    found = search(
        Columns(write(tmp_path, NODULES)), NoduleSearch(facets=("dataset", "label", "size_bucket", "has_ct"))
    )
    for facet in found.facets:
        values = [row[facet.column] for row in ROWS]
        assert {one.value: one.count for one in facet.values} == {v: values.count(v) for v in set(values)}


def test_columns_that_are_not_kept_are_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns_module, "_STEP", 7)
    monkeypatch.setattr(columns_module, "_SMALL", 0)
    opened, rows = Columns(write(tmp_path, NODULES)), np.array([91, 3, 90, 4, 3])
    for name in ("annotation_id", "lesion_uid", "age", DIAMETER, "size_bucket", "has_ct"):
        assert opened.frame([name], rows)[name].equals(NODULES[name][rows])
    assert np.array_equal(opened.numbers_once(DIAMETER), NODULES[DIAMETER].to_numpy(), equal_nan=True)
    first = NODULES["annotation_id"][3]
    same = [i for i, one in enumerate(NODULES["annotation_id"]) if one == first]
    assert opened.rows_with("annotation_id", first).tolist() == same
    assert opened.texts("scan_uid").series("scan_uid").equals(NODULES["scan_uid"])
