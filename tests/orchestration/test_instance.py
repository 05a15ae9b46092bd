"""The Dagster instance of an output folder: where it may lie, and runs that open a new one at the same moment."""

import os
import time
from pathlib import Path

import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.orchestration.instance import open_instance
from tests.support import warm

#: Says that it is ready, waits for the sign to start, and opens the instance of a folder three times.
_OPEN = """
import sys
from pathlib import Path
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.orchestration.instance import open_instance
folder, ready, start = map(Path, sys.argv[1:])
settings = load_settings(data_dir=folder, output_dir=folder)
ready.touch()
while not start.exists():
    pass
for _ in range(3):
    with open_instance(settings) as instance:
        instance.get_runs()
"""


@pytest.mark.parametrize("name", ["my%20data", "a?b"])
def test_a_folder_that_the_history_would_miss_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="rename the folder"):
        open_instance(load_settings(data_dir=tmp_path / name, output_dir=tmp_path / name))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("executor", "limit"), [("in_process", 1), ("docker", 1), ("slurm", 100), ("k8s", 100)])
def test_shards_of_a_partition_run_beside_each_other_on_a_cluster_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str, limit: int
) -> None:
    """A step on one machine uses all its workers; on a cluster each shard has a node of its own."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    with open_instance(load_settings(data_dir=tmp_path, output_dir=tmp_path / "out", executor=executor)) as instance:
        instance.event_log_storage.initialize_concurrency_limit_to_default("synthesise_shards")
        assert instance.event_log_storage.get_concurrency_info("synthesise_shards").slot_count == limit


@pytest.mark.slow
def test_runs_that_start_at_once_on_a_new_folder_all_open_it(tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"}
    start, ready = tmp_path / "start", [tmp_path / f"ready{i}" for i in range(4)]
    others = [
        warm.Process(["-W", "ignore", "-c", _OPEN, str(tmp_path / "out"), str(mine), str(start)], env) for mine in ready
    ]
    give_up = time.monotonic() + 120
    while not all(mine.exists() for mine in ready):
        assert time.monotonic() < give_up, [other.poll() for other in others]
        time.sleep(0.01)
    start.touch()
    said = [other.communicate(timeout=120) for other in others]
    assert [other.returncode for other in others] == [0] * 4, said
