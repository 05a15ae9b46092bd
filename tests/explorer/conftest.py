"""Settings of tests that read tables and no data root."""

from pathlib import Path

import pytest

from itrialspace_assets.base.settings import Settings, load_settings


@pytest.fixture
def empty(tmp_path: Path) -> Settings:
    (tmp_path / "data" / "profiles").mkdir(parents=True)
    return load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out")
