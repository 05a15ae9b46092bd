"""Measuring an inserted nodule with the code of ``profiles`` gives back what was planned and what the table says."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.demo.root import make_root
from itrialspace_assets.hosts import build as hosts
from itrialspace_assets.hosts import procedural
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.imaging.lesions import Lesion, shared_voxels, stamp, unpack_bits
from itrialspace_assets.index import build as index
from itrialspace_assets.insertion import build as insertion
from itrialspace_assets.insertion.verify import broken_insertions, changed_elsewhere, colliding
from itrialspace_assets.profiles import build as profiles
from itrialspace_assets.profiles.measure import SHELL_VOXELS, LabelledScan, measure_nodule
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.records.layout import MODES
from itrialspace_assets.records.store import read_all
from itrialspace_assets.trials import build as trials

from ..conftest import COARSE

WAYS = {"cc": 2, "ml": 0, "ap": 1}


#: Voxels between nodules that are measured on one map: more than the shell that decides a nodule's lobe.
APART = SHELL_VOXELS + 1


def on_one_map(rows: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, list[Lesion]]]:
    """Nodules with their voxels, cases of one host together where none comes near one of another case: a map with
    nodules is looked through once for all of them."""
    for _, of_host in rows.sort("host_map_sha256", "case_uid", "nodule_idx").group_by(
        "host_map_sha256", maintain_order=True
    ):
        left = of_host.partition_by("case_uid", maintain_order=True)
        while left:
            taken: list[pl.DataFrame] = []
            lows, highs, later = np.zeros((0, 3)), np.zeros((0, 3)), []
            for case in left:
                lesions = [unpack_bits(b) for b in case["lesion"]]
                low = np.array([lesion.offset for lesion in lesions])
                high = low + [lesion.mask.shape for lesion in lesions]
                meets = (low[:, None] - APART < highs) & (lows - APART < high[:, None])
                if meets.all(axis=2).any():
                    later.append(case)
                else:
                    taken.append(case)
                    lows, highs = np.concatenate([lows, low]), np.concatenate([highs, high])
            together = pl.concat(taken)
            yield together, [unpack_bits(b) for b in together["lesion"]]
            left = later


def remeasured(output: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """For each nodule: whether what profiles measure on the mask is what the table says, and what was planned, within a
    voxel."""
    found = []
    for group, lesions in on_one_map(rows):
        host = load_host_map(output, group["host_map_sha256"][0])
        scan = LabelledScan(stamp(host, lesions))
        for row, lesion in zip(group.iter_rows(named=True), lesions, strict=True):
            got = asdict(measure_nodule(scan, lesion))
            lobe = scan.lobes[row["lobe"]]
            size = {
                "cc": len(lobe.occupied) - 1,
                **{w: lobe.box[a].stop - 1 - lobe.box[a].start for w, a in WAYS.items() if w != "cc"},
            }
            voxel = float(host.spacing.max())

            def near(way: str, column: str, got: dict = got, row: dict = row, size: dict = size) -> bool:
                return row[column] is None or abs(got[f"lobe_{way}_pct"] - row[column]) * size[way] / 100 <= 1

            distances = [(got["pleural_distance_mm"], row["pleural_mm"]), (got["airway_distance_mm"], row["airway_mm"])]
            found.append(
                {
                    "case_uid": row["case_uid"],
                    "lobe": got["lobe_name"] == row["asked_lobe"],
                    "recorded": got["lobe_name"] == row["lobe"]
                    and all(near(w, f"{w}_pct") for w in WAYS)
                    and all((a is None) == (b is None) and (a is None or abs(a - b) <= voxel) for a, b in distances),
                    "planned": all(near(w, f"asked_{w}_pct") for w in WAYS)
                    and all(
                        b is None or (a is not None and abs(a - b) <= voxel)
                        for a, b in (
                            (got["pleural_distance_mm"], row["asked_pleural_mm"]),
                            (got["airway_distance_mm"], row["asked_airway_mm"]),
                        )
                    ),
                    "relaxations": row["relaxations"],
                }
            )
    return pl.DataFrame(found)


@pytest.fixture(scope="module")
def inserted(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """All thirteen modes up to insertion, without Dagster."""
    folder = tmp_path_factory.mktemp("all")
    make_root(folder / "data", hosts=5, spacing=COARSE, workers=2)
    settings = load_settings(data_dir=folder / "data", output_dir=folder / "out", workers=2)
    names = list(datasets(settings))
    for name in names:
        profiles.build(settings, {"dataset": name})
        hosts.build(settings, {"dataset": name}, "r")
    index.build(settings, {})
    procedural.build(settings, {}, "r")
    for mode in MODES:
        trials.build(settings, {"mode": mode})
        for name in names:
            insertion.build(settings, {"mode": mode, "dataset": name}, "r")
    return settings


@pytest.mark.slow
def test_all_thirteen_modes_come_back_as_planned(inserted: Settings) -> None:
    rows = read_all(inserted.output, "insertions")
    assert set(rows["mode"]) == set(MODES)
    found = remeasured(inserted.output, rows.filter("present"))
    assert found["lobe"].mean() >= 0.99
    assert found["recorded"].mean() >= 0.99, found.filter(~pl.col("recorded"))
    assert found["planned"].mean() >= 0.99, found.filter(~pl.col("planned"))
    off = found.filter(~pl.col("planned"))
    assert off["relaxations"].str.contains("moved").all(), "whatever is not where it was planned says so"


@pytest.mark.slow
def test_what_must_hold_of_every_mask(inserted: Settings) -> None:
    """docs/facts/insertion.md#tolerances, over every mask of the thirteen modes."""
    rows, tables = read_all(inserted.output, "insertions"), read_all(inserted.output, "hosts")
    assert not {rule: f["case_uid"].to_list() for rule, f in broken_insertions(rows, tables).items() if f.height}
    assert not colliding(rows)
    wrong, seen = changed_elsewhere(inserted.output, rows, 10_000)
    assert (wrong, seen) == ([], rows["mask_uid"].n_unique())
    native = read_all(inserted.output, "donors").select("nodule_uid", native="lesion")
    twins = rows.filter(pl.col("placement") == "native").join(native, left_on="donor_nodule_uid", right_on="nodule_uid")
    assert twins.height
    assert (twins["lesion"] == twins["native"]).all(), "Dice 1"
    primary = rows.filter(pl.col("nodule_idx") == 0)
    assert primary.filter(pl.col("empty").is_null() != pl.col("empty_site").is_null()).is_empty()
    assert primary["empty"].null_count() <= 0.05 * primary.height, "large nodules in small lobes"
    assert set(primary["empty_site"].drop_nulls()) == {"cleared", "never"}
    own = primary.filter("present", pl.col("empty").is_not_null()).select("lesion", "empty")
    assert not any(shared_voxels(unpack_bits(a), unpack_bits(b)) for a, b in own.iter_rows()), "beside the nodule"
    for mode in MODES:
        for name in datasets(inserted):
            assert insertion.build(inserted, {"mode": mode, "dataset": name}, "again").computed == 0, "all committed"


