"""Tables of an imported dataset beside a registry that was there before."""

from pathlib import Path

import pytest

from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.intake.own_dataset import write_tables
from itrialspace_assets.profiles.registry import datasets

STATED = "${ITRIALSPACE_DATA_DIR}/profiles/LUNGx_nodule_profiles.csv"


def test_an_import_keeps_the_variables_of_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ITRIALSPACE_DATA_DIR", raising=False)
    settings = load_settings(data_dir=tmp_path, output_dir=tmp_path / "out")
    (tmp_path / "datasets.yaml").write_text(f"datasets:\n  LUNGx: {STATED}\n")
    write_tables(settings, "MINE", [], [{"ct_id": "a", "patient": "p", "series": "1.2"}])
    assert STATED in (tmp_path / "datasets.yaml").read_text()
    assert {"LUNGx", "MINE"} <= set(datasets(settings))
    assert (tmp_path / "profiles" / "MINE_scans.csv").read_text().splitlines()[1] == "a,p,1.2"
