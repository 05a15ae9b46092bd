"""What a user sees when something is wrong: one message, an exit code, never a traceback."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.records.store import read_all

from ..conftest import change
from .conftest import its


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--modes", "14"], "--modes"),
        (["run", "--modes", "x_none"], "or keys such as m01"),
        (["run", "--datasets", "DLCS25"], "DLCS24"),
        (["run", "--only", "dance"], "synthesise"),
        (["run", "--size", "huge"], "ITRIALSPACE_SIZE"),
        (["run", "--dir", "/nowhere-at-all"], "demo-data"),
        (["demo", "--modes", "99"], "--modes"),
        (["sql", "-q", "what"], "size_curve"),
        (["demo-data", "--out", "x", "--hosts", "0"], "--hosts"),
    ],
)
def test_wrong_words(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = its(*arguments, ITRIALSPACE_DATA_DIR=str(tmp_path), ITRIALSPACE_OUTPUT_DIR=str(tmp_path / "out"))
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def run(root: Path, out: Path, *arguments: str) -> tuple[int, str, str]:
    done = its("run", *arguments, ITRIALSPACE_DATA_DIR=str(root), ITRIALSPACE_OUTPUT_DIR=str(out))
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_an_unwritable_output(data_root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, error = run(data_root, tmp_path / "file" / "out", "--to", "profiles")
    assert code == 2
    assert "ITRIALSPACE_OUTPUT_DIR" in error


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("w", None, "w: missing column"),
        ("nodule_vol_mm3", "big", "nodule_vol_mm3: expected a number (3 rows at 0, 1, 2, first: big"),
    ],
)
def test_a_wrong_profile_table_stops_what_reads_it(
    own_root: Path, tmp_path: Path, column: str, value: str | None, message: str
) -> None:
    path = own_root / "profiles" / "LUNGx_nodule_profiles.csv"
    frame = pl.read_csv(path, infer_schema=False)
    frame = frame.drop(column) if value is None else frame.with_columns(pl.lit(value).alias(column))
    change(path, frame.write_csv().encode())
    code, _, error = run(own_root, tmp_path / "out", "--to", "index", "--datasets", "LUNGx")
    assert code == 1
    assert message in error
    assert "LUNGx_nodule_profiles.csv" in error
    assert not (tmp_path / "out/tables/profiles/LUNGx").exists()
    assert not (tmp_path / "out/tables/nodules").exists()


@pytest.mark.slow
def test_a_truncated_mask_among_many(own_root: Path, tmp_path: Path) -> None:
    bad = own_root / "masks/DLCS24/refined_seg/DEMO_DLCS24_0002_seg.nii.gz"
    change(bad, bad.read_bytes()[:5000])
    code, text, _ = run(own_root, tmp_path / "out", "--modes", "11")
    assert code == 0
    assert "rejected_share of hosts [DLCS24] failed" in text
    assert "unreadable_volume" in text
    rejected = read_all(tmp_path / "out", "rejected_cases")
    assert rejected["case_uid"].to_list() == ["DLCS24/DEMO_DLCS24_0002"]
    assert read_all(tmp_path / "out", "metrics", analysis="m11_digital_twin_isolation").height
    shutil.rmtree(tmp_path / "out/store/cts")  # and a lost store is made again
    code, text, _ = run(own_root, tmp_path / "out", "--modes", "11")
    assert code == 0
    assert load_settings(data_dir=own_root).anatomy == "procedural"
