"""Locks between processes, with and without flock."""

import errno
import fcntl
import threading
from pathlib import Path

import pytest
from filelock import Timeout

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.locks import locked


def _fails(code: int) -> object:
    def flock(*_: object) -> None:
        raise OSError(code, "flock")

    return flock


@pytest.mark.parametrize("code", [0, errno.ENOSYS, errno.ENOLCK])
def test_one_holds_it_and_the_others_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    if code:
        monkeypatch.setattr(fcntl, "flock", _fails(code))
    path = tmp_path / "new" / "x.lock"
    with locked(path), pytest.raises(Timeout), locked(path, timeout=0.05):
        pass
    inside, most = [0], [0]

    def work() -> None:
        with locked(path):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            threading.Event().wait(0.01)
            inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (inside, most) == ([0], [1])


def test_a_lock_file_of_another_file_system_is_not_a_held_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with locked(tmp_path / "x.lock"):
        pass
    monkeypatch.setattr(fcntl, "flock", _fails(errno.ENOSYS))
    with locked(tmp_path / "x.lock", timeout=0.05):
        assert (tmp_path / "x.lock.soft").exists()
    assert not (tmp_path / "x.lock.soft").exists()


def test_a_folder_without_any_lock_is_named_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", _fails(errno.EIO))
    with pytest.raises(ConfigError, match=r"x\.lock: expected a file that can be locked, got.*ITRIALSPACE_OUTPUT_DIR"):
        with locked(tmp_path / "x.lock"):
            pass
