"""Looking after a finished folder: cleaning leaves everything up to date."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.drive import open_instance

from .conftest import here, its

pytestmark = pytest.mark.slow


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
    assert all(name.endswith(".shard.json") or "~predictions~" in name for name in gone)
    assert not (tree(out) - before - {n for n in tree(out) if n.startswith(("dagster/", "work/"))})
    settings = load_settings(data_dir=demo / "data", output_dir=out)
    with open_instance(settings) as instance:
        runs = instance.get_runs_count()
    again = its("run", "--modes", "1,2,11", *where)
    assert again.returncode == 0, again.stderr
    with open_instance(settings) as instance:
        assert instance.get_runs_count() == runs, again.stdout
    assert here("splits", "verify", *where).returncode == 0
    said = json.loads(here("forecast", "--modes", "1,2,11", "--json", *where).stdout)
    assert {stage["left"] for stage in said["stages"]} == {0}
    assert said["unknown"] == []
    assert said["sum"]["gib"] == 0
    insert = next(stage for stage in said["stages"] if stage["asset"] == "inserted_masks")
    assert insert["base"] == f"measured here on {insert['cases']} cases"
