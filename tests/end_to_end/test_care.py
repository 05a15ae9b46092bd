"""Looking after a finished folder: cleaning leaves everything up to date; one case runs again and touches no other."""

import json
import os
import shutil
import time
from pathlib import Path

import polars as pl
import pytest

from itrialspace_assets.base.fingerprints import hash_file
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.orchestration.instance import open_instance
from itrialspace_assets.records.store import read_all, read_table, write_table

from .conftest import SMALL, here

pytestmark = pytest.mark.slow


@pytest.fixture
def demo(demo: Path, tmp_path: Path) -> Path:
    """A copy: these tests remove and change what other tests read."""
    return shutil.copytree(demo, tmp_path / "demo")


def tree(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_after_cleaning_all_is_up_to_date_and_a_forecast_finds_nothing_left(demo: Path) -> None:
    out, where = demo / "out", ["--dir", str(demo)]
    old = time.time() - 7200
    for path in out.rglob("*"):
        os.utime(path, (old, old), follow_symlinks=False)
    before = tree(out)
    for name in ("masks/aa/0.nii.gz", "slices/aa/0_bbox.png", "cts/tissue/aa/0.nii.gz", "cts/tissue/.tmp-killed"):
        path = out / "store" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(next((out / "store" / "masks").rglob("*.nii.gz")), path)
        os.utime(path, (old, old))
    assert "Nothing was removed" in here("clean", *where).stdout
    assert here("clean", "--yes", *where).returncode == 0
    gone = before - tree(out)
    assert gone, "shard files and journals of readers in finished partitions"
    assert {name.split("/")[0] for name in gone} == {"work"}
    assert all(name.endswith(".shard.ndjson") or "~predictions~" in name for name in gone)
    assert not (tree(out) - before - {n for n in tree(out) if n.startswith(("dagster/", "work/"))})
    settings = load_settings(data_dir=demo / "data", output_dir=out)
    with open_instance(settings) as instance:
        runs = instance.get_runs_count()
    again = here("run", "--modes", SMALL[-1], *where)
    assert again.returncode == 0, again.stderr
    with open_instance(settings) as instance:
        assert instance.get_runs_count() == runs, again.stdout
    assert here("splits", "verify", *where).returncode == 0
    said = json.loads(here("forecast", "--modes", SMALL[-1], "--json", *where).stdout)
    assert {stage["left"] for stage in said["stages"]} == {0}
    assert said["unknown"] == []
    assert said["sum"]["gib"] == 0
    insert = next(stage for stage in said["stages"] if stage["asset"] == "inserted_masks")
    assert insert["base"] == f"measured here on {insert['cases']} cases"


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.stat().st_ino) for p in folder.rglob("*") if p.is_file()
    }


def test_one_case_again_puts_back_what_is_lost_and_tells_what_differs(demo: Path) -> None:
    mode, uid = "m02_size_detection_curve", "size_detection_curve/10_15mm/00000"
    out, call = demo / "out", ["run", "--case", uid, "--dir", str(demo)]
    (picture,) = read_all(out, "slices").filter(case_uid=uid, condition="bbox", presence="present")["path"]
    (image,) = read_all(out, "cts").filter(case_uid=uid, is_lesion_free=False)["path"]
    wanted = {name: hash_file(out / name) for name in (picture, image)}
    (out / picture).unlink()
    (out / picture).write_bytes(b"damaged")
    (out / image).unlink()
    before = stamps(out)
    done = here(*call)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("as in the tables") == 4
    after, trace = stamps(out), f"cases/{uid.replace('/', '_')}.trace.json"
    assert {name for name in after if after[name] != before.get(name)} == {picture, image, trace}
    assert before.keys() <= after.keys()
    assert {name: hash_file(out / name) for name in wanted} == wanted
    said = json.loads((out / trace).read_text())
    assert [s["stage"] for s in said["stages"]] == [
        "inserted_masks",
        "tissue/synthetic_cts",
        "tissue/eval_slices",
        "tissue/predictions/blob",
    ]
    assert wanted.items() <= {name: sha for stage in said["stages"] for name, sha in stage["files"].items()}.items()
    assert said["stages"][0]["read"]["nodules"][0]["donor_nodule_uid"]
    pair = {"mode": mode, "dataset": said["dataset"]}
    rows = read_table(out, "insertions", **pair)
    write_table(out, "insertions", rows.with_columns(pl.col("diameter_mm") + 1), **pair)
    other = here(*call)
    assert other.returncode == 1
    assert "insertions: the 1 rows made now are not the 1 of the table" in other.stdout
    wrong = here("run", "--case", "nothing/a/0", "--dir", str(demo))
    assert wrong.returncode == 2
    assert "expected the case_uid of a planned case, for example" in wrong.stderr
