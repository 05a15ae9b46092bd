"""``its-nodulemap`` and ``its-retriever``: what they print and write equals what the index and the map answer."""

import csv
import json
import sys
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from itrialspace_assets.base.errors import ConfigError, MissingTable
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.cli import nodulemap, retriever
from itrialspace_assets.explorer.layouts import reduce
from itrialspace_assets.explorer.layouts.nodule_map import NeighbourSearch, NoduleMap, Reach
from itrialspace_assets.explorer.layouts.table import Held
from itrialspace_assets.index.query import Index, WantedDonor
from itrialspace_assets.records.store import write_table
from tests.explorer.nodules import known


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data" / "profiles").mkdir(parents=True)
    write_table(tmp_path / "out", "nodules", known())
    return tmp_path


def run(app: object, folder: Path, *words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--dir", str(folder)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_layouts_and_edges_are_built_and_listed(folder: Path) -> None:
    built = run(nodulemap.app, folder, "build", "--model", "pca_32d", "--feature-set", "core_53")
    assert "core_53__PCA_32.parquet" in built
    made = run(nodulemap.app, folder, "edges", "--all-k", "--mode", "farthest", "--scope", "within_dataset")
    assert made.count("Result: ") == 4
    edges = pl.read_parquet(folder / "out/explorer/edges/weighted_k3_farthest_within_dataset.parquet")
    settings = load_settings(data_dir=folder / "data", output_dir=folder / "out")
    wanted = NoduleMap(settings, Held(known())).edges(3, "farthest", "within_dataset", NeighbourSearch())
    assert edges.equals(wanted)
    listed = run(nodulemap.app, folder, "info")
    assert "core_53__PCA_32.parquet" in listed
    assert "its-nodulemap build --model TSNE_2D" in " ".join(listed.split())
    other = CliRunner().invoke(nodulemap.app, ["info", "--artifact-dir", str(folder / "nothing")])
    assert isinstance(other.exception, MissingTable)  # the entry point makes exit code 1 of it


def test_an_extra_that_is_missing_is_said_before_any_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduce, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["its-nodulemap", "build", "--dir", str(folder)])
    with pytest.raises(SystemExit) as end:
        nodulemap.main()
    assert end.value.code == 2
    done = CliRunner().invoke(nodulemap.app, ["build", "--all-2d", "--dir", str(folder)])
    assert "pip install 'itrialspace-assets[maps]'" in str(done.exception)
    assert not (folder / "out/explorer").exists()


def test_neighbours_are_printed_and_exported(folder: Path) -> None:
    nodules = known()
    row = nodules.row(7, named=True)
    node = f"{row['dataset']}_{row['annotation_id']}"
    settings = load_settings(data_dir=folder / "data", output_dir=folder / "out")
    seen = NoduleMap(settings, Held(nodules))
    wanted = seen.neighbours(7, 6, NeighbourSearch("feature_l2"), Reach())
    ask = ("--node", node, "--k", "6", "--search-backend", "features")
    printed = json.loads(run(nodulemap.app, folder, "query", "--json", *ask))
    assert [n["annotation_id"] for n in printed] == nodules["annotation_id"][wanted["row"]].to_list()
    assert [n["distance"] for n in printed] == wanted["distance"].to_list()
    out = folder / "mine"
    run(nodulemap.app, folder, "export", *ask, "-o", str(out))
    rows = list(csv.DictReader((out / f"neighbors_{node}.csv").open()))
    assert [r["neighbor_annotation_id"] for r in rows] == [n["annotation_id"] for n in printed]
    run(nodulemap.app, folder, "export", *ask, "--format", "donors", "-o", str(out))
    donors = {r["donor_annotation_id"] for r in csv.DictReader((out / f"candidate_donors_{node}.csv").open())}
    assert not donors & set(nodules.filter(pl.col("person_uid") == row["person_uid"])["annotation_id"])
    with pytest.raises(ConfigError, match="--node 'none'"):
        run(nodulemap.app, folder, "query", "--node", "none")


def test_the_retriever_answers_as_the_index(folder: Path) -> None:
    index = Index(known())
    found = run(retriever.app, folder, "search", "--label", "1", "--datasets", "LUNA16,LUNA25", "--diam-min", "9")
    wanted = index.where(["label=1", "dataset=LUNA16,LUNA25", "nodule_mean_diam_mm=9.."])
    assert f"{wanted.height} nodules" in found
    uid = index.nodules["nodule_uid"][7]
    near = run(retriever.app, folder, "similar", "--id", uid, "--k", "3", "--allow-same-patient")
    assert all(u in near for u in index.similar(uid, 3, same_person=True)["nodule_uid"])
    best = index.donors_for(WantedDonor("LUL", diameter_mm=9), 2)["nodule_uid"]
    assert all(u in run(retriever.app, folder, "match", "--lobe", "LUL", "--k", "2", "--diameter", "9") for u in best)
    assert json.loads(run(retriever.app, folder, "detail", "--id", uid, "--json"))[0]["nodule_uid"] == uid
    out = folder / "all.json"
    run(retriever.app, folder, "export", "-o", str(out), "--format", "json", "--label", "0")
    content = json.loads(out.read_text())
    assert content["n_results"] == len(content["results"]) == (index.nodules["label"] == 0).sum()
    assert content["filters"] == {"label": 0}
    run(retriever.app, folder, "export", "-o", str(folder / "all.csv"), "--no-paths")
    assert pl.read_csv(folder / "all.csv").shape == index.nodules.shape
    assert "60 nodules" in run(retriever.app, folder, "info")


def test_the_server_is_of_one_process(folder: Path) -> None:
    pytest.importorskip("itrialspace_assets.explorer.serve")
    done = CliRunner().invoke(nodulemap.app, ["serve", "--workers", "2", "--dir", str(folder)])
    assert "expected 1" in str(done.exception)
