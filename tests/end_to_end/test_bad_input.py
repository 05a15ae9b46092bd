"""What a user sees when something is wrong: one message, an exit code, never a traceback."""

import shutil
from pathlib import Path

import pytest

from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.records.store import read_all

from ..conftest import change
from .conftest import here, its


def test_a_wrong_word_in_a_process_of_its_own(tmp_path: Path) -> None:
    """Every other wrong word is tried in ``tests/cli/test_errors.py``, in the process of the tests."""
    done = its("sql", "-q", "what", ITRIALSPACE_DATA_DIR=str(tmp_path), ITRIALSPACE_OUTPUT_DIR=str(tmp_path / "out"))
    assert done.returncode == 2, done.stdout + done.stderr
    assert "size_curve" in done.stderr
    assert "Traceback" not in done.stderr


def run(root: Path, out: Path, *arguments: str) -> tuple[int, str, str]:
    places = {"ITRIALSPACE_DATA_DIR": str(root), "ITRIALSPACE_OUTPUT_DIR": str(out), "ITRIALSPACE_WORKERS": "1"}
    done = here("run", *arguments, **places)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_a_truncated_mask_among_many(own_root: Path, tmp_path: Path) -> None:
    bad = own_root / "masks/DLCS24/refined_seg/DEMO_DLCS24_0002_seg.nii.gz"
    change(bad, bad.read_bytes()[:5000])
    asked = ("--modes", "11", "--datasets", "DLCS24,LUNA16", "--to")
    code, text, _ = run(own_root, tmp_path / "out", *asked, "report")
    assert code == 0
    assert "rejected_share of hosts [DLCS24] failed" in text
    assert "unreadable_volume" in text
    rejected = read_all(tmp_path / "out", "rejected_cases")
    assert rejected["case_uid"].to_list() == ["DLCS24/DEMO_DLCS24_0002"]
    assert read_all(tmp_path / "out", "metrics", analysis="m11_digital_twin_isolation").height
    images = [tmp_path / "out" / path for path in read_all(tmp_path / "out", "cts")["path"]]
    assert images and all(path.exists() for path in images)
    shutil.rmtree(tmp_path / "out/store/cts")  # and a lost store is made again
    code, text, _ = run(own_root, tmp_path / "out", *asked, "synthesise")
    assert code == 0
    assert all(path.exists() for path in images)
    assert load_settings(data_dir=own_root).anatomy == "procedural"
