"""Planning from profiles alone: every scan is a host, positions stay as declared, and every row says so."""

import shutil
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.cli.main import app
from itrialspace_assets.demo.paper import write_root
from itrialspace_assets.imaging.anatomy import LOBES
from itrialspace_assets.records.layout import MODES
from itrialspace_assets.records.store import read_all, read_table, write_table
from itrialspace_assets.trials.compose import Manifest, compose
from itrialspace_assets.trials.declared import declared_pool
from itrialspace_assets.trials.pool import CandidatePool
from itrialspace_assets.trials.sites import sites
from itrialspace_assets.trials.sources import pool_of
from itrialspace_assets.trials.verify import broken_rules
from tests.trials.conftest import Paper


@pytest.fixture(scope="module")
def declared(paper: Paper) -> CandidatePool:
    out = paper.settings.output
    return declared_pool(read_table(out, "nodules"), read_table(out, "scans"), read_all(out, "donors"))


def _plan(paper: Paper, pool: CandidatePool, mode: str) -> Manifest:
    resolved = paper.resolve(mode, "demo")
    manifest = compose(resolved, pool, sites(paper.settings), 42, "procedural")
    assert broken_rules(resolved, manifest.arms, manifest.cases, manifest.nodules, paper.index) == []
    return manifest


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_planned_and_no_row_claims_to_fit(paper: Paper, declared: CandidatePool, mode: str) -> None:
    nodules = _plan(paper, declared, mode).nodules
    assert nodules.height
    assert set(nodules["fit"]) == {"unverified"}
    assert nodules["fit_mm"].null_count() == nodules.height
    placed = nodules.filter(pl.col("placement") == "profile")
    assert placed.select(pl.all_horizontal(pl.col("cc_pct", "ml_pct", "ap_pct").is_between(0, 100).all())).item()


def test_hosts_are_the_scans_and_donors_keep_what_their_profile_declares(paper: Paper, declared: CandidatePool) -> None:
    scans = read_table(paper.settings.output, "scans")
    assert declared.hosts["scan_uid"].to_list() == sorted(scans["scan_uid"])
    assert not declared.verified and paper.pool.verified
    own = declared.donors.join(paper.index, on="nodule_uid", how="inner", suffix="_i")
    assert own.height == paper.index.filter(pl.col("reinsertion_nodule_diam_mm").is_not_null()).height
    assert own.filter(pl.col("diameter_mm") != pl.col("reinsertion_nodule_diam_mm")).is_empty()
    usable = own.filter("position_usable")
    assert usable.filter(pl.col("cc_pct") != pl.col("reinsertion_lobe_cc_pct")).is_empty()
    assert (
        own.filter(~pl.col("position_usable"))["ml_pct"].null_count() == own.filter(~pl.col("position_usable")).height
    )


def test_a_donor_without_a_usable_place_serves_only_where_its_place_is_not_asked_for(
    paper: Paper, declared: CandidatePool
) -> None:
    unusable = set(declared.donors.filter(pl.col("cc_pct").is_null() & pl.col("lobe").is_in(list(LOBES)))["nodule_uid"])
    faithful = _plan(paper, declared, "m06_cross_dataset").nodules
    drawn = _plan(paper, declared, "m05_counterfactual").nodules
    assert unusable and not unusable & set(faithful["donor_nodule_uid"])
    assert unusable & set(drawn["donor_nodule_uid"])


def test_one_mask_at_hand_ends_planning_from_profiles_alone(paper: Paper, tmp_path: Path) -> None:
    """The store of hosts is then what counts: scans without a map are rejected and never planned."""
    settings = load_settings(data_dir=paper.settings.data, output_dir=tmp_path / "out")
    shutil.copytree(paper.settings.output / "tables", settings.output / "tables", copy_function=shutil.copy)
    for table in ("hosts", "host_lobes", "donors"):
        shutil.rmtree(settings.output / "tables" / table)
    assert not pool_of(settings)[0].verified
    scans = read_table(settings.output, "scans")
    first = pl.int_range(pl.len()) == 0
    write_table(settings.output, "scans", scans.with_columns(has_organ_map=first | pl.col("has_organ_map")))
    pool, _ = pool_of(settings)
    assert pool.verified and pool.hosts.is_empty()


@pytest.mark.slow
def test_profiles_alone_are_planned_in_one_command(tmp_path: Path) -> None:
    write_root(tmp_path / "data")
    done = CliRunner().invoke(app, ["trials", "plan", "2", "--dir", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    nodules = read_table(tmp_path / "out", "case_nodules", mode="m02_size_detection_curve")
    assert set(nodules["fit"]) == {"unverified"}
    manifest = next((tmp_path / "out" / "manifests").rglob("*lt5mm*.csv"))
    assert set(pl.read_csv(manifest, infer_schema=False)["fit"]) == {"unverified"}
    said = CliRunner().invoke(app, ["trials", "feasibility", "2", "--dir", str(tmp_path)], catch_exceptions=False)
    assert "no position is verified" in said.output and said.exit_code == 0
