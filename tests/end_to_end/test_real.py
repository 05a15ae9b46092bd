"""Two real masks as hosts: cleared, inserted into, rendered, cut, read, reported."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench.insertion import cases_of, prepare
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.hosts.clearance import read_clearance
from itrialspace_assets.hosts.paths import clearance_path
from itrialspace_assets.hosts.procedural import rows as drawn
from itrialspace_assets.imaging.anatomy import NODULE
from itrialspace_assets.imaging.geometry import read_labels
from itrialspace_assets.insertion.insert import insert_case
from itrialspace_assets.profiles.measure import measure_scan, nodules_in
from itrialspace_assets.records.store import read_all
from itrialspace_assets.records.tables import PROFILE_COLUMNS
from itrialspace_assets.trials.fit import fit_positions

from .conftest import apart, here
from .test_round_trip import remeasured

pytestmark = [pytest.mark.real, pytest.mark.slow]

TRIAL = """
mode: x_real
trial: real_hosts
question: Does the chain hold on real anatomy?
planner: sampled
cohort: {lesion_free_twins: true}
arms: [{name: all, published: real_hosts, varies: none, level: none}]
sizes: {demo: {n_cases: 2}}
"""


def test_real_hosts_go_through_the_whole_chain(real_data: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    folder = data / "masks" / "DLCS24" / "refined_seg"
    folder.mkdir(parents=True)
    (data / "profiles").mkdir()
    rows = []
    for case in ("0001", "0002"):
        ct = f"DLCS_{case}"
        shutil.copy(real_data / "masks" / f"{ct}_seg_sh.nii.gz", folder / f"{ct}_seg.nii.gz")
        labels = read_labels(folder / f"{ct}_seg.nii.gz")
        found = nodules_in(labels)
        ids = [f"{ct}_{i}" for i in range(len(found))]
        for measured, annotation in zip(measure_scan(labels, found, ids), ids, strict=True):
            row = {"ct_path": f"DLCS24/{ct}.nii.gz"} | {
                c.name: measured[c.name] for c in PROFILE_COLUMNS if c.name != "ct_path"
            }
            rows.append(
                row
                | {
                    "patient-id": ct,
                    "AnnotationID": annotation,
                    "label": 1,
                    "Age": 60,
                    "Sex": "F",
                    "Smoking Status (Current/Former/Never/Unknown)": "Former",
                }
            )
    pl.DataFrame(rows, infer_schema_length=None).write_csv(data / "profiles" / "DLCS24_nodule_profiles.csv")
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "x_real.yaml").write_text(TRIAL)
    out = tmp_path / "out"
    done = here(
        *("run", "--modes", "x_real", "--datasets", "DLCS24", "--to", "report", "--dir", str(tmp_path)),
        ITRIALSPACE_TRIALS_DIR=str(tmp_path / "trials"),
        ITRIALSPACE_WORKERS="1",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    hosts = read_all(out, "hosts")
    assert dict(zip(hosts["scan_uid"], hosts["native_nodules"], strict=True)) == {
        "DLCS24/DLCS_0001": 2,
        "DLCS24/DLCS_0002": 1,
    }
    inserted = read_all(out, "insertions")
    assert inserted.height == 2
    assert set(inserted["anatomy"]) == {"real"}
    for row in inserted.iter_rows(named=True):
        labels = read_labels(out / row["mask_path"]).array
        host = read_labels(out / "store/hosts" / row["host_map_sha256"][:2] / f"{row['host_map_sha256']}.nii.gz").array
        assert not (host == NODULE).any()
        assert np.isin(host[labels == NODULE], range(28, 33)).all()
        left = row["lobe"].startswith("left")
        assert left == (row["centre_i"] < host.shape[0] / 2)
    again = remeasured(out, inserted)
    assert again["lobe"].all()
    assert again["recorded"].all()
    assert again.filter(~pl.col("planned"))["relaxations"].str.contains("moved").all()
    slices = read_all(out, "slices", source="tissue")
    assert slices.height == 2 * 3 * 4, "nodule, its place on the twin, an empty place"
    metrics = read_all(out, "metrics", analysis="x_real")
    area = metrics.filter(pl.col("metric") == "auc", pl.col("condition") == "plain", pl.col("stratum") == "all")
    assert area["n_slices"].to_list() == [6]
    assert "real anatomy" in (out / "reports/x_real/report.html").read_text()
    assert read_all(out, "rejected_cases").filter(pl.col("reason") == "missing_file").height == 3


def test_measuring_the_real_masks_from_the_command_line(real_data: Path, tmp_path: Path) -> None:
    """Counts, lobes and diameters of the README of the real data."""
    out = tmp_path / "out.csv"
    done = apart(
        "profiles", "measure", "--masks", str(real_data / "masks"), "--dataset", "REALMASKS", "--out", str(out)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = pl.read_csv(out).sort("nodule_mean_diam_mm").to_dicts()
    assert [round(r["nodule_mean_diam_mm"], 2) for r in rows] == [9.21, 11.19, 11.67]
    assert [r["lobe_name"] for r in rows] == ["right_lung_middle_lobe", "right_lung_lower_lobe", "left_lung_lower_lobe"]
    assert rows[2]["lobe_share"] == pytest.approx(0.57, abs=0.005)


def test_many_nodules_in_real_hosts_measure_as_planned(real_data: Path, tmp_path: Path) -> None:
    """Drawn donors of 3 to 30 mm, declared where one of their size lies in the other host and planned: lobe, place and
    distances come back."""
    settings = load_settings(data_dir=tmp_path, output_dir=tmp_path / "out", workers=1)
    hosts = prepare(settings.output, real_data / "masks", 2)
    payloads = cases_of(settings, hosts, 50)
    declared = pl.DataFrame(
        [{"case_uid": p.case_uid, "fit_mm": None} | p.nodules[0].model_dump(exclude={"donor"}) for p in payloads],
        infer_schema_length=None,
    )
    cases = pl.DataFrame(
        [{"case_uid": p.case_uid, "number": i, "host_scan_uid": p.host.scan_uid} for i, p in enumerate(payloads)]
    )
    lobes = pl.DataFrame([{"scan_uid": h["host"]["scan_uid"], **row} for h in hosts for row in h["lobes"]])
    planned = fit_positions(
        declared,
        cases,
        pl.DataFrame(drawn(0)),
        pl.DataFrame([h["host"] for h in hosts]),
        lobes,
        lambda sha: read_clearance(clearance_path(settings.output, sha)),
    )
    rows = []
    for payload, row in zip(payloads, planned.iter_rows(named=True), strict=True):
        names = ("cc_pct", "ml_pct", "ap_pct", "asked_pleural_mm", "asked_airway_mm")
        nodule = payload.nodules[0].model_copy(update={name: row[name] for name in names})
        rows += insert_case(payload.model_copy(update={"nodules": (nodule,)}), settings).rows["insertions"]
    frame = pl.DataFrame(rows, infer_schema_length=None)
    found = remeasured(settings.output, frame)
    assert found["lobe"].mean() >= 0.98
    assert found["recorded"].mean() >= 0.98
    assert found["planned"].mean() >= 0.98
    assert found.filter(~pl.col("planned"))["relaxations"].str.contains("moved").all()
    assert frame["outside_lung"].sum() == 0
    allowed = (frame["planned_diameter_mm"] * 0.02).clip(lower_bound=0.352)  # 2 %, or half a voxel
    assert ((frame["diameter_mm"] - frame["planned_diameter_mm"]).abs() <= allowed).all()
    print(
        found["planned"].sum(),
        "of 50 where they were planned; from the declared place",
        planned["fit_mm"].median(),
        "mm in the middle,",
        planned["fit_mm"].max(),
        "at most",
    )
