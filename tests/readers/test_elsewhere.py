"""Readers that read elsewhere: tables of answers and marks, and a user's own functions."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from itrialspace_assets.base.errors import CaseRejected, ConfigError, Reason
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.demo.answers import TABLE, write_answers
from itrialspace_assets.graph import build_graph
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.readers import build
from itrialspace_assets.readers.api import Ids, Request, Scan
from itrialspace_assets.readers.case import RealScan
from itrialspace_assets.readers.elsewhere.answers import published_id
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment
from itrialspace_assets.readers.registry import entries_of, make, readers
from itrialspace_assets.readers.requests import requests_of
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import read_table, write_table
from itrialspace_assets.records.tables import TASK_OPTIONS
from tests.readers.conftest import PART, WHERE, slice_rows

Entry = Callable[..., Settings]


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    """Settings with one reader ``other`` of some kind beside a partition of drawn slices."""

    def make_settings(kind: str, options: dict[str, Any], rows: Any = None, **more: Any) -> Settings:
        config = tmp_path / "readers.yaml"
        tree = {"blob": {"enabled": False}, "other": {"kind": kind, "options": options, **more}}
        config.write_text(yaml.safe_dump({"readers": tree}))
        (tmp_path / "data" / "profiles").mkdir(parents=True, exist_ok=True)
        made = load_settings(
            data_dir=tmp_path / "data", output_dir=tmp_path / "out", readers_config=config, workers=1, batch=7
        )
        rows = slice_rows(made.output, range(6), ("plain",)) if rows is None else rows
        write_table(made.output, "slices", rows, **WHERE)
        return made

    return make_settings


def run(settings: Settings, name: str = "r") -> tuple[Any, pl.DataFrame]:
    for shard in build.plan(settings, REAL, "other", PART, name):
        build.work(settings, REAL, "other", PART, name, shard)
    result = build.collect(settings, REAL, "other", PART, name)
    return result, read_table(settings.output, "answers", reader="other", **WHERE).filter(pl.col("task") == "presence")


def said(answers: pl.DataFrame) -> dict[str, Any]:
    return dict(answers.sort("slice_uid").select("slice_uid", "answer").rows())


def test_answers_are_joined_by_id_and_what_is_missing_is_listed(entry: Entry, tmp_path: Path) -> None:
    lines = ["published_id,answer,score,note", *(f"LUNA16/{i},{'yes' if i % 2 else 'no'},{i / 8},x" for i in range(5))]
    (tmp_path / "mine.csv").write_text("\n".join([*lines, "LUNA16/99,yes,0.5,"]))
    settings = entry("table", {"answers": "mine.csv"})
    result, answers = run(settings)
    assert said(answers) == {
        "s0000": "absent", "s0001": "present", "s0002": "absent", "s0003": "present", "s0004": "absent", "s0005": None,
    }  # fmt: skip
    assert answers.sort("slice_uid")["score"].to_list() == [pytest.approx(i / 8) for i in range(5)] + [None]
    (missing,) = answers.filter(status="error")["reason"]
    assert missing == "not_answered: no row for published_id LUNA16/5, task presence, condition plain, control none"
    assert (result.rejected, result.retryable) == (1, 0), "another try would not fix it"
    assert result.note == "mine.csv row 5: published_id 'LUNA16/99' names no slice that is cut"
    assert result.facts["unmatched_rows"] == 1
    before = readers(settings)["other"].revision
    with (tmp_path / "mine.csv").open("a") as more:
        more.write("\nLUNA16/5,yes,1.0,")
    assert readers(settings)["other"].revision != before
    assert run(settings, "r2")[1]["status"].unique().to_list() == ["ok"]


def test_equal_pictures_of_two_slices_may_have_different_answers(entry: Entry, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("slice_uid,answer\ns0000,yes\ns0001,no\n")
    settings = entry("table", {"answers": "a.csv", "by": "slice_uid"})
    rows = slice_rows(settings.output, range(2), ("plain",))
    rows[1] |= {"path": rows[0]["path"], "sha256": rows[0]["sha256"]}
    settings = entry("table", {"answers": "a.csv", "by": "slice_uid"}, rows)
    assert said(run(settings)[1]) == {"s0000": "present", "s0001": "absent"}
    slices = read_table(settings.output, "slices", **WHERE)
    other = make(ReaderEntry(name="mock", kind="mock"), ReaderEnvironment.of(settings))
    assert requests_of(other, slices)["ids"].null_count() == 6, "a reader of pictures is told no names"
    assert requests_of(other, slices)["generation_key"].n_unique() == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("published_id,answer\na,yes\nb,no\na,no\n", "rows 0, 2 about presence a"),
        ("published_id,answer\n,yes\n", "row 0 None"),
        ("id,answer\na,yes\n", "expected the columns published_id, got id, answer"),
        ("published_id,score\na,0.4\n", "an answer, or options.threshold"),
        ("published_id,answer,score\na,yes,high\n", "expected a finite number, got row 0 'high'"),
        ("published_id,answer,score\na,yes,inf\n", "expected a finite number, got row 0 'inf'"),
        ("published_id,answer,task\na,yes,presense\n", "expected one of presence, lobe, size, malignancy, got row 0"),
        ("published_id,answer,condition\na,yes,box\n", "condition: expected one of plain"),
        ("published_id,answer,score_present\na,yes,1\n", "expected the columns score_absent"),
        ("published_id,answer,score_present,score_absent\na,yes,1,\n", "a score of every option"),
        ("published_id,score\na,\n", "an answer or a score"),
        ("", "got an empty file"),
        ("published_id,answer\na,yes,no\n", "row 0 with 3"),
        ("PK\x03\x04", "Excel workbook"),
        ("published_id,answer,control\na,yes,blnk\n", "control: expected one of none, blank"),
    ],
)
def test_a_wrong_table_is_refused_before_work_and_names_its_rows(
    entry: Entry, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "a.csv").write_text(text)
    settings = entry("table", {"answers": "a.csv"})
    with pytest.raises(ConfigError) as error:
        build.plan(settings, REAL, "other", PART, "r")
    assert message in str(error.value)


def test_columns_of_the_table_that_have_names_of_ours_are_left_out(entry: Entry, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,_row,scores,published_id,answer\n7,8,9,LUNA16/0,yes\n")
    assert said(run(entry("table", {"answers": "a.csv"}))[1])["s0000"] == "present"
    with pytest.raises(ConfigError, match="got 'anwser'; did you mean 'answer'"):
        readers(entry("table", {"answers": "a.csv", "columns": {"anwser": "answer"}}))


def test_a_missing_table_is_a_need_and_the_graph_stands(entry: Entry, tmp_path: Path) -> None:
    settings = entry("table", {"answers": "none.csv", "marks": "none.parquet", "frame": "RAS"})
    assert len(readers(settings)["other"].needs()) == 2
    assert build.options_of(readers(settings)["other"], settings) == {"weights": "missing"}
    with pytest.raises(ConfigError, match=r"reader other is not ready: .*none.csv: expected a table, found none"):
        build.plan(settings, REAL, "other", PART, "r")
    with pytest.raises(ConfigError, match="did you mean 'answers'"):
        readers(entry("table", {"anwers": "none.csv"}))


def test_rows_of_imrmc_are_read_of_one_reader_and_modality(entry: Entry, tmp_path: Path) -> None:
    rows = ["-1,LUNA16/0,truth,1", "r1,LUNA16/0,A,3", "r1,LUNA16/1,A,2.5", "r1,LUNA16/0,B,1", "r2,LUNA16/0,A,0"]
    (tmp_path / "a.imrmc").write_text("A study\nNR = 2\n\nBEGIN DATA:\n" + "\n".join(rows))
    (tmp_path / "b.csv").write_text("readerID,caseID,modalityID,score\n" + "\n".join(rows).replace("-1,", "truth,"))
    options = {"layout": "imrmc", "reader_id": "r1", "modality_id": "A", "threshold": 3}
    for name in ("a.imrmc", "b.csv"):
        answers = run(entry("table", options | {"answers": name}), name)[1]
        assert said(answers)["s0000"] == "present", "a rating at the threshold"
        assert said(answers)["s0001"] == "absent"
        assert answers.filter(status="ok").sort("slice_uid")["score"].to_list() == pytest.approx([0, -0.5])
        assert answers.filter(status="error").height == 4
    (tmp_path / "c.imrmc").write_text("BEGIN DATA:\n" + "\n".join(rows).replace("r2,", '"r2,'), encoding="utf-16")
    assert said(run(entry("table", options | {"answers": "c.imrmc"}), "c")[1])["s0000"] == "present", "no quoting there"
    wrong = entry("table", options | {"answers": "b.csv", "reader_id": "r3"})
    with pytest.raises(ConfigError, match="readerID: expected 'r3' of the options, got r1, r2"):
        build.plan(wrong, REAL, "other", PART, "x")


def test_results_of_the_release_are_joined_by_published_id(entry: Entry, tmp_path: Path) -> None:
    header = "case_id,mode,image_path,task,prediction,ground_truth,correct,score_present,score_absent\n"
    for condition, inner in (("plain", ""), ("bbox", "bbox/")):
        folder = tmp_path / "biomedclip" / condition
        folder.mkdir(parents=True)
        body = f"0,LUNA16,/x/slices/LUNA16/{inner}0.png,presence,present,present,True,2.5,1.5\n"
        body += f"1,LUNA16,slices/LUNA16/{inner}1.png,presence,unparsed,absent,False,,\n"
        (folder / "presence_results.csv").write_text(header + body)
    options = {"answers": "biomedclip", "layout": "release"}
    rows = slice_rows(entry("table", options).output, range(2))
    answers = run(entry("table", options, rows))[1].sort("slice_uid", "condition")
    assert answers["answer"].to_list() == ["present", "present", None, None]
    assert answers["score"].to_list() == [1.0, 1.0, None, None]
    assert answers["status"].to_list() == ["ok", "ok", "unparsed", "unparsed"]


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("slices/mode2_size/plan__C0001.png", "mode2_size/plan__C0001"),
        ("/a/slices/b/slices/LUNGx/bbox_contour/17.png", "LUNGx/17"),
        ("C:\\x\\slices\\LUNGx\\17.png", "LUNGx/17"),
        ("slices/17.png", None),
        ("pictures/LUNGx/17.png", None),
        ("slices/a/b/17.png", None),
        ("", None),
    ],
)
def test_published_ids_are_read_off_paths(path: str, wanted: str | None) -> None:
    assert published_id(path) == wanted


def look(tmp_path: Path, text: str, **options: Any) -> Callable[..., Any]:
    """What a table answers to a request about presence of case a or b, condition and control."""
    (tmp_path / "t.csv").write_text(text)
    place = ReaderEnvironment(None, tmp_path / "f.sqlite")
    reader = make(
        ReaderEntry(name="t", kind="table", folder=tmp_path, options={"answers": "t.csv", "by": "case_uid", **options}),
        place,
    )
    read = reader.load()

    def ask(*cases: str, condition: str = "plain", control: str = "none", options: Any = None) -> Any:
        ids = Ids(slice_uid="s", image_uid="i", picture_sha256="p", published_ids=("x",), case_uids=cases)
        given = TASK_OPTIONS["presence"] if options is None else options
        (said,) = read([Request("k", (), None, condition, control, "presence", "p", None, given, ids)])
        return said

    return ask


def test_a_table_answers_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    ask = look(tmp_path, "case_uid,answer,picture_sha256\na,yes,p\nb,no,p\nc,yes,q\nd,yes,\n")
    assert ask("a").raw_text == "yes"
    assert ask("a", "d").raw_text == "yes", "two rows that say the same"
    assert ask("a", "b").failure == "rows with different answers to one slice: t.csv row 0, t.csv row 1"
    assert "about another picture: expected picture_sha256 p, got q" in ask("c").failure
    assert "no row" in ask("a", condition="bbox").failure, "people who saw no box did not answer with one"
    assert "no row" in ask("a", control="blank").failure
    assert ask("e").reason is Reason.NOT_ANSWERED
    assert look(tmp_path, "case_uid,answer\na,yes\n", condition="any")("a", condition="bbox").raw_text == "yes"


@hypothesis.settings(max_examples=25, deadline=None)
@given(score=st.floats(-1e6, 1e6), threshold=st.floats(-1e6, 1e6))
def test_a_score_against_a_threshold_answers_as_it_says(
    tmp_path_factory: pytest.TempPathFactory, score: float, threshold: float
) -> None:
    ask = look(tmp_path_factory.mktemp("t"), f"case_uid,score\na,{score!r}\n", threshold=threshold)
    present, absent = ask("a").option_scores
    assert (present > absent) == (score >= threshold)
    assert present == score
    assert ask("a", options=("absent", "present")).option_scores == (absent, present)


def mark_reader(tmp_path: Path, rows: str, **options: Any) -> Any:
    (tmp_path / "m.csv").write_text(rows)
    place = ReaderEnvironment(None, tmp_path / "f.sqlite")
    given = {"marks": "m.csv", "frame": "LPS", **options}
    return make(ReaderEntry(name="m", kind="table", folder=tmp_path, options=given), place)


def test_marks_are_turned_to_ras_and_unread_scans_rejected(tmp_path: Path) -> None:
    rows = "seriesuid,world_x,world_y,world_z,diameter_mm,score\ns1,1,2,3,5,0.2\ns1,-1,2,3,,0.9\ns2,,,,,\n"
    reader = mark_reader(tmp_path, rows, mark_columns={"image_uid": "seriesuid"})
    reader.prepare()
    assert (reader.tasks, reader.by_id) == ((), True)

    def scan(uid: str) -> Scan:
        return Scan(uid, lambda: pytest.fail("opened"), lambda: None)

    first, second = reader.mark(scan("s1"))
    assert (first.world, first.score, second.world) == ((1, -2, 3), 0.9, (-1, -2, 3))
    assert (first.diameter_mm, second.diameter_mm) == (None, 5)
    assert reader.mark(scan("s2")) == []
    with pytest.raises(CaseRejected, match="not_answered: no row of marks for image_uid s3"):
        reader.mark(scan("s3"))
    known = pl.DataFrame({"image_uid": ["s1"], "published_id": ["a"], "slice_uid": ["b"], "case_uid": ["c"]})
    assert reader.unmatched(known) == ["marks: image_uid 's2' names no image of a slice that is cut"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("s1,1,2,3,0,0.5", "a diameter above 0 mm"),
        ("s1,1,2,3,1e200,0.5", "a diameter above 0 mm, and of at most 1000 mm"),
        ("s1,1,1e200,3,5,0.5", r"world_y: expected a coordinate of at most 1e\+06 mm"),
        ("s1,1,2,,4,0.5", "or none of them"),
        ("s1,1,2,3,4,", "or none of them"),
        ("s1,1,2,3,4,nan", "or none of them"),
        ("s1,1,2,3,4,x", "a finite number"),
        (",1,2,3,4,1", "the id of a scan"),
        ("s0,1,1,1,4,1\ns0,1,1,1,4,1", "rows 0, 1 about s0"),
        ("s0,1,1,1,4,1\ns0,,,,,", "no marks beside a row without"),
    ],
)
def test_wrong_marks_are_refused(tmp_path: Path, row: str, message: str) -> None:
    reader = mark_reader(tmp_path, f"image_uid,world_x,world_y,world_z,diameter_mm,score\n{row}\n")
    with pytest.raises(ConfigError, match=message):
        reader.prepare()


def test_parquet_is_read_like_csv(tmp_path: Path) -> None:
    frame = pl.DataFrame({"image_uid": [7], "world_x": [1.0], "world_y": [2.0], "world_z": [3], "score": [0.5]})
    frame.with_columns(diameter_mm=pl.lit(4.0), other=pl.lit([1, 2], pl.List(pl.Int64))).write_parquet(
        tmp_path / "m.parquet"
    )
    reader = mark_reader(tmp_path, "", marks="m.parquet", frame="RAS")
    (found,) = reader.mark(Scan("7", lambda: pytest.fail("opened"), lambda: None))
    assert (found.world, found.diameter_mm) == ((1, 2, 3), 4)
    (tmp_path / "m.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(ConfigError, match=r"m\.parquet"):
        reader.prepare()


MODULE = """
from itrialspace_assets.readers.api import Generation, Mark

