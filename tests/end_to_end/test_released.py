"""A release of one root is used in another: wholly, or its masks alone with CTs of the other root's own."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from itrialspace_assets.base.fingerprints import hash_file
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.casework.steps import read_record
from itrialspace_assets.records.store import read_all

from .conftest import SMALL, download, here

pytestmark = pytest.mark.slow
MODE = "m11_digital_twin_isolation"


def contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): hash_file(p) for p in folder.rglob("*") if p.is_file()}


def test_a_release_is_analysed_in_an_empty_root(demo: Path, tmp_path: Path) -> None:
    """With the readers of the first root: nothing is computed but the reports, and they are the same bytes."""
    release, root = download(demo / "out", tmp_path / "release"), tmp_path / "new"
    shutil.copytree(demo / "data/readers", root / "data/readers")
    shutil.copyfile(demo / "data/readers.yaml", root / "data/readers.yaml")
    run = here("import-release", str(release), "--use", "all", "--dir", str(root))
    assert run.returncode == 0, run.stdout + run.stderr
    assert "left out" not in run.stderr
    done = here("run", "--modes", SMALL[-1], "--to", "report", "--dir", str(root))
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_all(root / "out", "metrics").equals(read_all(demo / "out", "metrics"))
    assert contents(root / "out/reports") == contents(demo / "out/reports")
    assert not list((root / "out/work").rglob("*.jsonl")), "no case of any stage was computed"
    with dg.DagsterInstance.from_config(str(root / "out/dagster")) as instance:
        rendered = instance.get_materialized_partitions(dg.AssetKey(["tissue", "synthetic_cts"]))
    assert f"LUNGx|{MODE}" in rendered


def test_released_masks_are_rendered_here(demo: Path, tmp_path: Path) -> None:
    """Without any raw data: hosts and masks are released, CTs and slices are made here, as in the first root."""
    release, root = download(demo / "out", tmp_path / "release"), tmp_path / "new"
    parts = "profiles,hosts,index,manifests,inserted_masks"
    run = here("import-release", str(release), "--use", parts, "--dir", str(root))
    assert run.returncode == 0, run.stdout + run.stderr
    asked = ("--modes", "11", "--datasets", "LUNGx", "--to", "synthesise", "--workers", "1", "--dir", str(root))
    done = here("run", *asked)
    assert done.returncode == 0, done.stdout + done.stderr
    settings = load_settings(data_dir=root / "data", output_dir=root / "out")
    masks, cts = (read_record(settings, f"{name}|{MODE}/LUNGx") for name in ("inserted_masks", "tissue/synthetic_cts"))
    assert masks is not None
    assert cts is not None
    assert masks["released"], "used, not made again, though it was asked for"
    assert "released" not in cts
    where = {"source": "tissue", "mode": MODE, "dataset": "LUNGx"}
    here_made, there = (read_all(folder / "out", "cts", **where) for folder in (root, demo))
    assert here_made.equals(there)
