"""Metadata of a whole release against their validators, and a bundle of all reports searched byte by byte."""

import json
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import polars as pl
import pytest

from itrialspace_assets.records.store import read_all

from .conftest import here

pytestmark = pytest.mark.slow
#: Python of an environment with roc-validator, which needs another version of rich than we do.
VALIDATOR = os.environ.get("ROC_VALIDATOR_PYTHON")
SCRIPT = Path(__file__).parents[1] / "support" / "validate_crate.py"


def test_croissant_passes_mlcroissant_and_its_records_are_read(demo: Path) -> None:
    import mlcroissant

    found = mlcroissant.Dataset(jsonld=str(demo / "out" / "croissant.json"))
    assert not found.metadata.ctx.issues.errors and not found.metadata.ctx.issues.warnings
    assert "http://mlcommons.org/croissant/1.1" in found.metadata.conforms_to
    assert found.metadata.data_limitations and found.metadata.personal_sensitive_information
    name = "vlm_dataset_synthetic_tissue_lung_axial_eval_dataset"
    records = list(found.records(name))
    table = pl.read_csv(demo / "out" / "vlm_dataset" / "synthetic_tissue" / "lung_axial" / "eval_dataset.csv")
    assert [r[f"{name}/png_path"].decode() for r in records] == table["png_path"].to_list()
    sums = (demo / "out" / "SHA256SUMS").read_text()
    assert "  croissant.json\n" in sums and "  workflow.json\n" in sums


def crate_alone(demo: Path, to: Path) -> Path:
    """The crate with its files, and its folders without theirs."""
    to.mkdir()
    for entity in json.loads((demo / "out" / "ro-crate-metadata.json").read_text())["@graph"]:
        if entity["@id"].endswith("/") and entity["@id"] != "./":
            (to / entity["@id"]).mkdir()
        elif "File" in entity["@type"] or entity["@id"] == "ro-crate-metadata.json":
            shutil.copy(demo / "out" / entity["@id"], to)
    return to


@pytest.mark.skipif(
    not VALIDATOR, reason="ROC_VALIDATOR_PYTHON: expected the path of a Python with roc-validator, found none"
)
def test_the_run_crate_passes_roc_validator(demo: Path, tmp_path: Path) -> None:
    import rocrate

    context = Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld"

    def validate(folder: Path) -> subprocess.CompletedProcess[str]:
        command = [str(VALIDATOR), str(SCRIPT), str(folder), str(context)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)

    whole = crate_alone(demo, tmp_path / "crate")
    done = validate(whole)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    path = whole / "ro-crate-metadata.json"
    path.write_text(path.read_text().replace('"HowTo"', '"Thing"'))
    assert "HowTo" in validate(whole).stdout


def test_a_bundle_holds_no_id_path_or_picture_and_is_the_same_twice(demo: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.zip", tmp_path / "b.zip"
    for out in (first, second):
        done = here("evidence", "bundle", "--out", str(out), "--dir", str(demo))
        assert done.returncode == 0 and "no cell is hidden" in done.stdout, done.stderr
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    tables = ("README.txt", "metrics.csv", "locks.csv", "lineage.csv", "study.lock.json", "versions.json")
    assert {*tables, "study/checklist_claim_2024.csv", "m02_size_detection_curve/cards_readers.csv"} <= set(files)
    out = demo / "out"
    ids = {
        *read_all(out, "cases")["case_uid"],
        *read_all(out, "slices")["case_uid"],
        *read_all(out, "slices")["slice_uid"],
        *read_all(out, "scans")["scan_uid"],
        *read_all(out, "scans")["ct_id"],
        *read_all(out, "patients")["person_uid"],
        *read_all(out, "nodules")["nodule_uid"],
    }
    assert len(ids) > 100
    for name, content in files.items():
        text = content.decode()  # text in UTF-8, all of it: no picture
        assert not [i for i in ids if i in text], name
        assert str(demo) not in text and ".png" not in text and "/tables/" not in text and "\x00" not in text, name


def test_small_cells_of_people_whose_data_may_not_be_passed_on_are_hidden(demo: Path, tmp_path: Path) -> None:
    """As if the anatomy were of real people: no number rests on 1 to 10 cases, in no table."""
    (demo / "data" / "PROCEDURAL.json").unlink()
    done = here("evidence", "bundle", "--out", str(tmp_path / "e.zip"), "--dir", str(demo))
    assert done.returncode == 0 and "cells of fewer than 11 cases are hidden" in done.stdout, done.stderr
    with zipfile.ZipFile(tmp_path / "e.zip") as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    metrics = pl.read_csv(files["metrics.csv"].encode(), infer_schema_length=None)
    least = pl.coalesce("n_cases", "n_slices", "n_hosts")
    assert metrics.filter(least < 11).height == 0 < metrics.filter(pl.col("estimate").is_not_null()).height
    assert metrics.filter(pl.col("flag").str.starts_with("hidden: fewer")).height > 100
    for name, text in files.items():
        small = [of for _, of in re.findall(r"(?<![\d,])(\d+) of (\d+)(?![\d,])", text) if 0 < int(of) < 11]
        assert not small, f"{name}: {small}"
    assert "DLCS24" in files["README.txt"] and "forbid" in files["README.txt"]


def test_checklist_credibility_and_cards_are_printed(demo: Path) -> None:
    for command, words in {
        "checklist": ("checklist_claim_2024", "checklist_stard_ai", "the authors must say: funding"),
        "credibility": ("model influence", "software quality assurance", "Nothing here claims to follow it".lower()),
        "cards": ("cards_readers", "blob", "scorecard_fidelity_m02_size_detection_curve"),
    }.items():
        done = here("evidence", command, "--report", "2", "--dir", str(demo))
        assert done.returncode == 0 and all(w in done.stdout for w in words), done.stdout + done.stderr
    wrong = here("evidence", "cards", "--report", "3", "--dir", str(demo))
    assert wrong.returncode == 2 and "expected one of study, m02_size_detection_curve" in wrong.stderr
