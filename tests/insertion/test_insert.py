"""One case: rows, masks, empty sites, faults; the same bytes whatever the workers and however often killed."""

import json
import os
import signal
import time
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itrialspace_assets.base.errors import CaseRejected, PlatformError, Reason
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.casework import journal, workers
from itrialspace_assets.casework.cases import Case
from itrialspace_assets.hosts.depth import LungDepth
from itrialspace_assets.hosts.paths import map_path
from itrialspace_assets.hosts.shapes import NoduleShape, draw_shape
from itrialspace_assets.hosts.store import donor_columns, prepare_host
from itrialspace_assets.imaging.anatomy import LOBES, NODULE
from itrialspace_assets.imaging.geometry import Volume, read_labels
from itrialspace_assets.imaging.lesions import Lesion, shared_voxels, stamp, unpack_bits
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.insertion.case import Donor, Host, InsertionCase, PlannedNodule, work_of
from itrialspace_assets.insertion.empty_site import EmptySite, find_empty_site, wants_cleared
from itrialspace_assets.insertion.insert import insert_case
from itrialspace_assets.insertion.rows import InsertionRow
from itrialspace_assets.profiles.measure import lobe_about
from itrialspace_assets.records.tables import TABLES

from ..conftest import small_chest
from ..support import warm
from .shapes import ball


@lru_cache
def donor(diameter: float, offset: tuple[int, int, int] = (0, 0, 0)) -> dict[str, Any]:
    """A drawn donor of about a diameter, as a row of ``donors``."""
    spacing = np.full(3, 0.7)
    mask = draw_shape(NoduleShape(diameter, 0.1, 0.2), spacing, np.random.default_rng(int(diameter * 10)))
    return donor_columns(Lesion(offset, mask), spacing) | {"scan_uid": "D/s"}


def nodule(
    idx: int = 0,
    diameter: float = 8,
    lobe: str = "right_lung_lower_lobe",
    row: dict[str, Any] | None = None,
    **more: Any,
) -> PlannedNodule:
    """A planned nodule of a drawn donor, or of a row of ``donors``; further fields as given."""
    about = {
        "nodule_idx": idx,
        "present": True,
        "kept": False,
        "donor_nodule_uid": f"D/{idx}",
        "donor_person_uid": "D/p",
        "label": 1,
        "placement": "profile",
        "lobe": lobe,
        "cc_pct": 50.0,
        "ml_pct": 50.0,
        "ap_pct": 50.0,
        "planned_diameter_mm": donor(diameter)["diameter_mm"],
        "scale": 1.0,
        "asked_pleural_mm": None,
        "asked_airway_mm": None,
        "margin_mm": 1.0,
        "rotation_x_deg": 0.0,
        "rotation_y_deg": 0.0,
        "rotation_z_deg": 0.0,
        "mirrored": False,
        "relaxations": "",
    }
    source = row or donor(diameter)
    return PlannedNodule(**about | {"donor": Donor.of(source["scan_uid"], source)} | more)


def host_in(settings: Settings, labels: Volume | None = None) -> Any:
    chest = labels or small_chest()
    if labels is None:
        chest.array[26:30, 14:18, 6:9] = NODULE  # a native nodule of the right lower lobe
    return prepare_host(settings, chest, "D/s", "procedural")


def insertion_case(made: Any, nodules: list[PlannedNodule], number: int = 0) -> InsertionCase:
    return InsertionCase(
        case_uid=f"t/a/{number:05d}",
        mode="x_t",
        dataset="D",
        anatomy="procedural",
        seed=number,
        host_person_uid="D/h",
        host=Host.of("D/s", made.columns, made.lobes),
        nodules=tuple(nodules),
    )


def case(settings: Settings, made: Any, nodules: list[PlannedNodule], number: int = 0) -> Case:
    return work_of(settings, insertion_case(made, nodules, number))


@pytest.fixture
def out(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path, output_dir=tmp_path / "out", workers=1)


def test_a_case_comes_back_from_json_as_it_was(out: Settings) -> None:
    made = insertion_case(host_in(out), [nodule(), nodule(1, 5, cc_pct=None, label=None)])
    again = InsertionCase.model_validate(json.loads(json.dumps(made.model_dump(mode="json"))))
    assert again == made
    assert work_of(out, again) == work_of(out, made)
    for change in ({"seed": 1}, {"host_person_uid": "D/i"}, {"nodules": made.nodules[:1]}):
        assert work_of(out, made.model_copy(update=change)).input_hash != work_of(out, made).input_hash


