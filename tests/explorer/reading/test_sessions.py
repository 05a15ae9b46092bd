"""Reading sessions: the same seed shows the same, nothing tells the truth, and no answer is lost or changed."""

import hashlib
import json
import multiprocessing

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient

from itrialspace_assets.base.errors import ConfigError, NotFound, TableError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.app import create_app
from itrialspace_assets.explorer.reading import journal
from itrialspace_assets.explorer.reading.answers import (
    answer_table,
    finished,
    mrmc_table,
    pairs,
    readings,
    register,
    with_truth,
)
from itrialspace_assets.explorer.reading.choose import header
from itrialspace_assets.explorer.reading.model import CaseAnswer, PairAnswer, PictureMark, SessionRequest
from itrialspace_assets.explorer.server.security import Access
from itrialspace_assets.imaging.pictures import png
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.records.store import write_table
from tests.analysis.small_run import DATASET, MODE, SOURCE, run_settings, slices, write_slices

CASES = 6


@pytest.fixture
def root(tmp_path) -> Settings:  # type: ignore[no-untyped-def]
    """Six synthetic cases and as many real ones, with pictures; the affine of pixels is not the identity."""
    settings = run_settings(tmp_path)
    rows = slices(CASES).with_columns(pl.Series("affine", [[-0.7, 0, 0, 10, 0, -0.7, 0, 20, 0, 0, 2, -5]] * CASES * 4))
    real = rows.filter(pl.col("presence") == "present").with_columns(
        source=pl.lit("real"), mode=pl.lit("real"), slice_uid="r" + pl.col("slice_uid"),
        target_uid="r" + pl.col("target_uid"), case_uid="real/" + pl.col("case_uid"), paired=pl.lit(False),
        path=pl.col("path").str.replace("slices/", "slices/r"),
    )  # fmt: skip
    with_files = [_with_pictures(settings, part) for part in (rows, real)]
    write_slices(settings, with_files[0])
    write_table(settings.output, "slices", with_files[1], source="real", mode="real", dataset=DATASET)
    return settings


def _with_pictures(settings: Settings, rows: pl.DataFrame) -> pl.DataFrame:
    hashes = []
    for i, path in enumerate(rows["path"]):
        data = png(np.full((8, 8), i, np.uint8))
        (settings.output / path).parent.mkdir(parents=True, exist_ok=True)
        (settings.output / path).write_bytes(data)
        hashes.append(hashlib.sha256(data).hexdigest())
    return rows.with_columns(sha256=pl.Series(hashes))


def begun(root: Settings, **asked: object) -> journal.Session:
    """A new session of ann, unless ``asked`` says otherwise."""
    given = SessionRequest.model_validate({"reader": "ann", "modes": (MODE,), "cases": CASES} | asked)
    return journal.start(root, lambda name, at: header(root, given, name, at), given.reader)


PRESENT = CaseAnswer(
    presence="present", confidence=80, lobe="left_lung_upper_lobe", size="5-10mm", marks=(PictureMark(x=2, y=3),)
)
ABSENT = CaseAnswer(presence="absent", confidence=100)


def answered(
    root: Settings, now: journal.Session, given: CaseAnswer | PairAnswer, seconds: float = 2.5
) -> journal.Session:
    token = now.header.items[now.at].pictures[0].token
    return journal.answer(root, journal.show(root, now.name).name, token, given, seconds, 0)


def order(now: journal.Session) -> list[str]:
    return [p.slice_uid for item in now.header.items for p in item.pictures]


def test_the_seed_decides_what_is_shown_and_in_which_order(root: Settings) -> None:
    first, again, other = (begun(root, cases=4, seed=seed) for seed in (1, 1, 2))
    assert [s.name for s in (first, again, other)] == ["ann-1", "ann-2", "ann-3"]
    assert order(first) == order(again) != order(other)
    assert len(order(first)) == 8 == len(set(order(first)))  # the lesion's slice and its twin's of four cases
    assert sorted(order(first)) != order(first)
    tokens = [p.token for s in (first, again) for item in s.header.items for p in item.pictures]
    assert len(set(tokens)) == 16  # drawn again: a token says nothing of its slice


def test_a_frozen_list_is_read_whole(root: Settings) -> None:
    found = begun(root, modes=(), cases=None, split=root.split)
    assert len(found.header.items) == 2 * CASES
    with pytest.raises(ConfigError, match="lists: expected some of tissue/"):
        begun(root, modes=(), cases=None, split=root.split, lists=("tissue/none",))


