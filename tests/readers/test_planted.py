"""The simulated reader: right by the declared chances of the slice's truth, the same whatever it is asked with."""

import os
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.readers import mock, planted
from itrialspace_assets.readers.api import Ids, Request
from itrialspace_assets.readers.planted import Planted, Truth, chance, truths
from itrialspace_assets.records.store import table_files
from itrialspace_assets.records.tables import TASK_OPTIONS

from .conftest import read, table

LESION = Truth("s", "present", "left_lung_upper_lobe", "5-10mm", "5-10mm", 1)


def request(key: str, task: str = "presence", condition: str = "plain", uid: str = "s") -> Request:
    ids = Ids(slice_uid=uid, image_uid="i", picture_sha256="p", published_ids=(), case_uids=())
    return Request(key, (), None, condition, "none", task, "p_1", None, TASK_OPTIONS[task], ids)


def test_chances_add_up_and_stay_between_0_and_1() -> None:
    added = {"sizes": {"5-10mm": -0.2}, "lobes": {"left_lung_upper_lobe": 0.1}, "conditions": {"bbox": 0.9}}
    declared = Planted.model_validate({"sensitivity": 0.5, "false_alarms": 0.2} | added)
    assert chance(declared, LESION, "plain") == pytest.approx(0.4)
    assert chance(declared, LESION, "bbox") == 1.0
    assert chance(declared, Truth("s", "absent", None, None, None, None), "bbox") == pytest.approx(0.8)


@pytest.mark.parametrize(("task", "right"), [("presence", "present"), ("size", "5-10mm"), ("malignancy", "malignant")])
def test_it_is_right_as_often_as_declared(task: str, right: str) -> None:
    options = mock.MockOptions(planted=Planted(sensitivity=0.3))
    asked = [request(f"k{i}", task) for i in range(3000)]
    made = [mock.simulated(options, r, {"s": LESION}) for r in asked]
    assert sum(g.raw_text == right for g in made) / 3000 == pytest.approx(0.3, abs=0.03)
    assert {g.raw_text for g in made} == set(TASK_OPTIONS[task])
    for got in made[:50]:
        assert got.option_scores is not None
        assert TASK_OPTIONS[task][got.option_scores.index(max(got.option_scores))] == got.raw_text
    lost = mock.simulated(options, request("k", uid="gone"), {})
    assert lost.failure == "expected slice gone in the table slices, found none"


def test_it_reads_the_truth_of_the_slices_that_it_is_asked_about(study: Callable[..., Settings]) -> None:
    entry = "tasks: [presence], options: {planted: {sensitivity: 1.0, false_alarms: 0.0}}"
    settings: Any = study(24, entry)
    read(settings, "run")
    answers = table(settings, "answers").filter(control="none", task="presence")
    truth = {uid: t.presence for uid, t in truths(settings.output, answers["slice_uid"].to_list()).items()}
    assert (len(truth), answers.height) == (24, 48)
    assert [truth[uid] for uid in answers["slice_uid"]] == answers["answer"].to_list()


def test_a_batch_reads_no_table_again_that_has_not_changed(
    study: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study of 13 modes has a hundred tables of slices and thousands of batches."""
    settings: Any = study(24, "tasks: [presence], options: {planted: {sensitivity: 1.0, false_alarms: 0.0}}")
    slices, opened = table(settings, "slices"), []
    uids = slices["slice_uid"].unique().to_list()
    before = truths(settings.output, uids)
    monkeypatch.setattr(planted.pl, "read_parquet", lambda *a, **k: opened.append(a) or slices)
    assert (truths(settings.output, [*uids[:3], "gone"]).keys(), opened) == (set(uids[:3]), [])
    slices = slices.with_columns(presence=pl.lit("absent")).select(planted._TRUTH)
    for path in table_files(settings.output, "slices"):
        os.utime(path, ns=(0, 0))
    assert (
        {t.presence for t in truths(settings.output, uids).values()}
        == {"absent"}
        != {t.presence for t in before.values()}
    )
