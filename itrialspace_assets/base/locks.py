"""Locks between processes: one holds a file's lock, the others wait. Nothing here knows what is locked."""

import errno
import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from itrialspace_assets.base.disk import disk_failure, is_full
from itrialspace_assets.base.errors import ConfigError, PlatformError

_LOG = logging.getLogger("itrialspace.locks")
#: Seconds after which it is said what is waited for (ours).
SAY_S = 30.0


@contextmanager
def locked(path: Path, timeout: float = -1) -> Iterator[None]:
    """Hold the lock of a file.

    Where the file system does not implement flock (Lustre without ``-o flock``), the existence of ``<name>.soft`` is
    the lock; one that a killed process of this host left is taken over. Of another host's process nobody can tell here
    whether it lives: what is waited for is said after ``SAY_S``.

    Args:
        path: the file; made, and left there.
        timeout: seconds to wait; below 0: as long as it takes.

    Raises:
        filelock.Timeout: another process holds it for longer.
        ConfigError: the file system has no locks of any kind, or the folder cannot be written to.
        PlatformError: the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        soft = path.with_name(f"{path.name}.soft")
        lock = FileLock(path, timeout=timeout) if _has_flock(path) else SoftFileLock(soft, timeout=timeout)
        try:
            lock.acquire(timeout=SAY_S if timeout < 0 else timeout)
        except Timeout as error:
            if timeout >= 0:
                raise
            hint = f"; remove {soft} if that process is gone" if isinstance(lock, SoftFileLock) else ""
            _LOG.warning("%s: waiting for the process that holds it: %s%s", path, error, hint)
            lock.acquire()
    except TimeoutError:
        raise
    except (OSError, NotImplementedError) as error:
        if is_full(error):
            raise PlatformError(disk_failure(error, path)) from None
        raise ConfigError(
            f"{path}: expected a file that can be locked, got: {error}. Put the outputs (ITRIALSPACE_OUTPUT_DIR) on a "
            "file system with locks, for example a local disk, or mount this one with them (Lustre: -o flock)"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _has_flock(path: Path) -> bool:
    """Whether the file system of a file has locks; ``FileLock`` alone would take an unlocked file for a held one."""
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):
                return False
            raise
    return True