def test_a_row_has_the_columns_of_its_table() -> None:
    assert {f.name for f in fields(InsertionRow)} == set(TABLES["insertions"].schema)


def test_a_row_says_what_lies_in_the_mask(out: Settings) -> None:
    made = host_in(out)
    result = insert_case(insertion_case(made, [nodule(), nodule(1, 5, "left_lung_lower_lobe")]), out)
    rows = result.rows["insertions"]
    mask = read_labels(out.output / rows[0]["mask_path"])
    np.testing.assert_allclose(mask.affine, made.free.affine)
    here = mask.array == NODULE
    np.testing.assert_array_equal(mask.array[~here], made.free.array[~here])
    assert here.sum() == sum(r["voxels"] for r in rows)
    np.testing.assert_array_equal(stamp(made.free, [unpack_bits(r["lesion"]) for r in rows]).array, mask.array)
    for r in rows:
        assert (r["asked_lobe"], r["outside_lung"], r["overlap"], r["status"]) == (r["lobe"], 0, 0.0, "done")
        assert (r["world_x"] < 0) == r["lobe"].startswith("left"), "left is left in world coordinates"
        assert abs(r["diameter_mm"] - r["planned_diameter_mm"]) <= max(0.02 * r["planned_diameter_mm"], 0.75)
    assert (out.output / rows[0]["mask_path"]).read_bytes() == _whole_file(out, made, rows)
    assert len(json.dumps(rows[0]["lesion"])) < 3000


def _whole_file(out: Settings, made: Any, rows: list[dict[str, Any]]) -> bytes:
    """The mask written in one go: the same bytes as put together from the host's slabs."""
    path = out.output / "whole.nii.gz"
    write_volume(
        path, stamp(made.free, [unpack_bits(r["lesion"]) for r in rows]), "inserted nodules (procedural anatomy)"
    )
    return path.read_bytes()


def test_a_companion_that_does_not_fit_makes_the_case_partial_and_is_named(out: Settings) -> None:
    result = insert_case(insertion_case(host_in(out), [nodule(), nodule(1, 40)]), out)
    assert [(r["nodule_idx"], r["status"]) for r in result.rows["insertions"]] == [(0, "partial")]
    assert [(a.nodule_idx, a.reason) for a in result.rejected] == [(1, Reason.DOES_NOT_FIT)]


