"""An output folder from Python: answers against the tables themselves, messages, and that nothing is written."""

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import itrialspace_assets.api as its
from itrialspace_assets.base.errors import ConfigError, NotFound, TableError
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.catalog.rebuild import NAME
from itrialspace_assets.index.query import open_index
from itrialspace_assets.records.store import read_all

from ..analysis.small_run import MODE
from ..explorer.small_case import write_case
from .conftest import CASES, picture

UID = "size_detection_curve/a/00001"


def fingerprint(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*")}


def test_searches_find_what_the_frame_holds(root: its.Root) -> None:
    frame = read_all(root.settings.output, "nodules")
    diameter, lobe = pl.col("nodule_mean_diam_mm"), pl.col("lobe_name")
    wanted = frame.filter(diameter.is_between(6, 20), lobe.str.contains("upper"), pl.col("dataset") == "LUNA16")
    found = root.index.search("lobe_name~upper", nodule_mean_diam_mm=(6, 20), dataset=["LUNA16", "LNDbv4"])
    assert 0 < wanted.height == found.height < len(root.index) == frame.height
    assert found["nodule_uid"].to_list() == wanted["nodule_uid"].to_list()
    assert root.index.search(nodule_mean_diam_mm=(None, 10)).height == frame.filter(diameter <= 10).height
    assert root.index.search(age=None).height == frame["age"].null_count()
    assert root.index.search(sort="nodule_mean_diam_mm", descending=True, limit=1)["nodule_mean_diam_mm"].item() == (
        frame["nodule_mean_diam_mm"].max()
    )


def test_facets_count_over_the_filters_of_the_other_columns(root: its.Root) -> None:
    frame = read_all(root.settings.output, "nodules")
    got = root.index.facets("dataset=LUNA16", lung_side="right", columns=["dataset", "lung_side"])
    counts = {(column, value): n for column, value, n in got.iter_rows()}
    assert len(counts) == 4, "its own filter is left out: both datasets, both sides"
    for name in ("LUNA16", "LUNA25"):
        wanted = frame.filter(pl.col("dataset") == name, pl.col("lung_side") == "right").height
        assert counts["dataset", name] == wanted > 0
    for side in ("left", "right"):
        wanted = frame.filter(pl.col("dataset") == "LUNA16", pl.col("lung_side") == side).height
        assert counts["lung_side", side] == wanted > 0


def test_similar_and_match_are_those_of_the_index(root: its.Root) -> None:
    index = open_index(root.settings)
    uid = index.nodules["nodule_uid"][0]
    assert root.index.similar(uid, k=4, weights={"diameter": 3}).equals(index.similar(uid, 4, {"diameter": 3}))
    near = root.index.match("RUL", diameter_mm=10, within={"diameter_mm": 4}, k=50)["reinsertion_nodule_diam_mm"]
    everyone = root.index.match("RUL", diameter_mm=10, k=50)["reinsertion_nodule_diam_mm"]
    assert sorted(near) == sorted(d for d in everyone if 6 <= d <= 14) != sorted(everyone)
    scan, person = index.nodules.row(0, named=True)["scan_uid"], index.nodules["person_uid"][0]
    assert person in root.index.match("RUL", k=500)["person_uid"]
    assert person not in root.index.match("RUL", k=500, host=scan)["person_uid"]
    two = root.index.frame["nodule_uid"].to_list()[:2]
    compared = root.index.compare(two)
    assert compared.columns == ["column", "unit", "same", *two]
    assert compared.filter(column="nodule_uid").row(0)[2:] == (False, *two)
    assert root.nodule(two[0]).mask.array.sum() > 0


def test_trials_tell_what_was_planned(root: its.Root) -> None:
    planned = root.trials.list().filter(pl.col("cases").is_not_null())
    assert planned.select("mode", "cases").rows() == [(MODE, CASES)]
    assert root.trials[2].mode == root.trials[MODE].mode == MODE
    assert root.trials[2].balance.equals(read_all(root.settings.output, "balance", mode=MODE))
    assert root.cases(mode=MODE, number=(2, None))["number"].to_list() == [2, 3, 4, 5]
    with pytest.raises(TableError, match=f"table arms of {MODE}: .* `its trials plan {MODE}`"):
        _ = root.trials[2].arms


def test_slices_are_the_arrays_of_their_files(root: its.Root) -> None:
    case = root.case(UID)
    assert list(case.slices) == [(4, "bbox"), (4, "plain")]
    paths = read_all(root.settings.output, "slices")["path"].unique().sort().to_list()
    mine = case.slices.frame
    for site in ("lesion", "cleared_lesion"):
        for condition in ("plain", "bbox"):
            (path,) = mine.filter(condition=condition, guidance_site=site)["path"]
            assert np.array_equal(case.slices.array(4, condition, site=site), picture(paths.index(path)))
    assert np.array_equal(case.slices[4, "bbox"], case.slices.array(4, "bbox", site="lesion"))
    with pytest.raises(NotFound, match="there are z=4 cleared_lesion bbox, z=4 cleared_lesion plain, z=4 lesion bbox"):
        _ = case.slices[5, "plain"]


def test_answers_stand_beside_what_was_true(root: its.Root) -> None:
    answers = root.case(UID).answers
    assert answers.height == 2 * 4
    right = answers.filter(pl.col("answer") == pl.col("presence"))
    assert dict(right.group_by("reader").len().iter_rows()) == {"mock": 4}


def test_numbers_and_the_cases_behind_them(root: its.Root) -> None:
    found = root.results.metrics(analysis=MODE, metric=["sensitivity", "specificity"])
    assert found["estimate"].to_list() == [pytest.approx(5 / 6)]
    behind = root.results.cases_of(MODE, "sensitivity")
    assert behind["contribution"].sum() == pytest.approx(5 / 6, abs=1e-5)
    assert behind["case_uid"][0].endswith("00000"), "the missed one costs most"
    assert (
        root.results.sql("SELECT count(*) AS n FROM slices WHERE presence = $p", p="present")["n"].item() == 2 * CASES
    )
    assert "cases_of" in root.results.questions()["question"].to_list()


def test_flips_are_where_one_is_right_and_the_other_wrong(root: its.Root) -> None:
    flips = root.results.flips("blob", "mock", condition="plain")
    assert set(flips["case_uid"]) == {UID}
    assert set(flips["flip"]) == {"improved"}
    assert flips.height == 2, "the slice with the nodule and its twin's"
    assert set(root.results.flips("mock", "blob", condition="plain")["flip"]) == {"regressed"}
    with pytest.raises(ConfigError, match="expected two readers"):
        root.results.flips("mock", "mock")


@pytest.mark.parametrize(
    "query",
    [
        "COPY cases TO '{0}/x.csv'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "ATTACH '{0}/other.duckdb' AS other",
        "DELETE FROM cases",
        "SET enable_external_access = true",
        "nonsense",
    ],
)
def test_sql_only_reads_the_catalog(root: its.Root, tmp_path: Path, query: str) -> None:
    with pytest.raises(ConfigError, match=r"^sql: "):
        root.results.sql(query.format(tmp_path))
    assert not list(tmp_path.iterdir())


def test_charts_hold_every_row_and_say_what_they_are_of(root: its.Root) -> None:
    chart = root.index.map("nodule_mean_diam_mm").to_dict()
    assert len(chart["datasets"]["rows"]) == len(root.index)
    assert "PROCEDURAL" in chart["title"]["subtitle"]
    assert len(root.trials[2].balance_chart().to_dict()["datasets"]["rows"]) == 2
    numbers = root.results.chart(root.results.metrics(), x="metric").to_dict()
    assert [row["metric"] for row in numbers["datasets"]["rows"]] == ["sensitivity"], "a null has no mark"
    assert "rendered by 'tissue'" in numbers["title"]["subtitle"]
    with pytest.raises(NotFound, match="near: dataset"):
        root.index.map("datset")


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda r: r.case("size_detection_curve/a/0001"), rf"near: .*{UID}"),
        (lambda r: r.nodule("LUNA16/nothing"), "for example LUNA16/DEMO_LUNA16_0001_N1"),
        (lambda r: r.index.search(lable=1), "near: label"),
        (lambda r: r.index.search(label="one"), "expected values of type Int64, got 'one'"),
        (lambda r: r.index.search(label=(1, 2, 3)), "expected a pair"),
        (lambda r: r.index.match("RUL", within={"diameter_mm": 1}), "within 'diameter_mm'"),
        (lambda r: r.index.match("RUL", host="LUNA16/x"), "host 'LUNA16/x'"),
        (lambda r: r.index.compare([]), "expected one or more"),
        (lambda r: r.trials["m02_size"], f"near: {MODE}"),
        (lambda r: r.table("hosts"), "table hosts: .* `its run --to hosts`"),
        (lambda r: r.table("host"), "near: hosts"),
        (lambda r: r.results.ask("casesof"), "near: cases_of"),
        (lambda r: r.results.ask("cases_of", analysis=MODE), "expected .*metric"),
        (lambda r: r.case(UID).ct, "volume of case"),
    ],
)
def test_what_is_not_there_is_named(root: its.Root, ask: Callable[[its.Root], Any], said: str) -> None:
    with pytest.raises((ConfigError, TableError), match=said):
        ask(root)


