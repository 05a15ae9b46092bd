"""Says whether an error means that a disk is full, failing or closed, or that a path is none, and what to do then.

Knows no stage.
"""

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

#: Errors of a disk: full, over a quota, failing, read-only.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
#: Closed to this user; counts where it is the error itself, because code may look at a file, fail, and go on.
_CLOSED = (errno.EACCES, errno.EPERM)
#: Errors of a path that cannot be what it is used as: too long, in a circle, through a file, a folder as a file, a file
#: as a folder.
_PATH = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
#: The same of SQLite, whose errors carry no errno (https://sqlite.org/rescode.html); the low byte tells the kind.
_SQLITE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
#: What polars and DuckDB, whose errors carry no number at all, say of a full disk.
_FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))
#: Characters of a path that a message shows (ours).
_SHOWN = 300
#: Free bytes below which a disk counts as full whatever the error says (ours): SQLite calls it an I/O error.
_LEAST_FREE = 2**20


def errors_beneath(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what caused it, and what a library of databases wraps in it."""
    seen: list[BaseException | None] = [error]
    for one in seen:
        if one is not None:
            yield one
            more = (one.__cause__, one.__context__, getattr(one, "orig", None))
            seen += [e for e in more if isinstance(e, BaseException) and not any(e is s for s in seen)]


def disk_failure(error: BaseException, folder: Path) -> str | None:
    """What a disk did and how to fix it; None where the error is of another kind.

    Args:
        error: as it was caught.
        folder: of the outputs; named where the error names no file.
    """
    for one in errors_beneath(error):
        said = _said(one)
        if one is error and isinstance(one, OSError) and one.errno in _CLOSED:
            said = os.strerror(one.errno)
        if said:
            name = one.filename if isinstance(one, OSError) else None
            place = Path(os.fsdecode(name)) if isinstance(name, (str, bytes)) else folder
            return _message(place, said)
    return None


def unusable_path(error: BaseException) -> str | None:
    """What is wrong with a path that somebody gave; None where the error is of another kind."""
    if not isinstance(error, OSError) or error.errno not in _PATH or not isinstance(error.filename, str | bytes):
        return None
    name = os.fsdecode(error.filename)
    shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…"
    return f"{shown}: expected a path that can be used so, got: {os.strerror(error.errno)}; give another one"


def is_full(error: BaseException) -> bool:
    """True if a disk is full, or a quota."""
    return any(text in str(one) for one in errors_beneath(error) for text in (*_FULL, "disk is full"))


def _said(error: BaseException) -> str | None:
    if isinstance(error, OSError) and error.errno in _DISK:
        return os.strerror(error.errno)
    if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _SQLITE:
        return str(error)
    return next((text for text in _FULL if text in str(error)), None)


def _message(place: Path, said: str) -> str:
    folder = next(p for p in (place, *place.absolute().parents) if p.is_dir())
    usage = shutil.disk_usage(folder)
    full = said in _FULL or "disk is full" in said or usage.free < _LEAST_FREE
    state = f"{usage.free / 2**20:.1f} of {usage.total / 2**20:.0f} MiB are free"
    fix = "free space" if full else "make it writable"
    return (
        f"{place}: the disk {'is full' if full else 'failed'}: {said}; {state}. Please {fix} and run again: what is "
        "finished is kept"
    )
