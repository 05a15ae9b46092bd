"""Marks of a reader joined to the nodules truly in its scans, and the rows and figure that a report shows of them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.scoring import detection_rows as shown
from itrialspace_assets.analysis.scoring.detection_rows import AT_ONE, report_detection
from itrialspace_assets.analysis.scoring.marks import MarkedScans, join_marks
from itrialspace_assets.analysis.scoring.rows import Analysis
from itrialspace_assets.base.settings import load_settings

OF = (Analysis("m02", "demo_v1", "procedural"), "tissue", "blob")
WORLD = {"world_x": 0.0, "world_y": 0.0, "world_z": 0.0}


def study_of(n: int) -> dict[str, pl.DataFrame]:
    """Cases c0 ... of one nodule of 8 mm at the origin; two share a host and its lesion-free twin. The reader marks the
    nodule of even cases (score 90 + case), and two places of each twin (20 + host, 10)."""
    case = [f"c{i}" for i in range(n)]
    host = [f"h{i // 2}" for i in range(n)]
    insertions = pl.DataFrame(
        {"case_uid": case, "host_person_uid": host, "donor_person_uid": [f"d{i}" for i in range(n)]}
    ).with_columns(
        nodule_idx=0,
        present=True,
        diameter_mm=8.0,
        size_bucket=pl.Series(["5-10mm", "10-15mm"] * (n // 2)),
        **{k: pl.lit(v) for k, v in WORLD.items()},
    )
    lesion = pl.DataFrame({"case_uid": case, "image_uid": [f"i{i}" for i in range(n)], "is_lesion_free": False})
    twin = pl.DataFrame({"case_uid": case, "image_uid": [f"twin-{h}" for h in host], "is_lesion_free": True})
    cts = pl.concat([lesion, twin]).with_columns(kept=pl.lit("nifti"))
    rows = [{"image_uid": f"i{i}", "mark": 0, **WORLD, "score": 90.0 + i} for i in range(0, n, 2)]
    for k, h in enumerate(dict.fromkeys(host)):
        rows += [{"image_uid": f"twin-{h}", "mark": m, **WORLD, "score": s} for m, s in enumerate((20.0 + k, 10.0))]
    images = cts["image_uid"].unique(maintain_order=True)
    seen = pl.DataFrame({"image_uid": images, "status": ["ok"] * len(images)})
    return {"seen": seen, "cts": cts, "insertions": insertions, "detections": pl.DataFrame(rows)}


def joined(frames: dict[str, pl.DataFrame], rejected: list[str] | None = None) -> MarkedScans:
    return join_marks(**frames, rejected=pl.Series(rejected or [], dtype=pl.String))


def test_scans_are_images_and_a_twin_that_cases_share_is_one() -> None:
    found = joined(study_of(8))
    assert found.scans.height == 8 + 4
    matched = found.matched
    assert (len(matched.nodule_scan), int(matched.is_free.sum()), len(matched.false_scan)) == (8, 4, 8)
    assert sorted(matched.nodule_score[np.isfinite(matched.nodule_score)]) == [90, 92, 94, 96]
    of_scan = dict(zip(found.scans["image_uid"], range(12), strict=True))
    assert matched.false_scan.tolist().count(of_scan["twin-h1"]) == 2
    assert [found.scans["image_uid"][int(s)] for s in matched.nodule_scan] == [f"i{i}" for i in range(8)]
    assert found.nodules["case_uid"].to_list() == [f"c{i}" for i in range(8)]
    assert (found.unread, found.left_out) == (0, 0)


def test_places_and_diameters_decide_what_hits() -> None:
    frames = study_of(4)
    frames["detections"] = frames["detections"].with_columns(
        world_y=pl.when(pl.col("image_uid") == "i0").then(4.1).otherwise(0.0)
    )
    assert np.isfinite(joined(frames).matched.nodule_score).tolist() == [False, False, True, False]
    frames["insertions"] = frames["insertions"].with_columns(diameter_mm=8.3)
    assert np.isfinite(joined(frames).matched.nodule_score).tolist() == [True, False, True, False]


def test_a_clean_case_holds_no_nodule_and_its_image_is_lesion_free() -> None:
    frames = study_of(4)
    frames["insertions"] = frames["insertions"].with_columns(present=pl.col("case_uid") != "c0")
    found = joined(frames).matched
    assert (len(found.nodule_scan), int(found.is_free.sum())) == (3, 3)
    assert 90.0 in found.false_score


def test_slices_outside_the_split_and_cases_without_whole_scans_are_left_out() -> None:
    frames = study_of(4)
    frames["seen"] = frames["seen"].filter(pl.col("image_uid") != "i3")
    frames["cts"] = frames["cts"].with_columns(
        kept=pl.when(pl.col("image_uid") == "i0").then(pl.lit("planes")).otherwise("kept")
    )
    assert joined(frames).scans["image_uid"].to_list() == ["i1", "i2", "twin-h0", "twin-h1"]
    both = pl.when(pl.col("image_uid").is_in(["i0", "i1"])).then(pl.lit("planes")).otherwise(pl.lit("kept"))
    frames["cts"] = frames["cts"].with_columns(kept=both)
    assert joined(frames).scans["image_uid"].to_list() == ["i2", "twin-h1"], "a twin alone would only add false marks"


def test_an_unread_scan_with_a_nodule_counts_as_missed_and_one_without_is_left_out() -> None:
    frames = study_of(4)
    marked = frames["detections"].filter(~pl.col("image_uid").is_in(["i0", "twin-h0"]))
    found = joined(frames | {"detections": marked})
    assert (found.unread, found.left_out) == (0, 0), "a reader may find nothing"
    found = joined(frames | {"detections": marked}, rejected=["c0"])
    assert (found.unread, found.left_out, found.scans.height) == (1, 1, 5)
    assert np.isinf(found.matched.nodule_score[0])
    unasked = pl.col("image_uid").is_in(["i0", "twin-h0"])
    found = joined(frames | {"seen": frames["seen"].with_columns(status=pl.when(~unasked).then("status"))})
    assert (found.unread, found.left_out) == (1, 1)
    rows, _ = shown.detection_rows(found, load_study(load_settings()), *OF, np.random.SeedSequence(0))
    assert rows[0].flag.endswith(
        "1 scans with nodules were not read: missed; 1 lesion-free scans were not read: left out"
    )
    assert rows[0].n_unanswered == 2


def test_donors_are_drawn_besides_only_where_one_lies_in_two_hosts() -> None:
    frames = study_of(6)
    assert joined(frames).donor() is None
    frames["insertions"] = frames["insertions"].with_columns(donor_person_uid=pl.Series(["a", "a", "a", "b", "c", "c"]))
    found = joined(frames)
    assert found.donor().tolist() == [0, 0, 0, 1, 2, 2]
    assert found.host().tolist() == [0, 0, 1, 1, 2, 2, 0, 1, 2]
    rows, _ = shown.detection_rows(found, load_study(load_settings()), *OF, np.random.SeedSequence(0))
    assert "host persons and donor persons" in rows[3].method


def test_rows_of_metrics_by_hand() -> None:
    """24 cases on 12 hosts: every other nodule is marked above all false marks; two false marks on each of 12 twins."""
    found = joined(study_of(24))
    rows, detection = shown.detection_rows(found, load_study(load_settings()), *OF, np.random.SeedSequence(0))
    value = {(r.stratum, r.metric): r for r in rows}
    assert len(value) == len(rows) == 7 + 7 + 3 + 3
    assert {(r.task, r.condition, r.reader) for r in rows} == {("detection", "plain", "blob")}
    cpm = value["all", "cpm"]
    assert (cpm.estimate, cpm.n_cases, cpm.n_negatives, cpm.n_hosts, cpm.n_donors) == (0.5, 24, 12, 12, 24)
    assert (cpm.k, value["all", "froc_1"].k, value["all", "froc_1"].estimate) == (None, 12, 0.5)
    assert value["all", "wafroc"].estimate == 0.5, "an unmarked nodule is below every lesion-free scan, which has marks"
    assert value["all", "fp_per_lesion_free_scan_0.125"].estimate == pytest.approx(4 / 12), "4 of 36 scans' marks"
    assert value["all", "fp_per_lesion_free_scan_8"].estimate == 2
    assert detection.free_threshold == 20.0
    assert value["all", AT_ONE].estimate == 0.5
    small, large = (value[f"size_bucket={s}", AT_ONE] for s in ("5-10mm", "10-15mm"))
    assert (small.estimate, small.k, small.n_cases, large.estimate, large.k) == (1.0, 12, 12, 0.0, 0)
    assert (small.low, small.high, small.flag) == (pytest.approx(0.025 ** (1 / 12)), 1.0, None)
    assert (small.n_hosts, small.n_slices) == (12, None)


def test_a_reader_that_marks_no_scans_and_a_study_without_scans_have_no_rows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings, study = load_settings(), load_study(load_settings())
    frames = study_of(4)
    seen = frames["seen"].with_columns(source=pl.lit("tissue"), reader=pl.lit("blob"))
    monkeypatch.setattr(shown, "readers", lambda _: {"mock": type("R", (), {"mark": None})})
    assert report_detection(settings, seen, study, "m02", "tissue", "mock") == []
    monkeypatch.undo()
    empty = {name: frame.head(0) for name, frame in frames.items()}
    monkeypatch.setattr(shown, "marked_scans", lambda *_: joined(empty))
    assert report_detection(settings, seen, study, "m02", "tissue", "blob") == []
    monkeypatch.setattr(shown, "marked_scans", lambda *_: joined(frames))
    settings = settings.model_copy(update={"data_dir": tmp_path})
    found, again = (report_detection(settings, seen, study, "m02", "tissue", "blob") for _ in range(2))
    assert found == again
    assert max(r.estimate or 0 for r in found if r.metric.startswith("froc_")) == 0.5, "every other nodule is marked"
