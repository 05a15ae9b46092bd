"""Trials and cases over HTTP: counts of each stage, pages of cases, the story of a case, and reviews by people."""

import shutil
from pathlib import Path

import polars as pl
import pytest
from fastapi.testclient import TestClient

from itrialspace_assets.explorer.app import create_app
from itrialspace_assets.explorer.cases.sheet import CaseRow, sheet
from itrialspace_assets.explorer.server.security import Access
from itrialspace_assets.records.store import read_all, write_table

from .small_case import write_case


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("cases")
    settings, uid = write_case(folder)
    got = read_all(settings.output, "insertions").row(0, named=True)
    plan = {
        "case_uid": uid,
        "mode": "x_t",
        "nodule_idx": 0,
        "present": True,
        "donor_nodule_uid": got["donor_nodule_uid"],
        "donor_dataset": "D",
        "donor_person_uid": got["donor_person_uid"],
        "placement": "profile",
        "insertion_mode": "profile_faithful",
        "lobe": got["asked_lobe"],
        "fit": "verified",
        "donor_diameter_mm": 8.0,
        "planned_diameter_mm": 8.0,
        "scale": 1.0,
        "size_bucket": got["size_bucket"],
        "margin_mm": 1.0,
        "rotation_x_deg": 0.0,
        "rotation_y_deg": 0.0,
        "rotation_z_deg": 0.0,
        "mirrored": False,
        "kept": False,
        "relaxations": "",
        "why": "the only one",
    }
    write_table(settings.output, "case_nodules", [plan], mode="x_t")
    return settings.output, uid


@pytest.fixture
def client(small: tuple[Path, str], tmp_path: Path) -> TestClient:
    from itrialspace_assets.base.settings import load_settings

    output = tmp_path / "out"
    shutil.copytree(small[0] / "tables", output / "tables")
    settings = load_settings(data_dir=small[0].parent, output_dir=output)
    return TestClient(create_app(settings, Access()), base_url="http://localhost")


def test_a_case_is_followed_through_the_stages(client: TestClient, small: tuple[Path, str]) -> None:
    (flow,) = client.get("/api/trials").json()
    assert (flow["mode"], flow["planned"], flow["inserted"], flow["rejected"]) == ("x_t", 1, 1, 0)
    assert flow["sources"] == [{"source": "tissue", "rendered": 1, "sliced": 0, "answered": 0}]
    page = client.get("/api/cases", params={"mode": "x_t"}).json()
    (row,) = page["rows"]
    assert (page["total"], row["case_uid"], row["stage"], row["verdict"]) == (1, small[1], "rendered", None)
    told = client.get("/api/case", params={"uid": small[1]}).json()
    assert told["lead"].startswith("the only one.") and "PROCEDURAL" in told["mark"]
    assert told["tables"][0]["rows"][2][:3] == [0, "diameter mm", 8.0]
    assert client.get("/api/trial", params={"mode": "x_t"}).json()["flow"] == flow
    for path, values in (("trial", {"mode": "../x"}), ("cases", {"mode": "y"}), ("case", {"uid": "t/a/9"})):
        answer = client.get(f"/api/{path}", params=values)
        assert answer.status_code in (404, 422), answer.text


def test_a_case_that_was_only_planned_is_told(client: TestClient, small: tuple[Path, str]) -> None:
    root = client.app.state.root.settings.output
    shutil.rmtree(root / "tables" / "insertions")
    told = client.get("/api/case", params={"uid": small[1]})
    assert told.status_code == 200, told.text
    assert [row[3] for row in told.json()["tables"][0]["rows"]] == [None] * 6


def test_a_person_rejects_a_case_and_everybody_sees_it(client: TestClient, small: tuple[Path, str]) -> None:
    uid = small[1]
    said = {"case_uid": uid, "reviewer": "Ada", "verdict": "reject", "reason": "it floats"}
    assert client.post("/api/reviews", json=said | {"reason": ""}).status_code == 422
    assert client.post("/api/reviews", json=said | {"case_uid": "t/a/9"}).status_code == 404
    assert client.post("/api/reviews", content="case_uid=x").status_code == 415
    assert client.get("/api/reviews").json()["total"] == 0, "nothing that was refused is kept"
    assert client.post("/api/reviews", json=said).json()["number"] == 1
    assert client.get("/api/trials").json()[0]["rejected_by_people"] == 1
    (row,) = client.get("/api/cases", params={"mode": "x_t", "verdict": "reject"}).json()["rows"]
    assert (row["verdict"], row["reviewer"]) == ("reject", "Ada")
    assert client.get("/api/cases", params={"mode": "x_t", "verdict": "none"}).json()["total"] == 0
    client.post("/api/reviews", json=said | {"reviewer": "Ben", "verdict": "accept", "reason": ""})
    told = client.get("/api/case", params={"uid": uid}).json()
    assert [(r["reviewer"], r["verdict"]) for r in told["reviews"]] == [("Ada", "reject"), ("Ben", "accept")]
    assert client.get("/api/trials").json()[0]["accepted_by_people"] == 1


def test_pages_of_a_contact_sheet_join_up() -> None:
    blank = dict.fromkeys(CaseRow.__dataclass_fields__)
    rows = pl.DataFrame(
        [
            blank | {"case_uid": f"c{i}", "arm": "ab"[i % 2], "verdict": ["accept", None, "reject"][i % 3]}
            for i in range(9)
        ]
    )
    whole = [r.case_uid for offset in (0, 4, 8) for r in sheet(rows, None, None, offset, 4).rows]
    assert whole == [f"c{i}" for i in range(9)]
    found = sheet(rows, "b", "reject", 0, 9)
    assert (found.total, [r.case_uid for r in found.rows], found.arms) == (1, ["c5"], ["a", "b"])
    assert [r.case_uid for r in sheet(rows, None, "none", 0, 9).rows] == ["c1", "c4", "c7"]
