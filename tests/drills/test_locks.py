"""What dead processes leave behind: locks and runs, of this host and of another one."""

import errno
import fcntl
import logging
import os
import socket
import subprocess
import threading
from pathlib import Path

import dagster as dg
import pytest

from itrialspace_assets import drive
from itrialspace_assets.base import locks
from itrialspace_assets.base.errors import CatalogBusy
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.care.clean import require_idle
from itrialspace_assets.catalog.rebuild import rebuilding
from itrialspace_assets.orchestration.instance import DRIVER, open_instance


@pytest.fixture
def gone() -> int:
    """Number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def left(path: Path, pid: int, host: str) -> Path:
    """The lock that a process left on a file system without flock."""
    soft = path.with_name(f"{path.name}.soft")
    soft.parent.mkdir(parents=True, exist_ok=True)
    soft.write_text(f"{pid}\n{host}\n")
    os.utime(soft, (1, 1))
    return soft


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, "flock")

    monkeypatch.setattr(fcntl, "flock", flock)


def test_a_lock_of_this_host_is_taken_over(no_flock: None, settings: Settings, gone: int) -> None:
    left(settings.output / "work/catalog.lock", gone, socket.gethostname())
    with rebuilding(settings):
        pass


def test_a_lock_of_another_host_is_named_with_the_way_out(
    no_flock: None, settings: Settings, gone: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    soft = left(settings.output / "work/catalog.lock", gone, "another-host")
    with pytest.raises(CatalogBusy, match=rf"remove {soft} if that process is gone"), rebuilding(settings):
        pass
    monkeypatch.setattr(locks, "SAY_S", 0.05)
    entered = threading.Event()

    def enter() -> None:
        with locks.locked(settings.output / "work/catalog.lock"):
            entered.set()

    with caplog.at_level(logging.WARNING, "itrialspace.locks"):
        waiting = threading.Thread(target=enter)
        waiting.start()
        assert not entered.wait(0.3), "it waits: nobody can tell whether that process lives"
        assert "another-host" in caplog.text and f"remove {soft}" in caplog.text
        soft.unlink()
        waiting.join(20)
    assert entered.is_set()
    with rebuilding(settings):
        pass


def test_a_run_of_a_host_that_is_down_is_named_and_ended_when_asked(
    settings: Settings, gone: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its slot of a pool would let each later run wait for ever."""
    monkeypatch.setenv("DAGSTER_HOME", str(settings.output / "dagster"))
    choice = drive.RunChoice((), ("LUNA16",), ("profiles",))
    with open_instance(settings) as instance:
        job = dg.GraphDefinition(name="empty").to_job()
        tags = {DRIVER: f"another-host:{gone}"}
        run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags).run_id
        pool = instance.event_log_storage
        pool.initialize_concurrency_limit_to_default("read_shards")
        assert pool.claim_concurrency_slot("read_shards", run, "x").is_claimed
        assert not drive.drive(settings, choice)
        said = capsys.readouterr().out
        assert f"process {gone} on another-host" in said and "its clean --gone-host another-host" in said
        assert instance.get_run_by_id(run).status == dg.DagsterRunStatus.STARTED  # type: ignore[union-attr]
        require_idle(settings, "another-host")
        assert instance.get_run_by_id(run).status == dg.DagsterRunStatus.FAILURE  # type: ignore[union-attr]
        assert pool.get_concurrency_info("read_shards").claimed_slots == []
