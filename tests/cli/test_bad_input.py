"""Outputs that cannot be written and tables of profiles that are wrong: one message, an exit code, nothing written."""

from pathlib import Path

import polars as pl
import pytest

from ..conftest import change
from .conftest import Done, Its


@pytest.fixture
def run(its: Its, monkeypatch: pytest.MonkeyPatch) -> Its:
    """``its run`` on a data root and an output folder, with further arguments."""

    def call(root: str, out: str, *arguments: str) -> Done:
        monkeypatch.setenv("ITRIALSPACE_DATA_DIR", root)
        monkeypatch.setenv("ITRIALSPACE_OUTPUT_DIR", out)
        done = its("run", "--workers", "1", *arguments)
        assert "Traceback" not in done.err
        return done

    return call


def test_an_unwritable_output(run: Its, data_root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(str(data_root), str(tmp_path / "file" / "out"), "--to", "profiles")
    assert done.code == 2
    assert "ITRIALSPACE_OUTPUT_DIR" in done.err


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("w", None, "w: missing column"),
        ("nodule_vol_mm3", "big", "nodule_vol_mm3: expected a number (3 rows at 0, 1, 2, first: big"),
    ],
)
def test_a_wrong_profile_table_stops_what_reads_it(
    run: Its, own_root: Path, tmp_path: Path, column: str, value: str | None, message: str
) -> None:
    path = own_root / "profiles" / "LUNGx_nodule_profiles.csv"
    frame = pl.read_csv(path, infer_schema=False)
    frame = frame.drop(column) if value is None else frame.with_columns(pl.lit(value).alias(column))
    change(path, frame.write_csv().encode())
    done = run(str(own_root), str(tmp_path / "out"), "--to", "index", "--datasets", "LUNGx")
    assert done.code == 1
    assert message in done.err
    assert "LUNGx_nodule_profiles.csv" in done.err
    assert not (tmp_path / "out/tables/profiles/LUNGx").exists()
    assert not (tmp_path / "out/tables/nodules").exists()
