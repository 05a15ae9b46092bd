"""Questions to the index, each against an independent computation."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itrialspace_assets.base.errors import ConfigError, NotFound
from itrialspace_assets.index import query
from itrialspace_assets.index.query import DONOR_WEIGHTS, FEATURES, MISMATCHES, Index, WantedDonor
from itrialspace_assets.records.tables import TABLES

LOBES = ("left_lung_upper_lobe", "left_lung_lower_lobe", "right_lung_upper_lobe")


def made(n: int = 60, seed: int = 1) -> Index:
    """Rows of the table ``nodules`` with what queries read; the rest null or fixed."""
    rng = np.random.default_rng(seed)
    lobes = rng.choice(LOBES, n)
    columns = {
        "nodule_uid": [f"D{i % 3}/n{i:03d}" for i in range(n)],
        "annotation_id": [f"n{i:03d}" for i in range(n)],
        "dataset": [f"D{i % 3}" for i in range(n)],
        "scan_uid": [f"D{i % 3}/s{i // 3}" for i in range(n)],
        "person_uid": [f"P{i // 4}" for i in range(n)],
        "label": rng.choice([0, 1, None], n).tolist(),
        "reinsertion_lobe": lobes,
        "reinsertion_lung_side": [x.split("_")[0] for x in lobes],
        "reinsertion_lung_zone": rng.choice(["upper_zone", "lower_zone"], n),
        "size_bucket": rng.choice(["<5mm", "5-10mm", ">30mm"], n),
        "has_ct": rng.choice([True, False], n).tolist(),
        "nodule_mean_diam_mm": rng.uniform(3, 40, n),
        **{f"coord{a}": rng.uniform(-100, 100, n) for a in "XYZ"},
        **{column: rng.uniform(0, 100, n) for column, _ in FEATURES.values()},
    }
    frame = pl.DataFrame(columns, strict=False)
    missing = [pl.lit(None, t).alias(c) for c, t in TABLES["nodules"].schema.items() if c not in columns]
    return Index(
        frame.with_columns(missing)
        .select(pl.col(c).cast(t) for c, t in TABLES["nodules"].schema.items())
        .sort("nodule_uid")
    )


def test_filters_of_every_kind() -> None:
    index = made()
    n = index.nodules
    assert index.where(["label=1"]).height == (n["label"] == 1).sum()
    assert index.where(["label=null"]).height == n["label"].null_count()
    assert index.where(["label!=null", "label!=1"]).height == (n["label"] == 0).sum()
    assert index.where(["nodule_mean_diam_mm=6..15"]).height == n["nodule_mean_diam_mm"].is_between(6, 15).sum()
    assert index.where(["nodule_mean_diam_mm=15.."]).height == (n["nodule_mean_diam_mm"] >= 15).sum()
    assert (
        index.where([f"reinsertion_lobe={LOBES[0]},{LOBES[1]}"]).height == n["reinsertion_lobe"].is_in(LOBES[:2]).sum()
    )
    assert index.where(["annotation_id~N00"]).height == n["annotation_id"].str.contains("n00").sum()
    assert index.where(["has_ct=true"]).height == n["has_ct"].sum()
    ordered = index.where([], sort="nodule_mean_diam_mm", descending=True)["nodule_mean_diam_mm"]
    assert ordered.to_list() == sorted(n["nodule_mean_diam_mm"], reverse=True)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (["diam=3"], "column 'diam': not in the index; near: "),
        (["label=x"], "expected a number, got 'x'"),
        (["has_ct=maybe"], "expected true or false, got 'maybe'"),
        (["lobe"], "expected column=value"),
        (["nodule_mean_diam_mm=a..b"], "expected a number, got 'a'"),
    ],
)
def test_wrong_filters_say_what_is_expected(filters: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        made().where(filters)


def test_a_nodule_is_found_by_its_id_alone() -> None:
    index = made()
    assert index.row("D2/n008")["nodule_uid"].item() == index.row("n008")["nodule_uid"].item() == "D2/n008"
    for uid in ("D0/n001", "D2/n999", ""):  # between two, after the last one, before the first
        with pytest.raises(NotFound, match="none has it"):
            index.row(uid)


def test_counts_have_totals_and_ordered_buckets() -> None:
    index = made()
    table = index.counts("dataset", "size_bucket")
    assert table.columns == ["dataset", "<5mm", "5-10mm", ">30mm", "total"]
    assert table["total"].sum() == index.nodules.height
    expected = index.nodules.filter(pl.col("dataset") == "D1", pl.col("size_bucket") == "<5mm").height
    assert table.filter(pl.col("dataset") == "D1")["<5mm"].item() == expected


def test_companions_are_of_the_same_scan_nearest_first() -> None:
    index = made()
    row = index.nodules.row(0, named=True)
    others = index.companions(row["nodule_uid"])
    same = [
        r
        for r in index.nodules.iter_rows(named=True)
        if r["scan_uid"] == row["scan_uid"] and r["nodule_uid"] != row["nodule_uid"]
    ]
    far = sorted(sum((r[f"coord{a}"] - row[f"coord{a}"]) ** 2 for a in "XYZ") ** 0.5 for r in same)
    assert others["distance_mm"].to_list() == pytest.approx(far)


@given(st.integers(0, 59), st.integers(1, 20), st.floats(0, 5), st.booleans())
def test_similar_equals_a_brute_force_search(at: int, k: int, weight: float, same_person: bool) -> None:
    """Independent: plain Python distances over all rows (docs/facts/index-queries.md#similar-nodules, without its
    doubled penalties)."""
    index = made()
    weights = {name: w for name, (_, w) in (*FEATURES.items(), *MISMATCHES.items())} | {"diameter": weight}
    rows = index.nodules.rows(named=True)
    mean = {c: float(index.nodules[c].mean()) for c, _ in FEATURES.values()}
    spread = {c: float(index.nodules[c].std(ddof=0)) for c, _ in FEATURES.values()}

    def distance(a: dict, b: dict) -> float:
        square = sum(
            (weights[f] * ((a[c] - mean[c]) - (b[c] - mean[c])) / spread[c]) ** 2 for f, (c, _) in FEATURES.items()
        )
        return float((square + sum(weights[m] ** 2 for m, (c, _) in MISMATCHES.items() if a[c] != b[c])) ** 0.5)

    target = rows[at]
    others = [r for r in rows if r is not target and (same_person or r["person_uid"] != target["person_uid"])]
    wanted = sorted(distance(target, r) for r in others)[:k]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(query, "_ROWS", 7)  # many blocks, the last one shorter
        found = index.similar(target["nodule_uid"], k, {"diameter": weight}, same_person=same_person)
    assert found["distance"].to_list() == pytest.approx(wanted, abs=1e-5)


def test_a_mismatch_costs_its_penalty_and_a_missing_value_counts_as_the_mean() -> None:
    n = made(2).nodules
    first = n.row(0, named=True)
    twin = n.with_columns(
        pl.lit(first[c]).alias(c) for c in (*(c for c, _ in FEATURES.values()), *(c for c, _ in MISMATCHES.values()))
    )
    other = twin.with_columns(
        reinsertion_lobe=pl.when(pl.int_range(pl.len()) == 1).then(pl.lit(LOBES[1])).otherwise(pl.lit(LOBES[0])),
        person_uid=pl.Series(["P1", "P2"]),
        reinsertion_nodule_diam_mm=pl.Series([10.0, None]),
    )
    assert Index(other).similar(other["nodule_uid"][0], 1)["distance"].item() == pytest.approx(3.0)


def test_donors_for_a_place_follow_the_published_score() -> None:
    """Independent: docs/facts/index-queries.md#donor-score, in plain Python."""
    index = made()
    place = WantedDonor("LUL", cc_pct=40, pleural_mm=12, diameter_mm=10, label=1, person="P3")
    pool = [r for r in index.nodules.iter_rows(named=True) if r["label"] == 1 and r["person_uid"] != "P3"]
    most_p = max(1, *(r["reinsertion_pleural_dist_mm"] for r in pool))
    most_d = max(1, *(r["reinsertion_nodule_diam_mm"] for r in pool))
    scores = sorted(
        DONOR_WEIGHTS["lobe"] * (r["reinsertion_lobe"] != LOBES[0])
        + abs(r["reinsertion_lobe_cc_pct"] - 40) / 100
        + 0.8 * abs(r["reinsertion_pleural_dist_mm"] - 12) / most_p
        + 0.6 * abs(r["reinsertion_nodule_diam_mm"] - 10) / most_d
        for r in pool
    )
    found = index.donors_for(place, k=8)
    assert found["score"].to_list() == pytest.approx(scores[:8])
    assert "P3" not in found["person_uid"]
    assert found["scale_ok"].to_list() == [1 / 1.5 <= 10 / d <= 1.5 for d in found["reinsertion_nodule_diam_mm"]]
    with pytest.raises(ConfigError, match="RUL, RML"):
        index.donors_for(WantedDonor("middle"))


def test_a_donor_of_no_known_lobe_is_one_of_another_lobe() -> None:
    nodules = made().nodules
    first = pl.int_range(pl.len()) == 0
    lost = nodules.with_columns(reinsertion_lobe=pl.when(~first).then("reinsertion_lobe"))
    moved = nodules.with_columns(reinsertion_lobe=pl.when(first).then(pl.lit(LOBES[1])).otherwise("reinsertion_lobe"))
    found, wanted = (Index(n).donors_for(WantedDonor("LUL", cc_pct=40), k=nodules.height) for n in (lost, moved))
    assert found.select("nodule_uid", "score").equals(wanted.select("nodule_uid", "score"))
    assert found.filter(pl.col("reinsertion_lobe").is_null())["score"].item() >= DONOR_WEIGHTS["lobe"]


def test_ids_are_found_by_either_name_and_unknown_ones_get_neighbours() -> None:
    index = made()
    assert index.row("n005")["nodule_uid"].item() == "D2/n005"
    with pytest.raises(ConfigError, match="near: D2/n005"):
        index.row("D1/n005")
    with pytest.raises(ConfigError, match=r"weight color=1\.0: expected a number >= 0 for one of lobe_cc"):
        index.similar("n005", weights={"color": 1.0})
