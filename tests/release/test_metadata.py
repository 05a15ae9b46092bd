"""A run crate of made-up records, what may not leave in a bundle, and small cells that are hidden."""

import json
import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from itrialspace_assets.analysis.evidence.gather import Terms, gather
from itrialspace_assets.analysis.evidence.small_cells import MINIMUM_CELL, hide_small, shareable
from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.reports.document import Estimate
from itrialspace_assets.base.errors import TableError
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.records.store import write_table
from itrialspace_assets.records.tables import TABLES
from itrialspace_assets.release import crate
from itrialspace_assets.release.bundle import cell, refuse_private, write_bundle
from itrialspace_assets.release.described import APACHE, ReleaseDescription
from itrialspace_assets.release.lineage import BuiltPartition

MADE = {
    m.label: m
    for m in (
        BuiltPartition("hosts|LUNGx", "3", "aa", {"profiles|LUNGx": "bb", "raw/masks|LUNGx": "cc"}),
        BuiltPartition("profiles|LUNGx", "2", "bb", {"raw/profiles|LUNGx": "dd"}),
        BuiltPartition("study_report|all", "1-x", "ee", {"hosts|LUNGx": "aa"}),
    )
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out")


@pytest.fixture
def what(settings: Settings) -> ReleaseDescription:
    evidence = gather(settings, load_study(settings), "study")
    return ReleaseDescription("demo", "Made up.", "2023-11-14T22:13:20+00:00", (APACHE,), evidence)


def test_a_run_crate_holds_the_musts_of_its_profile(tmp_path: Path, what: ReleaseDescription) -> None:
    """What Process, Workflow and Provenance Run Crate 0.5 require; roc-validator checks a whole release end to end."""
    from rocrate.rocrate import ROCrate

    outputs = {"SHA256SUMS": "1", crate.WORKFLOW: "2"}
    text = crate.run_crate(MADE, outputs, ["manifests"], what)
    assert text == crate.run_crate(dict(MADE), dict(outputs), ["manifests"], what), "equal records, equal bytes"
    assert set(re.findall(r"\d{4}-\d\d-\d\dT[\d:.+-]+", text)) == {what.date}, "no time but the frozen one"
    graph = {e["@id"]: e for e in json.loads(text)["@graph"]}
    (tmp_path / crate.NAME).write_text(text)
    read = ROCrate(tmp_path)
    assert read.mainEntity.id == crate.WORKFLOW
    assert {p.id for p in read.root_dataset["conformsTo"]} >= {
        f"https://w3id.org/ro/wfrun/{p}/0.5" for p in ("process", "workflow", "provenance")
    }

    workflow = graph[crate.WORKFLOW]
    tools = {t["@id"] for t in workflow["hasPart"]}
    assert {graph[s["@id"]]["workExample"]["@id"] for s in workflow["step"]} == tools and "HowTo" in workflow["@type"]
    actions = [e for e in graph.values() if e["@type"] == "CreateAction"]
    assert {a["instrument"]["@id"] for a in actions} == tools | {crate.WORKFLOW}
    assert {m["@id"] for m in graph["./"]["mentions"]} == {a["@id"] for a in actions}
    made = graph["#made/hosts/LUNGx"]
    assert made["result"] == {"@id": "#data/hosts/LUNGx@aa"} or made["result"] == [{"@id": "#data/hosts/LUNGx@aa"}]
    assert {o["@id"] for o in made["object"]} == {"#data/profiles/LUNGx@bb", "#data/raw/masks/LUNGx@cc"}
    assert {o["@id"] for o in graph["#run"]["object"]} == {"#data/raw/masks/LUNGx@cc", "#data/raw/profiles/LUNGx@dd"}
    refers = {i for e in graph.values() for i in re.findall(r'"@id": "([^"]+)"', json.dumps(e))}
    inside = {i for i in refers if not i.startswith("http")}
    assert inside <= set(graph), "nothing refers to what is not there"
    terms = replace(what, licences=("LUNGx: CC BY 3.0 (a page); may be passed on", "OTHER: not stated; must not"))
    of_terms = {e["@id"]: e for e in json.loads(crate.run_crate(MADE, outputs, [], terms))["@graph"]}
    assert of_terms["./"]["license"] == {"@id": "#terms"} and "OTHER: not stated" in of_terms["#terms"]["description"]
    assert graph["./"]["license"] == {"@id": APACHE}
    steps = json.loads(crate.workflow(MADE))["assets"]
    assert steps[0] == {"asset": "hosts", "code_versions": ["3"], "reads": ["profiles", "raw/masks"]}


def metric(stratum: str, n: int, metric: str = "auc") -> dict[str, object]:
    of = {"analysis": "m", "split": "s", "source": "t", "reader": "r", "task": "presence", "condition": "plain"}
    return of | {"stratum": stratum, "metric": metric, "estimate": 0.5, "n_cases": n, "n_slices": n, "flag": None}


def test_small_cells_are_hidden_and_so_is_what_would_tell_them() -> None:
    rows = [metric("all", 60), *(metric(f"size_bucket={b}", n) for b, n in (("a", 10), ("b", 11), ("c", 39)))]
    rows += [metric(f"lobe={b}", n) for b, n in (("a", 5), ("b", 6), ("c", 49))] + [metric("all", 3, "sensitivity")]
    hidden = hide_small(TABLES["metrics"].frame(rows), MINIMUM_CELL)
    got = {(r["stratum"], r["metric"]): (r["estimate"], r["n_cases"], r["flag"]) for r in hidden.to_dicts()}
    assert got["size_bucket=a", "auc"] == (None, None, "hidden: fewer than 11 cases")
    assert got["size_bucket=b", "auc"] == (None, None, "hidden: it would tell a smaller cell")
    assert got["size_bucket=c", "auc"] == (0.5, 39, None)
    assert got["lobe=a", "auc"][0] is got["lobe=b", "auc"][0] is None and got["lobe=c", "auc"][1] == 49
    assert got["all", "sensitivity"][0] is None and got["all", "auc"] == (0.5, 60, None)
    assert hidden.height == len(rows), "the rows stay"


def test_cells_are_hidden_only_where_terms_of_real_data_ask_for_it(what: ReleaseDescription) -> None:
    free, kept = (Terms("D", "L", "s", "c", may) for may in (True, False))
    assert shareable(replace(what.evidence, terms=(free,))).minimum is None
    assert shareable(replace(what.evidence, terms=(free, kept))).minimum == MINIMUM_CELL
    assert shareable(replace(what.evidence, terms=(kept,), anatomy="procedural")).minimum is None
    assert cell(Estimate(0.5, k=3, n=6), MINIMUM_CELL) == "hidden: of fewer than 11"
    assert cell(Estimate(0.5, k=3, n=6)) == "0.5 (3 of 6)" and cell(Estimate(None, flag="why")) == "none; why"
    assert (cell(10, MINIMUM_CELL), cell(11, MINIMUM_CELL), cell(0, MINIMUM_CELL)) == ("fewer than 11", 11, 0)


def test_a_bundle_with_an_id_a_path_or_a_picture_is_refused(settings: Settings) -> None:
    person = {"person_uid": "LUNGx/patient-7", "datasets": "LUNGx", "n_scans": 1, "n_nodules": 0, "person_known": True}
    write_table(settings.output, "patients", pl.DataFrame([person]))
    refuse_private(settings, {"a.csv": b"fine", "b.csv": b"LUNGx, 7 patients"})
    for name, content in {
        "id": b"x,LUNGx/patient-7,y",
        "bare id": b"x,patient-7,y",
        "path": str(settings.output).encode(),
        "picture": b"\x89PNG\r\n",
        "name of a picture": b"slices/a.png",
    }.items():
        with pytest.raises(TableError, match=rf"{name}: expected no"):
            refuse_private(settings, {"fine": b"fine", name: content})


def test_without_a_report_there_is_no_bundle(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="its run --to report"):
        write_bundle(settings, tmp_path / "e.zip")
    assert not (tmp_path / "e.zip").exists()
