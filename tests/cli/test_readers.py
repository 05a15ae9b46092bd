"""``its readers``: what is listed, what is checked, and what a try shows; no table is written by a try."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.cli.show import blocks
from itrialspace_assets.imaging.geometry import write_volume
from itrialspace_assets.readers import questions
from itrialspace_assets.readers.case import RealScan
from tests.cli.conftest import Its
from tests.readers import programs
from tests.readers.conftest import study  # noqa: F401
from tests.readers.test_outside import ct, python

Study = Callable[..., Settings]
CASE = "real/LUNA16/0"


@pytest.fixture
def entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts entries into the file of ITRIALSPACE_READERS_CONFIG."""

    def put(text: str) -> None:
        config = tmp_path / "own_readers.yaml"
        config.write_text(text)
        monkeypatch.setenv("ITRIALSPACE_READERS_CONFIG", str(config))

    return put


def test_every_entry_is_listed_and_what_is_missing_is_said(its: Its, entries: Callable[[str], None]) -> None:
    entries(
        "readers:\n"
        "  theirs: {kind: container, enabled: true, options: {command: [no-such-program]}}\n"
        "  wrong: {kind: container, enabled: false, options: {comand: [true]}}\n"
    )
    done = its("readers", "list")
    assert done.code == 0
    state = {line.split("│")[1].strip(): line for line in done.out.splitlines() if line.startswith("│")}
    assert {"blob", "mock", "theirs", "wrong"} <= set(state)
    assert "ready" in state["blob"] and "not ready" not in state["blob"]
    assert "not ready" in state["theirs"]
    assert "did you mean 'command'" in done.out
    checked = its("readers", "check")
    assert checked.code == 1
    assert "blob: ready\n" in checked.out
    assert "missing: expected the program no-such-program, found none\n  to do:   install it" in checked.out
    assert "wrong" not in checked.out, "it is not enabled"
    assert its("readers", "check", "blob").code == 0
    assert its("readers", "check", "wrong").code == 1
    unknown = its("readers", "check", "blbo")
    assert (unknown.code, "did you mean 'blob'?" in unknown.err) == (2, True)


def test_one_reader_is_shown_with_words_and_revision(its: Its, entries: Callable[[str], None]) -> None:
    entries("readers: {mock: {prompts: published_1}, theirs: {kind: container, options: {command: [no-such-program]}}}")
    done = its("readers", "show", "mock")
    assert done.code == 0
    for part in ("version published_1 (SHA-256 f109ce7151ca96f4)", "published_lobe_1", "nothing (answers by chance)"):
        assert part in done.out
    assert "none: expected the program no-such-program" in its("readers", "show", "theirs").out


def test_a_try_shows_prompt_text_scores_and_answer(
    its: Its,
    study: Study,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = study(4, "prompts: published_1, enabled: false")
    before = sorted(settings.output.rglob("*"))
    words = ("readers", "try", "mock", "--case", CASE, "--dir", str(tmp_path))
    monkeypatch.setenv("ITRIALSPACE_READERS_CONFIG", str(settings.readers_config))
    done = its(*words, "--task", "presence", "--condition", "plain")
    assert done.code == 0, done.err
    assert done.out.count("prompt: Can a pulmonary nodule be seen on this CT slice?") == 2, "two targets"
    assert "pictures: 1" in done.out
    assert "scores: present 0." in done.out
    assert "by: scorer text 1," in done.out
    assert "answer: present" in done.out or "answer: absent" in done.out
    assert "truth: present (presence; no reader is told)" in done.out
    assert "truth: absent (level)" in done.out
    page = tmp_path / "page.html"
    assert its(*words, "--page", str(page)).code == 0
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 2 * 2 * 3, "targets, conditions, tasks"
    assert "Trained on: nothing (answers by chance)" in text
    assert "http" not in text, "one file by itself"
    made = set(settings.output.rglob("*")) - set(before)
    assert not [p for p in made if "tables" in p.parts or "ledger" in p.parts]
    for wrong, said in (
        (("--case", "real/LUNA16/99"), "expected a case with slices, for example real/LUNA16/0"),
        (("--case", CASE, "--task", "malignancy"), "it does not do this task"),
        (("--case", CASE, "--source", "tissue"), "found no slices"),
    ):
        failed = its("readers", "try", "mock", *wrong, "--dir", str(tmp_path))
        assert (failed.code, said in failed.err) == (2, True), failed.err


def test_a_try_marks_scans_by_a_program(
    its: Its,
    study: Study,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = json.dumps([python(), "-I", "-S", "-c", programs.OWN, "{input}", "{output}"])
    settings = study(4, f"kind: container, options: {{command: {command}}}")
    monkeypatch.setenv("ITRIALSPACE_READERS_CONFIG", str(settings.readers_config))
    write_volume(settings.data / "raw_ct" / "a.nii.gz", ct())
    scans = {"LUNA16/0": RealScan(image_uid="LUNA16/0", key="k", ct_path="a.nii.gz")}
    monkeypatch.setattr(questions, "_real_scans", lambda *_: (scans, {"LUNA16/0": "LUNA16/0"}))
    done = its("readers", "try", "mock", "--case", CASE, "--dir", str(tmp_path))
    assert done.code == 0, done.err
    assert "Marks on LUNA16/0 (mm, RAS)" in done.out
    assert "0.4" in done.out


def test_the_schemas_are_written(its: Its, tmp_path: Path) -> None:
    assert its("readers", "schema", "--out", str(tmp_path)).code == 0
    assert len(list(tmp_path.glob("*.json"))) == 4


def test_a_picture_becomes_two_pixels_a_character() -> None:
    picture = np.zeros((4, 3, 3), np.uint8)
    picture[0, 1] = (255, 0, 10)
    text = blocks(picture, 80)
    assert text.plain == "▀▀▀\n▀▀▀\n"
    assert str(text.spans[1].style) == "rgb(255,0,10) on rgb(0,0,0)"
    assert len(blocks(picture, 2).plain.splitlines()[0]) == 2