def test_an_empty_output_folder_says_what_to_run(data_root: Path, tmp_path: Path) -> None:
    empty = its.Root(load_settings(data_dir=data_root, output_dir=tmp_path / "none"))
    for ask, command in (
        (empty.index.search, "its run --to index"),
        (lambda: empty.case("a/b/0"), "its run --to plan"),
        (empty.results.metrics, "its run --to report"),
        (lambda: empty.results.sql("SELECT 1"), "its run --only catalog"),
    ):
        with pytest.raises(TableError, match=command):
            ask()
    assert not (tmp_path / "none").exists(), "nothing is made"
    with pytest.raises(ConfigError, match="its demo --dir DIR"):
        its.open(tmp_path)


def test_nothing_is_written(root: its.Root, tmp_path: Path) -> None:
    """Every question that the tests above ask, of a folder whose files are compared before and after."""
    case, uid = write_case(tmp_path)
    for settings in (root.settings, case):
        before = fingerprint(settings.output), fingerprint(settings.data)
        opened = its.Root(settings)
        if settings is case:
            found = opened.case(uid)
            _ = (
                found.ct,
                found.lesion_free,
                found.difference,
                found.mask,
                found.host,
                found.volumes.list(),
                found.nodules,
            )
        else:
            opened.index.search(label=1)
            opened.index.map()
            _ = opened.case(UID).answers, opened.case(UID).slices[4, "plain"], opened.trials.list()
            opened.results.cases_of(MODE, "sensitivity")
            opened.results.flips("blob", "mock", condition="plain")
        assert (fingerprint(settings.output), fingerprint(settings.data)) == before


