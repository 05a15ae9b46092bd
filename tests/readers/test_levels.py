"""Readers that are asked about whole scans: which levels they are shown, their requests, and a partition of them."""

from collections.abc import Callable, Sequence

import duckdb
import nibabel as nib
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.catalog.rebuild import views
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.profiles.cts import ct_source
from itrialspace_assets.readers import build, registry
from itrialspace_assets.readers.api import Generation, Prompt, Read, Reader, Request
from itrialspace_assets.readers.case import RealScan
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment, ReaderKind
from itrialspace_assets.readers.estimate import estimate_reading
from itrialspace_assets.readers.levels import levels, pictures
from itrialspace_assets.readers.questions import questions
from itrialspace_assets.readers.requests import NOTHING
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import read_table
from itrialspace_assets.slices.windows import PROFILES
from tests.readers.conftest import PART, WHERE, read, slice_rows, table

LEVELS = 4
ENTRY = "kind: counting, options: {}, controls: [text_only, options_rotated]"


def test_the_levels_of_the_published_rule() -> None:
    """docs/facts/readers.md#medgemma: round(i / 85 * (n - 1)), i from 1 to 85, of a scan of more than 85 levels."""
    assert levels(341, 85) == list(range(4, 341, 4))
    assert levels(87, 85)[:2] == [1, 2]
    assert levels(3, 85) == [0, 1, 2]


@given(st.integers(1, 2000), st.integers(1, 100))
def test_levels_rise_lie_in_the_scan_and_end_with_its_last(count: int, most: int) -> None:
    found = levels(count, most)
    assert found == sorted(set(found))
    assert len(found) == min(count, most)
    assert found[0] >= 0 and found[-1] == count - 1


def test_pictures_of_a_scan_are_those_of_its_slices() -> None:
    hu = np.full((5, 4, 3), -1000.0)
    hu[0, 3, 1] = 40.0  # the patient's left and back lie at the array's start; picture: front on top, right on the left
    shown = pictures(Volume(hu, np.diag([0.7, 0.8, 2.0, 1.0])), PROFILES["lung_axial_medgemma"], 85)
    assert [p.shape for p in shown] == [(4, 5, 3)] * 3
    assert shown[1][0, 4].tolist() == [132, 128, 128] and shown[0].max() == 3


class _None(StrictModel):
    pass


def _counts(requests: Sequence[Request]) -> list[Generation]:
    """Says how many pictures it was shown, and the grey of the last one."""
    return [Generation(f"{len(r.pictures)} {int(r.pictures[-1][0, 0]) if r.pictures else 'nothing'}") for r in requests]


def _build(entry: ReaderEntry, options: _None, place: ReaderEnvironment) -> Reader:
    def load() -> Read:
        return _counts

    prompt = Prompt("p", "Is there a nodule? {options}", "Any nodule? {options}")
    return Reader(
        name=entry.name, location="cpu", code="c", trained_on="nothing", licence="ours", tasks=("presence",),
        prompts={"presence": prompt}, profile="lung_axial", z_offsets=(0,), controls=entry.controls, scorer="text",
        seed=None, load=load, scan_levels=LEVELS,
    )  # fmt: skip