def test_an_answer_is_kept_for_good(root: Settings) -> None:
    now = begun(root)
    token = now.header.items[0].pictures[0].token
    now = answered(root, now, ABSENT)
    assert (now.at, now.answers[0].case, now.answers[0].seconds) == (1, ABSENT, 2.5)
    with pytest.raises(journal.Moved, match="item 2"):
        journal.answer(root, now.name, token, PRESENT, 1, 0)
    assert journal.session(root, now.name).answers[0].case == ABSENT
    later = now.header.items[2].pictures[0].token
    with pytest.raises(NotFound):  # nobody looks ahead
        journal.picture_of(now, later)


@pytest.mark.parametrize(
    ("asked", "given", "says"),
    [
        ({}, CaseAnswer(presence="present", confidence=1, size="<5mm"), "lobe: expected an answer"),
        ({}, CaseAnswer(presence="absent", confidence=1, size="<5mm"), "size: expected none"),
        (
            {"marks": False, "tasks": ()},
            CaseAnswer(presence="present", confidence=1, marks=(PictureMark(x=1, y=1),)),
            "marks",
        ),
        ({}, PairAnswer(synthetic="left", confidence=3), "session of cases"),
    ],
)
def test_an_answer_to_something_else_is_refused(
    root: Settings, asked: dict[str, object], given: CaseAnswer | PairAnswer, says: str
) -> None:
    now = begun(root, **asked)
    with pytest.raises(ConfigError, match=says):
        answered(root, now, given)
    assert journal.session(root, now.name).at == 0


def test_a_kill_in_the_middle_of_a_line_loses_no_whole_line(root: Settings) -> None:
    now = answered(root, begun(root), ABSENT)
    path = root.output / "readings" / f"{now.name}.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"answer": {"item": 1, "case": {"pres')
    assert journal.session(root, now.name) == now
    now = answered(root, now, PRESENT)
    assert path.read_bytes().startswith(whole) and [a.case for a in now.answers] == [ABSENT, PRESENT]
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


def test_a_file_that_was_changed_by_hand_is_no_session(root: Settings) -> None:
    """An answer that stood twice, or to an item that there is not, ended in a traceback or counted."""
    now = answered(root, answered(root, begun(root), ABSENT), PRESENT)
    path = root.output / "readings" / f"{now.name}.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for damaged in (
        b"".join([*lines, lines[-1]]),
        b"".join(lines[:2] + lines[4:]),
        b"".join(lines).replace(b'{"answer": {"item": 1', b'{"answer": {"item": 99'),
        b"".join(lines).replace(now.name.encode(), b"ann-7"),
        b"[]\n" + b"".join(lines[1:]),
        b"[" * 100_000 + b"\n",
        b"",
    ):
        path.write_bytes(damaged)
        with pytest.raises(TableError, match=rf"readings/{now.name}\.jsonl: expected a reading session, got"):
            journal.session(root, now.name)
    path.write_bytes(b"".join(lines))
    assert journal.session(root, now.name) == now
    (root.output / "readings" / "readers.yaml").write_text("readers: []")
    with pytest.raises(ConfigError, match=r"readings/readers\.yaml: expected a mapping with the key 'readers'"):
        register(root, "ann")


def _read_all(root: Settings, reader: str) -> None:
    now = begun(root, reader=reader)
    while not now.finished:
        now = answered(root, now, ABSENT)


@pytest.mark.slow
def test_two_people_at_once_lose_nothing(root: Settings) -> None:
    context = multiprocessing.get_context("spawn")
    at_work = [context.Process(target=_read_all, args=(root, name)) for name in ("ann", "ben", "ann")]
    for process in at_work:
        process.start()
    for process in at_work:
        process.join(60)
    found = journal.sessions(root)
    assert [(s.name, s.finished) for s in found] == [("ann-1", True), ("ann-2", True), ("ben-1", True)]
    assert all([a.item for a in s.answers] == list(range(2 * CASES)) for s in found)