def test_a_view_shows_the_very_voxels_and_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, uid = write_case(tmp_path)
    case = its.Root(settings).case(uid)
    monkeypatch.setitem(sys.modules, "ipyniivue", None)
    with pytest.raises(ConfigError, match=re.escape("itrialspace-assets[notebook]")):
        case.view()
    monkeypatch.undo()
    pytest.importorskip("ipyniivue")
    from itrialspace_assets.imaging.geometry import read_volume

    shown = case.view().volumes
    assert [v.name for v in shown] == ["ct.nii.gz", "mask.nii.gz"]
    (tmp_path / "shown.nii.gz").write_bytes(shown[0].data)
    assert np.array_equal(read_volume(tmp_path / "shown.nii.gz").array, case.ct.array)


@pytest.mark.slow
def test_the_tour_runs_and_says_what_is_not_there_yet(
    root: its.Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("marimo")
    from itrialspace_assets.api.tour import app

    outputs, defined = app.run(defs={"root": root})
    assert defined["answer"].height == 1, "one arm"
    assert defined["uid"].value == "size_detection_curve/a/00000"
    assert len(defined["pictures"]) == 4
    assert defined["behind"].height == CASES
    assert any("its trials plan" in getattr(o, "text", "") for o in outputs), "feasibility is not made"
    bare = tmp_path / "out"
    shutil.copytree(root.settings.output / "tables" / "nodules", bare / "tables" / "nodules")
    monkeypatch.setenv("ITRIALSPACE_DATA_DIR", str(root.settings.data))
    monkeypatch.setenv("ITRIALSPACE_OUTPUT_DIR", str(bare))
    outputs, defined = app.run()
    assert defined["found"].height > 0
    assert NAME in defined["answer"].text
    assert [p.name for p in bare.iterdir()] == ["tables"]