@pytest.fixture
def scans(study: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Eight slices of two scans of six levels, the second one damaged, and a reader of whole scans named ``mock``."""
    monkeypatch.setitem(registry.KINDS, "counting", ReaderKind("counting", _None, _build))
    settings = study(8, ENTRY)
    found = {}
    hu = np.broadcast_to(np.arange(6) * 100.0 - 1000, (7, 8, 6)).astype(np.int16)
    for number in (0, 1):
        path = f"{number}.nii.gz"
        file = ct_source(settings.data, path)
        file.parent.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(hu, np.diag([0.7, 0.7, 1.0, 1.0])), file)
        if number == 1:
            file.write_bytes(b"no scan")
        found[f"LUNA16/{number}"] = RealScan(image_uid=f"LUNA16/{number}", key=f"key{number}", ct_path=path)
    hosts = {uid: uid for uid in found}
    monkeypatch.setattr("itrialspace_assets.readers.questions._real_scans", lambda *_: (found, hosts))
    return settings


def test_each_scan_is_asked_once_and_a_damaged_one_costs_itself(scans: Settings) -> None:
    result = read(scans, "r1")
    rows = table(scans, "generations").sort("target_uid", "control")
    assert rows.select("target_uid", "control", "z_offsets", "raw_text").rows() == [
        ("LUNA16/0", "none", "scan_4", "4 144"),  # -500 HU of the window -1350 to 150: 144.5, truncated
        ("LUNA16/0", "options_rotated", "scan_4", "4 144"),
        ("LUNA16/0", "text_only", "scan_4", "0 nothing"),
        ("LUNA16/1", "none", "scan_4", None),
        ("LUNA16/1", "options_rotated", "scan_4", None),
        ("LUNA16/1", "text_only", "scan_4", "0 nothing"),
    ]
    assert rows["slice_uid"].null_count() == rows.height
    assert set(rows.filter(control="text_only")["picture_sha256"]) == {NOTHING}
    assert rows["failure"].drop_nulls().str.starts_with("unreadable_volume: ").to_list() == [True] * 2
    answers = table(scans, "answers")
    assert answers.filter(status="unsupported").select("task", "target_uid").sort("task", "target_uid").rows() == [
        (task, f"LUNA16/{n}") for task in ("lobe", "size") for n in (0, 1)
    ]
    assert (result.computed, result.rejected) == (5, 2), "what is asked of the text alone is one request"
    assert read(scans, "r2").computed == 2, "only what failed is asked again"


def test_requests_about_a_scan_are_one_batch(scans: Settings) -> None:
    reader = registry.readers(scans)["mock"]
    asked = questions(scans, REAL, reader, PART)
    batches = [case.payload.job.requests for case in build._batches(scans, reader, [asked.requests], asked.shown, "r")]
    assert [{r.scan.image_uid for r in batch if r.scan} for batch in batches] == [{"LUNA16/0"}, {"LUNA16/1"}]
    assert asked.scans == {}, "it marks none"
    assert asked.requests.filter(control="none")["generation_key"].n_unique() == 2
    about = estimate_reading(scans, REAL, reader, [PART])
    assert (about.requests, about.scans) == (5, 0)


def test_which_slices_are_cut_does_not_matter_to_it(scans: Settings, study: Callable[..., Settings]) -> None:
    before = questions(scans, REAL, registry.readers(scans)["mock"], PART).requests
    other = study(
        rows=[row | {"profile": "bone_axial"} for row in slice_rows(scans.output, range(8))],
        entry=ENTRY,
    )
    after = questions(other, REAL, registry.readers(other)["mock"], PART).requests
    assert after.equals(before)
    assert pl.Series(["LUNA16/0"]).is_in(after["scan_uid"].implode()).all()


def test_the_view_shows_the_truth_beside_an_answer_about_a_scan(scans: Settings) -> None:
    read(scans, "r1")
    slices = read_table(scans.output, "slices", **WHERE)
    no_nodule = pl.when(pl.col("image_uid") == "LUNA16/1").then(pl.lit("absent")).otherwise("presence")
    with duckdb.connect() as db:
        db.register("slices", slices.with_columns(presence=no_nodule).to_arrow())
        for name in ("answers", "generations"):
            db.register(name, table(scans, name).to_arrow())
        db.execute(views()["scan_answers"])
        query = "SELECT image_uid, control, presence, status, raw_text FROM scan_answers ORDER BY 1, 2"
        found = db.sql(query).fetchall()
    assert found == [
        ("LUNA16/0", "none", "present", "unparsed", "4 144"),
        ("LUNA16/0", "options_rotated", "present", "unparsed", "4 144"),
        ("LUNA16/0", "text_only", "present", "unparsed", "0 nothing"),
        ("LUNA16/1", "none", "absent", "error", None),
        ("LUNA16/1", "options_rotated", "absent", "error", None),
        ("LUNA16/1", "text_only", "absent", "unparsed", "0 nothing"),
    ]
