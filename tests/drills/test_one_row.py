"""One changed row of a manifest costs exactly the work of its case, in every stage."""

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from itrialspace_assets import drive
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.casework.steps import Result, last_record, record
from itrialspace_assets.graph import build_graph
from itrialspace_assets.orchestration.instance import open_instance
from itrialspace_assets.records.store import read_all, read_table, write_table

MODE, CASE = "x_small", "small/all/00000"
STAGES = ("insert", "synthesise", "slice", "read")
WANTED = drive.RunChoice((MODE,), ("LUNA16", "LUNA25"), STAGES)


def change_row(settings: Settings) -> None:
    """Mirror the donor nodule of one case in the manifest, as another plan would; its record says so."""
    rows = read_table(settings.output, "case_nodules", mode=MODE)
    here = (pl.col("case_uid") == CASE) & (pl.col("nodule_idx") == 0)
    assert rows.filter(here).height == 1
    changed = rows.with_columns(pl.when(here).then(~pl.col("mirrored")).otherwise("mirrored").alias("mirrored"))
    write_table(settings.output, "case_nodules", changed, mode=MODE)
    step = build_graph(settings).node(("cohort_manifests",)).step
    before = last_record(settings, step, {"mode": MODE})
    assert before is not None
    tables = [settings.output / name for name in before["files"] if name.startswith("tables/")]
    others = {name: sha for name, sha in before["files"].items() if not name.startswith("tables/")}
    again = Result(before["tables"], written=tuple(tables), files=others)
    assert record(settings, step, {"mode": MODE}, before["reads"], again) != before["data_version"]


def ran(settings: Settings, before: int) -> dict[tuple[str, str], dict[str, Any]]:
    """Metadata of each partition that was made after an event."""
    found = {}
    with open_instance(settings) as instance:
        for node in build_graph(settings).nodes:
            if node.step.stage in STAGES:
                for event in instance.fetch_materializations(dg.AssetKey(list(node.step.key)), limit=20).records:
                    if event.storage_id > before and event.asset_materialization is not None:
                        part = str(event.partition_key).split("|")[0]
                        found[node.step.name, part] = {
                            k: v.value for k, v in event.asset_materialization.metadata.items()
                        }
    return found


def last_event(settings: Settings) -> int:
    with open_instance(settings) as instance:
        keys = [dg.AssetKey(list(n.step.key)) for n in build_graph(settings).nodes if n.step.stage in STAGES]
        return max(r.storage_id for k in keys for r in instance.fetch_materializations(k, limit=1).records)


@pytest.mark.slow
def test_one_changed_row_is_one_case(
    data_root: Path, calm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    shutil.copytree(calm, out)
    monkeypatch.setenv("DAGSTER_HOME", str(out / "dagster"))
    settings = load_settings(data_dir=data_root, output_dir=out, trials_dir=out / "trials", workers=1)
    event = last_event(settings)
    assert not drive.drive(settings, WANTED)
    assert ran(settings, event) == {}, "nothing was changed, nothing runs"
    images = dict(read_all(out, "cts", mode=MODE).select("image_uid", "sha256").iter_rows())
    old = {
        path: path.stat().st_mtime_ns for top in ("masks", "cts") for path in (out / "store" / top).rglob("*.nii.gz")
    }
    change_row(settings)
    assert not drive.drive(settings, WANTED)
    made = ran(settings, event)
    counts = {name: (m["computed"], m["reused"], m["rejected"]) for name, m in made.items() if "read" not in name[0]}
    assert counts["inserted_masks", "LUNA25"] == (1, 1, 0)
    assert counts["tissue/synthetic_cts", "LUNA25"] == (1, 1, 0)
    assert counts["tissue/eval_slices", "LUNA25"] == (1, 1, 0)
    others = {name: m["computed"] for (name, part), m in made.items() if part == "LUNA16"}
    assert others and set(others.values()) == {0}, "they read the manifest too, and have no case to do"
    asked = made["tissue/predictions/blob", "LUNA25"]
    of_case = read_all(out, "slices", source="tissue", mode=MODE).filter(case_uid=CASE)["slice_uid"].n_unique()
    assert 0 < asked["computed"] < asked["computed"] + asked["reused"], of_case
    again = read_all(out, "cts", mode=MODE)
    new = set(again["image_uid"]) - set(images)
    assert set(again.filter(pl.col("image_uid").is_in(new))["case_uid"]) == {CASE}
    assert {path for path, time in old.items() if path.stat().st_mtime_ns != time} == set(), "no other file was touched"
