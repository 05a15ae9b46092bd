"""``its splits`` on slices of two modes, and lists of ids: what is asked for and is not there is told; what is wrong is
one message before any work, and nothing is written elsewhere."""

from collections.abc import Callable
from pathlib import Path

import pytest

from itrialspace_assets.analysis import splits
from itrialspace_assets.analysis.frozen import ListKey, locks
from itrialspace_assets.analysis.splits import Candidate
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.records.layout import published_mode
from itrialspace_assets.records.store import write_table
from tests.cli.conftest import Done, Its
from tests.cli.test_reading import its_on  # noqa: F401
from tests.readers.conftest import slice_rows, study  # noqa: F401

Study = Callable[..., Settings]
ItsOn = Callable[..., Done]
M2, M3 = "m02_size_detection_curve", "m03_location_sensitivity"


@pytest.fixture
def its_splits(its: Its, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Run ``its splits`` in a folder where so many slices of mode 2, and as many of mode 3, are there."""
    (tmp_path / "data").mkdir()
    monkeypatch.delenv("ITRIALSPACE_READERS_CONFIG", raising=False)

    def candidate(mode: str, count: int) -> Candidate:
        where = {"source": "tissue", "mode": mode, "dataset": "LUNA16"}
        rows = slice_rows(tmp_path / "out", range(count))
        named = [row | where | {"published_id": f"{published_mode(mode)}/x__C{row['slice_uid']}"} for row in rows]
        write_table(tmp_path / "out", "slices", named, **where)
        return Candidate("tissue", mode)

    def call(*arguments: str, **counts: int) -> Done:
        there = [candidate({"m2": M2, "m3": M3}[name], count) for name, count in counts.items()]
        monkeypatch.setattr(splits, "candidates", lambda _: there)
        return its("splits", *arguments, "--dir", str(tmp_path))

    return call


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out")


def test_a_mode_that_is_named_and_not_there_is_told(its_splits: Callable[..., Done], settings: Settings) -> None:
    done = its_splits("freeze", "v1", "--modes", "2-3", m2=4)
    assert (done.code, "1 lists frozen" in done.out) == (1, True)
    assert f"{M3}: left out, not all of its slices are there; cut them with `its run --to slice`" in done.err
    assert set(locks(settings, "v1")) == {ListKey("v1", "tissue", M2)}
    assert its_splits("freeze", "v1", "--modes", "2-3", m2=4, m3=4).code == 0
    none = its_splits("freeze", "v2", "--rule", "release_v1", "--modes", "2", m2=4)
    assert (none.code, f"tissue/{M2}: no slice" in none.out) == (0, True), "nobody answered"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--source", "tisue"), "--source: expected an image source out of real, tissue, got tisue"),
        (("--modes", "2,99"), "--modes: expected numbers or ranges of 1-13"),
        (("../v2",), "ITRIALSPACE_SPLIT='../v2': expected 1 to 64 letters"),
    ],
)
def test_a_wrong_word_is_refused(its_splits: Callable[..., Done], arguments: tuple[str, ...], says: str) -> None:
    done = its_splits("freeze", *(("v1", *arguments) if len(arguments) > 1 else arguments), m2=4)
    assert (done.code, says in done.err) == (2, True), done.err


def test_a_published_list_is_imported_in_parts_as_slices_come(
    its_splits: Callable[..., Done], settings: Settings, tmp_path: Path
) -> None:
    ids = [
        f"{mode}/x__Cs{i:04}" for mode in ("mode2_size_detection_curve", "mode3_location_sensitivity") for i in (0, 2)
    ]
    file = tmp_path / "release_v1.synthetic.txt"
    file.write_text("# of a release\n\n" + "".join(f"{uid} \n" for uid in ids))
    done = its_splits("import", str(file), m2=4, m3=2)
    assert (done.code, "out of real, tissue, got nodmaisi" in done.err) == (2, True), done.err
    done = its_splits("import", str(file), "--source", "tissue", m2=4, m3=2)
    assert done.code == 1 and "1 lists frozen" in done.out
    assert (
        "mode3_location_sensitivity: left out, 1 of its 2 slices are not there (source tissue), first: "
        "mode3_location_sensitivity/x__Cs0002" in done.err
    )
    done = its_splits("import", str(file), "--source", "tissue", m2=4, m3=4)
    assert done.code == 0, done.err
    assert f"tissue/{M2}: is frozen already" in done.out and "1 lists frozen" in done.out
    assert {key.name: lock.n for key, lock in locks(settings, "release_v1").items()} == {M2: 2, M3: 2}
    other = file.rename(tmp_path / "release_v1.published.txt")
    assert "expected NAME.SET.txt with the set real, synthetic" in its_splits("import", str(other)).err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("freeze", "--", "../../elsewhere"), "ITRIALSPACE_SPLIT='../../elsewhere': expected 1 to 64 letters"),
        (("freeze", "--", "/tmp/elsewhere"), "ITRIALSPACE_SPLIT='/tmp/elsewhere': expected 1 to 64 letters"),
        (("verify", "--", "../out/splits/demo_v1"), "expected 1 to 64 letters"),
        (("freeze", "a", "--source", "tisue"), "--source: expected an image source out of real, tissue, got tisue"),
        (("freeze", "a", "--modes", "2,99"), "--modes: expected numbers or ranges of 1-13"),
        (("import", "{here}/.real.txt"), "expected NAME.SET.txt"),
        (("import", "{here}/a b.real.txt"), "ITRIALSPACE_SPLIT='a b'"),
        (("import", "{here}/a.real_x.txt"), "expected NAME.SET.txt with the set real, synthetic"),
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
