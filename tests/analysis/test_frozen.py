"""Frozen lists: written once, and refused where the list or one of its pictures is not what was frozen."""

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itrialspace_assets.analysis.frozen import (
    PICTURE,
    ListKey,
    changes,
    first_of,
    freeze,
    list_path,
    locks,
    read_list,
    require_unchanged,
)
from itrialspace_assets.analysis.splits import chosen_by, named_by, without
from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.records.layout import list_sha256

KEY = ListKey("v1", "tissue", "m02_size_detection_curve")


def pictures(slices: int = 12) -> pl.DataFrame:
    """Slices s00 … under plain and bbox, each with a picture of its own."""
    rows = [
        {
            "slice_uid": f"s{i:02d}",
            "target_uid": f"t{i:02d}",
            "condition": c,
            "control": "none",
            "sha256": f"{i}{c}",
            "published_id": f"m2/x__C{i:04d}",
        }
        for i in range(slices)
        for c in ("plain", "bbox")
    ]
    return pl.DataFrame(rows).with_columns(case_uid=pl.lit("t/a/") + pl.col("slice_uid"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path, output_dir=tmp_path)


def test_a_list_is_read_as_it_was_frozen_and_never_written_again(settings: Settings) -> None:
    slices = pictures()
    lock = freeze(settings, KEY, slices.reverse(), "all", "for a test")
    assert (lock.n, lock.list_sha256) == (12, list_sha256(slices["slice_uid"]))
    assert read_list(settings, KEY).equals(slices.select([*PICTURE, "sha256"]).sort(PICTURE))
    before = {p: p.read_bytes() for p in (settings.output / "splits").rglob("*") if p.is_file()}
    with pytest.raises(ConfigError, match=r"v1: tissue/m02.*frozen already"):
        freeze(settings, KEY, slices.head(4), "all")
    assert {p: p.read_bytes() for p in before} == before
    other = ListKey("v1", "real", "real-LUNGx")
    freeze(settings, other, slices.head(4), "all")
    assert locks(settings, "v1")[KEY] == lock and set(locks(settings, "v1")) == {KEY, other}


def test_lines_that_were_deleted_are_found(settings: Settings) -> None:
    freeze(settings, KEY, pictures(), "all")
    path = list_path(settings, KEY)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-4]))
    with pytest.raises(TableError, match=r"expected the 12 slices that were frozen.*changed after freezing"):
        require_unchanged(settings, KEY, pictures())


def test_a_picture_that_changed_or_is_gone_is_named_and_the_rest_is_counted(settings: Settings) -> None:
    slices = pictures(20)
    freeze(settings, KEY, slices, "all")
    assert require_unchanged(settings, KEY, slices).height == 40
    boxes = pl.col("condition") == "bbox"
    changed = slices.with_columns(sha256=pl.when(boxes).then(pl.lit("new")).otherwise("sha256"))
    with pytest.raises(TableError) as error:
        require_unchanged(settings, KEY, changed)
    assert "20 of its pictures: s00 bbox has another picture; s01 bbox" in str(error.value)
    assert "s09 bbox has another picture; and 10 more" in str(error.value)
    assert "plain" not in str(error.value)
    assert changes(read_list(settings, KEY), slices.filter(pl.col("slice_uid") != "s03")) == [
        "s03 bbox is gone",
        "s03 plain is gone",
    ]
    more = pl.concat([slices, slices.with_columns(slice_uid=pl.lit("t") + pl.col("slice_uid"))])
    assert changes(read_list(settings, KEY), more) == [], "slices that are new change nothing that was frozen"


@given(st.sets(st.sampled_from([(i, c) for i in range(12) for c in ("plain", "bbox")])))
def test_exactly_the_pictures_that_differ_are_named(differ: set[tuple[int, str]]) -> None:
    frozen = pictures()
    at = [(f"s{i:02d}", c) for i, c in differ]
    mine = pl.struct("slice_uid", "condition").is_in([{"slice_uid": s, "condition": c} for s, c in at])
    now = frozen.with_columns(sha256=pl.when(mine).then(pl.lit("x")).otherwise("sha256")) if at else frozen
    assert changes(frozen, now) == [f"{s} {c} has another picture" for s, c in sorted(at)]