def test_pairs_hide_which_side_is_synthetic(root: Settings) -> None:
    now = begun(root, kind="pairs", modes=(), cases=CASES, seed=3)
    sides = ["left" if not p.slice_uid.startswith("r") else "right" for p, _ in (i.pictures for i in now.header.items)]
    assert len(sides) == CASES and set(sides) == {"left", "right"}
    while not now.finished:
        now = answered(root, now, PairAnswer(synthetic="left", confidence=50))
    found = pairs(root, [now])
    assert found["synthetic"].to_list() == sides
    assert found["correct"].to_list() == [side == "left" for side in sides]


def test_answers_become_a_reader_and_rows_of_a_reader_study(root: Settings) -> None:
    now = begun(root)
    with pytest.raises(ConfigError, match="finished reading session"):
        finished(root, ["ann"])
    truth: dict[str, str] = dict(slices(CASES).select("slice_uid", "presence").iter_rows())
    while not now.finished:
        now = answered(
            root, now, PRESENT if truth[now.header.items[now.at].pictures[0].slice_uid] == "present" else ABSENT
        )
    known = with_truth(root, readings(finished(root, ["ann"])))
    assert (known["presence"] == known["presence_truth"]).all()
    marked = known.filter(pl.col("presence") == "present")["marks_mm"].unique().to_list()
    assert [json.loads(m) for m in marked] == [[[pytest.approx(10 - 1.4), pytest.approx(20 - 2.1), -5.0]]]
    study = mrmc_table(known)
    assert study.filter(pl.col("truth") == 1)["score"].unique().to_list() == [90.0]
    assert study.filter(pl.col("truth") == 0)["score"].unique().to_list() == [0.0]

    table = answer_table(known)
    logit = (table["score_present"] - table["score_absent"]).drop_nulls().unique().sort().to_list()
    assert logit == pytest.approx([-np.log(199), np.log(9)], abs=1e-5)  # a certain "absent" is held at 1 in 200
    unseen = table.filter(pl.col("task") == "lobe")["answer"].unique().sort().to_list()
    assert unseen == ["left_lung_upper_lobe", "no nodule seen"]
    name, listed = register(root, "ann")
    reader = readers(root)[name]
    assert (name, reader.tasks, reader.sources, reader.needs()) == (
        "human_ann",
        ("presence", "lobe", "size"),
        (SOURCE,),
        [],
    )
    assert listed.read_text().split() == sorted(truth)


def test_the_first_of_two_readings_counts(root: Settings) -> None:
    for given in (ABSENT, PRESENT):
        now = begun(root, cases=1)
        while not now.finished:
            now = answered(root, now, given)
    table = answer_table(readings(finished(root, ["ann"])))
    assert table.filter(pl.col("task") == "presence")["answer"].to_list() == ["absent", "absent"]


def test_names_are_no_paths(root: Settings) -> None:
    for name in ("../x-1", "ann", "ann-0", "ANN-1", "ann-1/../ann-1"):
        with pytest.raises(NotFound):
            journal.session(root, name)
    assert not (root.output / "readings").exists()


def test_over_http_an_answer_given_twice_or_out_of_turn_is_refused(root: Settings) -> None:
    client = TestClient(create_app(root, Access()), base_url="http://localhost")
    begun = client.post("/api/reading/sessions", json={"reader": "ann", "modes": [MODE], "cases": 2}).json()
    shown = client.post("/api/reading/open", json={"session": begun["session"]}).json()
    assert shown == begun and set(shown["pictures"][0]) == {"token", "width", "height"}
    token = shown["pictures"][0]["token"]
    picture = client.get("/api/reading/picture.png", params={"session": "ann-1", "token": token})
    assert picture.content.startswith(b"\x89PNG") and b"tEXt" not in picture.content
    assert not {"etag", "last-modified", "content-disposition"} & set(picture.headers)
    given = {"session": "ann-1", "token": token, "seconds": 1, "case": {"presence": "absent", "confidence": 7}}
    assert client.post("/api/reading/answer", json=given).json()["answered"] == 1
    assert client.post("/api/reading/answer", json=given).status_code == 409
    for wrong in (
        {"case": None},
        {"seconds": -1},
        {"case": {"presence": "maybe", "confidence": 7}},
        {"session": "../x-1"},
    ):
        assert client.post("/api/reading/answer", json=given | wrong).status_code == 422
    nobody = client.post("/api/reading/open", json={"session": "ann-9"})
    assert (nobody.status_code, str(root.output) in nobody.text) == (404, False)
    both = {"reader": "ann", "modes": [MODE], "cases": 2, "split": root.split}
    assert client.post("/api/reading/sessions", json=both).status_code == 422
