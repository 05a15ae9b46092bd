"""``its run`` and the closing of dead runs with a Postgres instance; a server is started where one is installed."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.drive import DRIVER, close_killed_runs, driver_tag, open_instance
from tests.end_to_end.conftest import its

STORAGE = """
telemetry: {{enabled: false}}
storage:
  postgres:
    postgres_db: {{username: its, password: "", hostname: 127.0.0.1, db_name: postgres, port: {port}}}
"""


def _programs() -> Path | None:
    """Folder of the server's programs: on the path, or where Debian keeps them."""
    if found := shutil.which("pg_ctl"):
        return Path(found).parent
    return next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server on a free port of this machine alone; it ends with the test."""
    programs = _programs()
    if programs is None or not (programs / "initdb").exists():
        pytest.skip("no Postgres server is installed (initdb)")
    pytest.importorskip("dagster_postgres")
    folder = tmp_path_factory.mktemp("postgres")
    user = {}
    if os.getuid() == 0:  # the server refuses to run as root
        if not shutil.which("runuser"):
            pytest.skip("the Postgres server cannot run as root, and runuser is not installed")
        user = {"user": "nobody", "group": "nogroup"}
        shutil.chown(folder, "nobody")
        for parent in folder.parents:
            if parent.is_relative_to(tmp_path_factory.getbasetemp().parent.parent):
                parent.chmod(parent.stat().st_mode | 0o011)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"

    def run(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, timeout=60, cwd=folder, **user)  # type: ignore[call-overload]

    run(str(programs / "initdb"), "-D", str(data), "-U", "its", "-A", "trust", "-N")
    options = f"-h 127.0.0.1 -p {port} -c unix_socket_directories={folder} -F"
    run(str(programs / "pg_ctl"), "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
    yield port
    run(str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")


@pytest.mark.slow
def test_a_run_is_recorded_and_a_dead_one_closed(
    server: int, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(STORAGE.format(port=server))
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
