"""``its splits`` on slices of two modes: what is asked for and is not there is told."""

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
from tests.readers.conftest import slice_rows

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
        (("../v2",), "ITRIALSPACE_SPLIT='../v2': expected a name of letters, digits"),
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