def read(requests):
    return [Generation("told" if r.ids else "yes" if r.pictures[0].mean() > 30 else "no") for r in requests]

def odd(requests):
    return ["yes"] * len(requests)

def leave(requests):
    raise SystemExit(3)

def mark(scan):
    return [Mark((0.0, 1.0, 2.0), 4.0, 0.1), Mark((3.0, 1.0, 2.0), float(scan.ct().array.max()), 0.7)]

answer = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "site" / "mine_pkg"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("import sys\nsys.mine_pkg_was_imported = True\n")
    (folder / "reads.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(folder.parent))
    yield "mine_pkg.reads"
    for name in [n for n in sys.modules if n.startswith("mine_pkg")]:
        del sys.modules[name]


def test_a_function_reads_and_its_file_is_its_revision(entry: Entry, module: str, tmp_path: Path) -> None:
    settings = entry("callable", {"read": f"{module}:read"}, tasks=["presence"])
    first, code = readers(settings)["other"].revision, readers(settings)["other"].code
    assert "mine_pkg" not in sys.modules, "nothing is imported to tell the revision"
    assert said(run(settings)[1]) == {f"s{i:04}": "present" if 7 * i > 30 else "absent" for i in range(6)}
    source = tmp_path / "site" / "mine_pkg" / "reads.py"
    source.write_text(MODULE + "\n# changed\n")
    assert readers(settings)["other"].revision != first
    other = entry("callable", {"read": f"{module}:read", "version": "2"}, tasks=["presence"])
    assert readers(other)["other"].code != code


def test_what_a_function_does_wrong_costs_its_requests(entry: Entry, module: str, tmp_path: Path) -> None:
    answers = run(entry("callable", {"read": f"{module}:odd"}, tasks=["presence"]))[1]
    assert answers["reason"].unique().to_list() == [
        f"unexpected_error: TypeError: {module}:odd: expected a list of Generation, got str"
    ]
    left = run(entry("callable", {"read": f"{module}:leave"}, tasks=["presence"]))[1]
    assert left["reason"][0].endswith(f"{module}:leave: expected a function that returns, got SystemExit(3)")
    (tmp_path / "site" / "mine_pkg" / "ends.py").write_text("raise SystemExit(4)")
    for point, message in (
        (f"{module}:answer", "expected a function, found int"),
        (f"{module}:none", "found none"),
        ("mine_pkg.ends:read", "expected to import it, got SystemExit: 4"),
    ):
        settings = entry("callable", {"read": point})
        with pytest.raises(ConfigError, match=message):
            readers(settings)["other"].load()
    settings = entry("callable", {"read": "nowhere_at_all.x:read"})
    with pytest.raises(ConfigError, match=r"not ready: module nowhere_at_all\.x: expected a file that Python can"):
        build.plan(settings, REAL, "other", PART, "r")
    with pytest.raises(ConfigError, match="read"):
        readers(entry("callable", {"read": "no entry point"}))


def test_marks_of_a_function_are_checked_and_ordered(entry: Entry, module: str) -> None:
    import numpy as np

    reader = readers(entry("callable", {"mark": f"{module}:mark"}))["other"]

    def scan(value: float) -> Scan:
        return Scan("i", lambda: Volume(np.full((2, 2, 2), value, np.float32), np.eye(4)), lambda: None)

    assert [m.score for m in reader.mark(scan(5.0))] == [0.7, 0.1]
    for value in (0.0, float("nan")):
        with pytest.raises(CaseRejected, match="unexpected_error"):
            reader.mark(scan(value))
    with pytest.raises(CaseRejected, match="AttributeError"):
        reader.mark(Scan("i", lambda: None, lambda: None))  # type: ignore[return-value]


def test_a_data_root_may_name_tables_and_runs_no_code(tmp_path: Path) -> None:
    own = tmp_path / "data" / "readers.yaml"
    own.parent.mkdir()
    settings = load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out")
    assert set(readers(settings)) == {"blob"}
    write = {"people": {"kind": "table", "options": {"answers": "people.csv"}, "sources": ["real"]}}
    own.write_text(yaml.safe_dump({"readers": write}))
    assert readers(settings)["people"].needs()[0].what.startswith(f"{tmp_path}/data/people.csv: expected a table")
    assert entries_of(settings)["people"].folder == own.parent
    config = tmp_path / "mine.yaml"
    config.write_text("readers: {people: {enabled: false}}")
    assert "people" not in readers(load_settings(data_dir=tmp_path / "data", readers_config=config))
    for entry in ({"kind": "callable", "options": {"read": "os:system"}}, {"kind": "endpoint"}):
        own.write_text(yaml.safe_dump({"readers": {"x": entry}}))
        with pytest.raises(ConfigError, match=r"data/readers\.yaml: readers\.x: expected kind: table, got"):
            readers(settings)
    own.write_text("readers: {blob: {enabled: false}}")
    with pytest.raises(ConfigError, match="expected kind: table, got 'blob'"):
        readers(settings)
    for where in ({"answers": "/etc/passwd"}, {"marks": "a/../../x.csv", "frame": "RAS"}, {"answers": "~/x.csv"}):
        own.write_text(yaml.safe_dump({"readers": {"x": {"kind": "table", "options": where}}}))
        with pytest.raises(ConfigError, match=r"readers\.x: expected a table below .*/data, got"):
            readers(settings)
    own.write_text("readers: {x: {kind: table, folder: /etc, options: {answers: passwd}}}")
    with pytest.raises(ConfigError, match="got '/etc'"):
        readers(settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x: {kind: mock, name: y}", r"readers\.x: name: expected none: the key 'x' is the name"),
        ("x: {kind: mock, true: y}", r"readers\.x: .*Keys should be strings \(got 'True'\)"),
        ("x: {kind: mock, options: {seed: true}}", "seed: expected a number, got true"),
        ("x: {kind: mock, options: {1: y}}", r"readers\.x: options\.1"),
        ("x: {kind: mock, licence: 1.0}", r"readers\.x: licence: .*got '1.0'; put a text that looks like a number in"),
        ("x: {kind: mock, z_offsets: [0, 1000000000000000000000]}", r"z_offsets\.1: Input should be less than"),
        ("x: {kind: table, options: {answers: ~nobody_x/a.csv}}", "expected a home folder for ~ in"),
        ("x: {kind: container, options: {command: [a], network: maybe}}", "network: Input should be 'off' or 'on'"),
    ],
)
def test_an_entry_that_is_no_entry_is_named(tmp_path: Path, text: str, message: str) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(f"readers: {{{text}}}")
    with pytest.raises(ConfigError, match=message):
        readers(load_settings(data_dir=tmp_path, readers_config=config))


