"""``its splits`` and lists of ids that are wrong: one message before any work, and nothing written elsewhere."""

from collections.abc import Callable
from pathlib import Path

import pytest

from itrialspace_assets.base.settings import Settings
from tests.cli.conftest import Done
from tests.cli.test_reading import its_on  # noqa: F401
from tests.readers.conftest import study  # noqa: F401

Study = Callable[..., Settings]
ItsOn = Callable[..., Done]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("freeze", "--", "../../elsewhere"), "ITRIALSPACE_SPLIT='../../elsewhere': expected 1 to 64 letters"),
        (("freeze", "--", "/tmp/elsewhere"), "ITRIALSPACE_SPLIT='/tmp/elsewhere': expected 1 to 64 letters"),
        (("verify", "--", "../out/splits/demo_v1"), "expected 1 to 64 letters"),
        (("freeze", "a", "--source", "tisue"), "--source 'tisue': expected one of real, tissue"),
        (("freeze", "a", "--modes", "2,99"), "--modes: expected numbers or keys of modes, or real, got 99"),
        (("import", "{here}/.real.txt"), "expected NAME.SET.txt"),
        (("import", "{here}/a b.real.txt"), "ITRIALSPACE_SPLIT='a b'"),
        (("import", "{here}/a.real_x.txt"), "--source 'real_x': expected one of real, tissue"),
        (("import", "{here}"), "expected NAME.SET.txt"),
    ],
)
def test_a_wrong_name_is_refused_and_nothing_is_written(
    study: Study,  # noqa: F811
    its_on: ItsOn,  # noqa: F811
    tmp_path: Path,
    words: tuple[str, ...],
    message: str,
) -> None:
    settings = study(2)
    for name in (".real.txt", "a b.real.txt", "a.real_x.txt"):
        (tmp_path / name).write_text("LUNA16/1\n")
    before = {p for p in tmp_path.rglob("*") if "work" not in p.parts}
    done = its_on(settings, "splits", *(w.format(here=tmp_path) for w in words))
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert message in done.err
    assert {p for p in tmp_path.rglob("*") if "work" not in p.parts} == before


def test_ids_that_name_nothing_are_told_before_tables_are_written(
    study: Study,  # noqa: F811
    its_on: ItsOn,  # noqa: F811
    tmp_path: Path,
) -> None:
    settings, listed = study(4), tmp_path / "ids.txt"
    words = ("evaluate", "--datasets", "LUNA16", "--source", "real", "--case-ids", str(listed), "--dry-run")
    for text, code, said in (
        ("# none\n\n", 2, "expected ids, one a line, got none"),
        ("LUNA16/1,x\nluna16/1\n", 2, "2 of 2 ids name no slice that is cut, first: LUNA16/1,x, luna16/1"),
        (" LUNA16/1 \r\nLUNA16/99\n", 1, "1 of 2 ids name no slice that is cut, first: LUNA16/99"),
        ("LUNA16/1\n", 0, ""),
    ):
        listed.write_text(text)
        done = its_on(settings, *words)
        assert (done.code, said in done.err) == (code, True), done.err
