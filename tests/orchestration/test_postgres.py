"""``its run`` and the closing of dead runs with a Postgres instance; a server is started where one is installed."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.orchestration.instance import DRIVER, close_killed_runs, driver_tag, open_instance
from tests.end_to_end.conftest import its
from tests.support import postgres


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """The port of a server; it ends with the tests."""
    if why := postgres.missing():
        pytest.skip(why)
    pytest.importorskip("dagster_postgres")
    with postgres.server() as running:
        yield running.port


@pytest.mark.slow
def test_a_run_is_recorded_and_a_dead_one_closed(
    server: int, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(postgres.STORAGE.format(port=server))
    places = {"ITRIALSPACE_DATA_DIR": str(data_root), "ITRIALSPACE_OUTPUT_DIR": str(tmp_path / "out")}
    done = its("run", "--datasets", "LUNA16", "--to", "profiles", DAGSTER_HOME=str(home), **places)
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with open_instance(load_settings(data_dir=data_root, output_dir=tmp_path / "out")) as instance:
        assert type(instance.event_log_storage).__name__ == "PostgresEventLogStorage"
        found = instance.fetch_materializations(dg.AssetKey("profiles"), limit=5).records
        assert [r.partition_key for r in found] == ["LUNA16"]
        gone = subprocess.Popen(["true"])
        gone.wait()
        job = dg.GraphDefinition(name="empty").to_job()
        runs = {
            name: instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags={DRIVER: tag}).run_id
            for name, tag in (
                ("dead", f"{socket.gethostname()}:{gone.pid}"),
                ("alive", driver_tag()),
                ("elsewhere", f"another-host:{gone.pid}"),
            )
        }
        close_killed_runs(instance)
        states = {name: instance.get_run_by_id(run).status.value for name, run in runs.items()}  # type: ignore[union-attr]
    assert states == {"dead": "FAILURE", "alive": "STARTED", "elsewhere": "STARTED"}