def test_a_word_of_the_options_stays_a_word(tmp_path: Path) -> None:
    """``network: on`` was true, which is no allowed word."""
    (tmp_path / "mine.yaml").write_text("readers: {x: {kind: container, options: {command: [a], network: on}}}")
    entry = entries_of(load_settings(data_dir=tmp_path, readers_config=tmp_path / "mine.yaml"))["x"]
    assert entry.options["network"] == "on"


def test_a_reader_of_some_sources_is_on_no_other(entry: Entry) -> None:
    settings = entry("table", {"answers": "a.csv"}, sources=["real"])
    graph = build_graph(settings)
    reading = {n.step.key for n in graph.nodes if n.step.stage == "read"}
    assert reading == {("real", "predictions", "other")}
    (report,) = [n for n in graph.nodes if n.step.key == ("mode_report",)]
    assert not any("other" in key for key in report.reads)
    with pytest.raises(ConfigError, match="sources: expected some of real, tissue, nodmaisi, got tisue"):
        readers(entry("table", {"answers": "a.csv"}, sources=["tisue"]))


def test_marks_by_id_are_kept_by_id(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two scans with equal voxels keep their own marks, of a reader that is told names."""
    same = {uid: RealScan(image_uid=uid, key="k", ct_path="a.nii.gz") for uid in ("LUNA16/0", "LUNA16/1")}
    monkeypatch.setattr(
        "itrialspace_assets.readers.questions._real_scans", lambda *_: (same, dict.fromkeys(same, "host"))
    )
    settings = entry("table", {"marks": "m.csv", "frame": "RAS"})
    (settings.readers_config.parent / "m.csv").write_text(
        "image_uid,world_x,world_y,world_z,diameter_mm,score\nLUNA16/0,1,2,3,4,0.5\nLUNA16/1,,,,,\n"
    )
    result, _ = run(settings)
    assert result.tables["detections"] == 1
    detections = read_table(settings.output, "detections", reader="other", **WHERE)
    assert detections["image_uid"].to_list() == ["LUNA16/0"]


def test_simulated_answers_of_the_demo_are_whole_and_repeat(data_root: Path, tmp_path: Path) -> None:
    own = tmp_path / "data"
    shutil.copytree(data_root / "profiles", own / "profiles")
    settings = load_settings(data_dir=own, output_dir=tmp_path / "out")
    write_answers(settings, 7)
    first = (own / TABLE).read_bytes()
    write_answers(settings, 7)
    assert (own / TABLE).read_bytes() == first
    reader = readers(settings)["table_example"]
    assert (reader.needs(), reader.sources, reader.trained_on) == ([], ("real",), "nothing (simulated answers)")
    reader.prepare()
    table = pl.read_csv(own / TABLE)
    assert table.height == table.select("published_id", "condition").n_unique() > 100
    right = (table["answer"] == "yes") != table["published_id"].str.ends_with("_neg")
    assert 0.6 < right.mean() < 0.95, "better than chance, and not perfect"
    assert ((table["score"] >= 0) == (table["answer"] == "yes")).all()