def test_what_cannot_be_trusted_is_refused(settings: Settings) -> None:
    with pytest.raises(TableError, match=r"no such list is frozen.*its splits freeze v1"):
        read_list(settings, KEY)
    freeze(settings, KEY, pictures(), "all")
    list_path(settings, KEY).unlink()
    with pytest.raises(TableError, match="the list that was frozen is gone"):
        read_list(settings, KEY)
    lock = settings.output / "splits" / "v1" / "lock.json"
    (whole,) = json.loads(lock.read_text()).values()
    for damaged in (
        json.dumps({"tissue/m02": {"n": 3}}),
        json.dumps({"tissue/m02": whole | {"sha256": None}}),
        json.dumps({"tissue/m02": whole | {"n": "3"}}),
        json.dumps({"../../m02": whole}),
        json.dumps({"m02": whole}),
        "[" * 100_000,
    ):
        lock.write_text(damaged)
        with pytest.raises(TableError, match=r"splits/v1/lock.json: expected the lock of a split, got"):
            locks(settings, "v1")
    old = list_path(settings, ListKey("v0", "tissue", "m02")).with_suffix(".txt")
    old.parent.mkdir(parents=True)
    old.write_text("s01\n")
    with pytest.raises(ConfigError, match="earlier version, without hashes"):
        freeze(settings, ListKey("v0", "tissue", "m02"), pictures(), "all")


def test_the_message_names_ten() -> None:
    assert first_of([f"x{i}" for i in range(10)]).endswith("x9")
    assert (
        first_of([f"x{i}" for i in range(12)])
        == "12 of its pictures: " + "; ".join(f"x{i}" for i in range(10)) + "; and 2 more"
    )


def answers_of(reader: str, slices: list[str], conditions: tuple[str, ...], status: str = "ok") -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "target_uid": s.replace("s", "t"),
                "reader": reader,
                "condition": c,
                "control": "none",
                "task": t,
                "status": status,
            }
            for s in slices
            for c in conditions
            for t in ("presence", "lobe", "size", "malignancy")
        ]
    )


def test_the_published_rules_choose_what_every_reader_answered() -> None:
    """docs/facts/evaluation.md#frozen-lists: plain, or all four conditions; a refusal is an answer."""
    four = ("plain", "bbox", "contour", "bbox_contour")
    slices = pictures(5)
    both = pl.concat(
        [
            answers_of("a", ["s00", "s01", "s02", "s03"], four),
            answers_of("b", ["s00", "s01"], four, "refused"),
            answers_of("b", ["s02"], ("plain",)),
            answers_of("b", ["s03"], four, "error"),
            answers_of("c", ["s04"], four),
        ]
    )

    def chosen(rule: str) -> list[str]:
        return chosen_by(rule, slices, both, ["a", "b"])["slice_uid"].unique().sort().to_list()

    assert chosen("release_v1") == ["s00", "s01", "s02"]
    assert chosen("release_v1_full") == ["s00", "s01"]
    assert chosen("all") == ["s00", "s01", "s02", "s03", "s04"]
    with pytest.raises(ConfigError, match="expected one of all, release_v1, release_v1_full"):
        chosen("release_v2")
    with pytest.raises(ConfigError, match="expected enabled readers"):
        chosen_by("release_v1", slices, both, [])


def test_readers_of_two_profiles_answer_the_same_target_and_its_neighbours_are_frozen_with_it() -> None:
    """A published id is the same for both profiles; a reader of three slices is shown the neighbours too."""
    pairs = [(p, z) for p in ("lung_axial", "lung_axial_medgemma") for z in (-1, 0, 1)]
    cut = [pictures(2).with_columns(slice_uid=pl.format("{}{}{}", "slice_uid", pl.lit(p), pl.lit(z))) for p, z in pairs]
    slices = pl.concat(cut)
    both = pl.concat([answers_of("a", ["s00", "s01"], ("plain",)), answers_of("b", ["s00"], ("plain",))])
    chosen = chosen_by("release_v1", slices, both, ["a", "b"])
    assert chosen.equals(slices.filter(pl.col("target_uid") == "t00")) and chosen["slice_uid"].n_unique() == 6


def test_a_slice_that_a_rejected_case_shares_is_left_out_too() -> None:
    """Lists hold slices, so that of another case would bring the rejected one back into a report."""
    shared = pictures(3).with_columns(case_uid=pl.lit("b")).filter(pl.col("slice_uid") != "s02")
    kept, cases = without(["t/a/s01"], pl.concat([pictures(3), shared]))
    assert (kept["slice_uid"].unique().sort().to_list(), cases) == (["s00", "s02"], 1)
    assert set(kept["case_uid"]) == {"t/a/s00", "t/a/s02", "b"}


def test_ids_of_every_kind_name_slices_and_those_that_name_none_are_told() -> None:
    found, missing = named_by(["s01", "m2/x__C0003", "t/a/s04", "m9/gone"], pictures())
    assert found["slice_uid"].unique().sort().to_list() == ["s01", "s03", "s04"] and found.height == 6
    assert missing == ["m9/gone"]