@pytest.mark.slow
def test_a_spoiled_mask_and_a_moved_nodule_are_found(inserted: Settings) -> None:
    rows = read_all(inserted.output, "insertions", mode="m02_size_detection_curve")
    spoiled = inserted.output / rows.sort("mask_uid")["mask_path"][0]
    data = spoiled.read_bytes()
    spoiled.write_bytes((inserted.output / rows.sort("mask_uid")["mask_path"][-1]).read_bytes())
    wrong, _ = changed_elsewhere(inserted.output, rows, 3)
    spoiled.write_bytes(data)
    assert len(wrong) == 1
    tables = read_all(inserted.output, "hosts")
    for change, rule in (
        ({"outside_lung": pl.lit(3)}, "containment: every voxel in a lobe"),
        ({"world_x": -pl.col("world_x")}, "laterality: left lobes lie left of the lungs' midline"),
        ({"diameter_mm": pl.col("diameter_mm") * 1.2}, "size: diameter as planned"),
        ({"overlap": pl.lit(0.1)}, "collisions: placed nodules of a case share no voxel"),
        ({"shift_mm": pl.lit(30.0), "relaxations": pl.lit("")}, "position: a move of more than a voxel is recorded"),
    ):
        broken = broken_insertions(rows.with_columns(**change), tables)
        assert broken[rule].height > 0, rule
    twice = pl.concat([rows.head(1), rows.head(1).with_columns(nodule_idx=pl.lit(1, pl.Int64))])
    assert colliding(twice) == [rows["case_uid"][0]]
