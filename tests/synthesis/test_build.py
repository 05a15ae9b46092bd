"""The parts of a partition of ``cts`` on a small store: how often cases are listed, what is estimated and left."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.hosts.store import prepare_host
from itrialspace_assets.insertion.insert import insert_case
from itrialspace_assets.records.store import read_table, write_table
from itrialspace_assets.records.tables import TABLES
from itrialspace_assets.synthesis import build, rendering
from itrialspace_assets.synthesis.renderers import RENDERERS

from ..conftest import small_chest
from ..insertion.test_insert import insertion_case, nodule

PAIR = {"mode": "x_t", "dataset": "D"}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Three inserted cases on one host, and the tables that rendering reads."""
    settings = load_settings(data_dir=tmp_path, output_dir=tmp_path / "out", workers=1, shards=2)
    (tmp_path / "profiles").mkdir()
    made = prepare_host(settings, small_chest(), "D/s", "procedural")
    planned = [insertion_case(made, [nodule(0, 5 + i)], i) for i in range(3)]
    rows = [row for case in planned for row in insert_case(case, settings).rows["insertions"]]
    write_table(settings.output, "insertions", rows, **PAIR)
    how: dict[str, Any] = {
        "mode": "x_t",
        "trial": "t",
        "arm": "a",
        "cohort_mode": "cross",
        "host_dataset": "D",
        "host_scan_uid": "D/s",
        "host_person_uid": "D/h",
        "n_nodules": 1,
        "lesion_free_twin": True,
        "attenuation": "solid",
        "mtf50_per_mm": 0.4,
        "dose": 1.0,
        "render_replicate": 0,
        "anatomy": "procedural",
    }
    cases = [how | {"case_uid": c.case_uid, "number": i, "seed": c.seed} for i, c in enumerate(planned)]
    write_table(settings.output, "cases", cases, mode="x_t")
    host = {"scan_uid": "D/s", "dataset": "D", "person_uid": "D/h", "anatomy": "procedural"}
    write_table(settings.output, "hosts", [host | made.columns], dataset="D")
    write_table(settings.output, "profiles", TABLES["profiles"].empty(), dataset="D")
    estimated = replace(RENDERERS["tissue"], seconds_per_image=lambda *_: 2.0)
    monkeypatch.setitem(RENDERERS, "tissue", estimated)
    rendering._TWINS.clear()
    return settings


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that the cases are listed."""
    calls: list[int] = []
    whole = build.render_cases
    monkeypatch.setattr(build, "render_cases", lambda *a: calls.append(1) or whole(*a))
    return calls


def test_plan_and_collect_list_the_cases_once_each_and_the_others_never(store: Settings, listed: list[int]) -> None:
    keys = build.plan(store, "tissue", PAIR, "r")
    assert (keys, len(listed)) == (["s0"], 1), "one host, one shard"
    build.estimate(store, "tissue", PAIR, "r", keys)
    build.work(store, "tissue", PAIR, "r", keys[0])
    assert len(listed) == 1
    result = build.collect(store, "tissue", PAIR, "r")
    assert len(listed) == 2
    assert (result.tables, result.computed, result.rejected) == ({"cts": 6}, 3, 0)
    assert result.picture is not None and result.picture.startswith(b"\x89PNG")


def test_the_estimate_is_of_what_the_shards_hold(store: Settings) -> None:
    """By hand: a twin and three images of two seconds; afterwards nothing is left."""
    keys = build.plan(store, "tissue", PAIR, "r")
    found = build.estimate(store, "tissue", PAIR, "r", keys)
    assert (found["estimated_seconds"], found["estimated_seconds_a_case"]) == (8, round(8 / 3, 1))
    assert build.estimate(store, "tissue", PAIR, "r", []) == {}
    build.work(store, "tissue", PAIR, "r", keys[0])
    assert build.plan(store, "tissue", PAIR, "q") == []


def test_a_case_that_is_planned_another_way_is_rendered_again(store: Settings) -> None:
    for key in build.plan(store, "tissue", PAIR, "r"):
        build.work(store, "tissue", PAIR, "r", key)
    renderer = RENDERERS["tissue"]
    assert build.cases_left(store, "tissue", PAIR, build.render_cases(store, renderer, PAIR)) == []
    cases = read_table(store.output, "cases", mode="x_t").to_dicts()
    cases[1]["dose"] = 0.5
    write_table(store.output, "cases", cases, mode="x_t")
    left = build.cases_left(store, "tissue", PAIR, build.render_cases(store, renderer, PAIR))
    assert [c.uid for c in left] == [cases[1]["case_uid"]]
