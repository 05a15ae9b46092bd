"""A whole demo behind the explorer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from itrialspace_assets.base.settings import Settings, load_settings
from tests.end_to_end.conftest import demo
from tests.support.explorer import served

__all__ = ["demo"]


@pytest.fixture(scope="session")
def explored(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of the demo with an empty folder for trial files."""
    trials = tmp_path_factory.mktemp("trials")
    return load_settings(data_dir=demo / "data", output_dir=demo / "out", trials_dir=trials, workers=1)


@pytest.fixture(scope="session")
def explorer(explored: Settings) -> Iterator[str]:
    """The explorer's address."""
    with served(explored) as address:
        yield address