FAULTS = {
    "donor larger than the lobe": ([nodule(0, 40)], Reason.DOES_NOT_FIT),
    "no such lobe in the host": ([nodule(0, 8, "right_lung_middle_lobe")], Reason.NO_LOBE),
    "no lobe at all": ([nodule(0, 8, "background")], Reason.NO_LOBE),
    "position missing": ([nodule(0, cc_pct=None)], Reason.BAD_POSITION),
    "position not a number": ([nodule(0, ml_pct=float("nan"))], Reason.BAD_POSITION),
    "position outside the lobe": ([nodule(0, ap_pct=120.0)], Reason.BAD_POSITION),
    "scale of zero": ([nodule(0, scale=0.0)], Reason.BAD_POSITION),
    "empty donor": (
        [nodule(row=donor(8) | {"lesion": '[[0,0,0],[1,1,1],"eJxjAAAAAQAB"]'})],
        Reason.EMPTY_LESION,
    ),
    "native, but of another scan": (
        [nodule(row=donor(8) | {"scan_uid": "D/t"}, placement="native")],
        Reason.BAD_POSITION,
    ),
    "native, but beyond the host": (
        [nodule(row=donor(8, (38, 0, 0)), placement="native")],
        Reason.GRID_MISMATCH,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_nodule_is_refused_with_its_reason(out: Settings, fault: str) -> None:
    nodules, reason = FAULTS[fault]
    with pytest.raises(CaseRejected) as refused:
        insert_case(insertion_case(host_in(out), nodules), out)
    assert refused.value.reason is reason, refused.value


def test_a_damaged_host_is_rejected_and_the_others_go_on(out: Settings) -> None:
    good, bad = host_in(out), host_in(out, Volume(small_chest().array[:, :, :29].copy(), small_chest().affine))
    path = map_path(out.output, bad.columns["map_sha256"])
    path.write_bytes(path.read_bytes()[:200])
    cases = [case(out, good, [nodule()], 0), case(out, bad, [nodule()], 1), case(out, good, [nodule()], 2)]
    made, _ = workers.process(insert_case, cases, out, "insert", "x_t/D", "r")
    assert [r["case_uid"] for r in made.rows["insertions"]] == ["t/a/00000", "t/a/00002"]
    assert [(r.uid, r.reason) for r in made.rejected] == [("t/a/00001", Reason.UNREADABLE_VOLUME)]


@pytest.mark.parametrize("number", [28, 30, 13])  # no space, read-only file system, permission denied
def test_a_disk_that_takes_nothing_ends_the_run(out: Settings, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    made = host_in(out)

    def full(*_: Any) -> str:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("itrialspace_assets.insertion.insert.write_packed", full)
    with pytest.raises(PlatformError, match="run again"):
        workers.process(insert_case, [case(out, made, [nodule()])], out, "insert", "x_t/D", "r")


def test_compat_pastes_over_what_strict_avoids(tmp_path: Path) -> None:
    """A nodule at the edge of the lung: the original's rules hold its centre alone."""
    rows = {}
    for rules in ("strict", "compat"):
        settings = load_settings(data_dir=tmp_path, output_dir=tmp_path / rules, workers=1, placement=rules)
        edge = nodule(0, 12, cc_pct=10.0, ml_pct=95.0)
        rows[rules] = insert_case(insertion_case(host_in(settings), [edge]), settings).rows["insertions"][0]
    assert (rows["strict"]["outside_lung"], rows["strict"]["rules"]) == (0, "strict")
    assert rows["compat"]["outside_lung"] > 0
    assert "outside the lobes" in rows["compat"]["relaxations"]
    assert "moved" in rows["strict"]["relaxations"]


def test_empty_sites_hold_no_lesion_and_lie_alike(out: Settings) -> None:
    made = host_in(out)
    host, sites = made.free, tuple(made.native)
    depth = LungDepth(host, (slice(0, 40), slice(0, 36), slice(0, 30)))
    mask = ball(4, tuple(host.spacing))
    lesion = Lesion((24, 20, 6), mask)

    def found(lesion: Lesion, lobe: int, draw: float, present: bool = True) -> EmptySite:
        return find_empty_site(host, lesion, lobe, 8.0, sites, draw, present, None, depth)

    clean = found(lesion, 32, 1.0, present=False)
    assert clean.lesion is not None
    assert (clean.kind, clean.lesion.offset) == ("never", lesion.offset), "of a clean case: nothing is there"
    never = found(lesion, 32, 1.0)
    assert never.kind == "never" and never.lesion is not None
    assert not any(shared_voxels(never.lesion, other) for other in (lesion, *sites))
    assert (host.array[never.lesion.box][mask] == 32).mean() >= 0.5
    cleared = found(lesion, 32, 0.0)
    assert cleared.kind == "cleared" and cleared.lesion is not None
    assert not shared_voxels(cleared.lesion, lesion)
    native = np.zeros(host.array.shape, bool)
    native[sites[0].box] |= sites[0].mask
    assert native[cleared.lesion.box][cleared.lesion.mask].any()
    assert (host.array[cleared.lesion.box][cleared.lesion.mask] == 32).mean() >= 0.5
    other = found(Lesion((8, 14, 8), mask), 29, 0.0)
    assert (other.kind, other.note) == ("never", "no cleared place in the lobe")
    twin = found(sites[0], 32, 0.0)
    assert twin.kind == "never" and twin.lesion is not None, "its own cleared place is the paired counterfactual's"
    assert not shared_voxels(twin.lesion, sites[0])
    large = Lesion((22, 8, 4), np.ones((13, 20, 11), bool))
    assert found(large, 32, 1.0) == EmptySite(None, None, None, "the outline fits nowhere else in the lobe")


def test_half_of_the_cases_point_at_cleared_sites(out: Settings) -> None:
    made = host_in(out)
    draws = np.linspace(0, 1, 1000, endpoint=False)
    lobes = {lobe_about(made.free, site)[0] for site in made.native}
    assert len(lobes) == 1
    assert sum(wants_cleared(d, made.free, made.native) for d in draws) == 1000, "one lobe of five has one"
    left = Lesion((8, 14, 8), ball(4, tuple(made.free.spacing)))
    upper = Lesion((8, 14, 21), np.ones((2, 2, 2), bool))
    right = Lesion((26, 14, 20), np.ones((2, 2, 2), bool))
    four = [*made.native, left, upper, right]
    assert sum(wants_cleared(d, made.free, four) for d in draws) == 625, "half of all: four lobes of five times 0.625"
    assert not any(wants_cleared(d, made.free, []) for d in draws)


def many(settings: Settings, n: int = 24) -> list[Case]:
    """Cases over three hosts; some nodules fit nowhere."""
    hosts = []
    for i in range(3):
        chest = small_chest()
        chest.array[22:35, 8:30, 4 : 5 + i] = 200
        hosts.append(host_in(settings, chest))
    lobes = [x for x in LOBES if x != "right_lung_middle_lobe"]
    return [
        case(
            settings,
            hosts[i % 3],
            [
                nodule(0, 40 if i % 7 == 3 else 5 + i % 5, lobes[i % 4], ml_pct=float(7 * i % 100)),
                nodule(1, 4 + 9 * (i % 2), lobes[(i + 1) % 4]),
            ],
            i,
        )
        for i in range(n)
    ]


def everything(settings: Settings, cases: list[Case]) -> dict[str, Any]:
    made = journal.collect(settings, cases, journal.journal_dir(settings, "insert", "x_t/D"))
    assert not made.missing
    return {"rows": made.rows, "files": made.files, "rejected": [str(r) for r in made.rejected]}


@pytest.mark.slow
def test_one_two_and_four_workers_give_the_same_bytes(tmp_path: Path) -> None:
    found = []
    for n in (1, 2, 4):
        settings = load_settings(data_dir=tmp_path, output_dir=tmp_path / f"w{n}", workers=n)
        cases = many(settings)
        workers.process(insert_case, cases, settings, "insert", "x_t/D", "r")
        found.append(everything(settings, cases))
    assert found[0]["rejected"]
    assert len(found[0]["files"]) > 10
    assert found[0] == found[1] == found[2]


_SCRIPT = """
import json, sys
from pathlib import Path
from itrialspace_assets.casework import workers
from itrialspace_assets.casework.cases import Case
from itrialspace_assets.insertion.case import InsertionCase
from itrialspace_assets.insertion.insert import insert_case
from itrialspace_assets.base.settings import load_settings
folder = Path(sys.argv[1])
settings = load_settings(data_dir=folder, output_dir=folder / "killed", workers=2)
entries = json.loads((folder / "cases.json").read_text())
cases = [Case(**e | {"payload": InsertionCase(**e["payload"])}) for e in entries]
print("ready", flush=True)
workers.process(insert_case, cases, settings, "insert", "x_t/D", sys.argv[2])
"""


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """Killed at moments drawn after the start, and in turn after a batch was committed; then once undisturbed."""
    last = load_settings(data_dir=tmp_path, output_dir=tmp_path / "killed", workers=2)
    cases = many(last, 60)
    (tmp_path / "cases.json").write_text(
        json.dumps([vars(c) | {"payload": c.payload.model_dump(mode="json")} for c in cases])
    )
    folder = journal.journal_dir(last, "insert", "x_t/D")

    def committed() -> int:
        return sum(path.stat().st_size for path in folder.glob("*.jsonl"))

    rng, between = np.random.default_rng(5), 0
    for i in range(8):
        before = committed()
        reading, writing = os.pipe()
        process = warm.Process(["-c", _SCRIPT, str(tmp_path), f"r{i}"], dict(os.environ), writing)
        os.close(writing)
        with os.fdopen(reading) as said:
            assert said.readline() == "ready\n"
        while i % 2 and committed() == before and process.poll() is None:
            time.sleep(0.002)
        time.sleep(float(rng.uniform(0, 0.1) if i % 2 else rng.uniform(0.05, 1.2)))
        between += committed() > before and process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert between >= 2, "cases were done, others were under way"
    workers.process(insert_case, cases, last, "insert", "x_t/D", "end")
    whole = load_settings(data_dir=tmp_path, output_dir=tmp_path / "whole", workers=1)
    assert [c.input_hash for c in many(whole, 60)] == [c.input_hash for c in cases]
    workers.process(insert_case, cases, whole, "insert", "x_t/D", "r")
    assert everything(last, cases) == everything(whole, cases)
