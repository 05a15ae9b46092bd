"""SHA-256 of values and files, and the rename that makes a write all or nothing.

A file is hashed once: the result is cached by path, size and modification time. Nothing here knows
what a file holds.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from itrialspace_assets.base.disk import disk_failure, is_full
from itrialspace_assets.base.errors import ConfigError, PlatformError


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


#: Made once: ``json.dumps`` makes an encoder at each call, which costs as much as a short value.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def canonical(value: Any) -> str:
    """A JSON-able value in canonical form: sorted keys, no spaces, no NaN."""
    return _CANONICAL.encode(value)


def digest(value: Any, length: int = 64) -> str:
    """Hex SHA-256 of a JSON-able value in canonical form."""
    return sha256_bytes(canonical(value).encode())[:length]


def replace_file(path: Path, data: bytes) -> None:
    """Write ``data`` under a temporary name in the same folder, then rename: whole or not at all."""
    with replacing(path) as out:
        out.write(data)


def replace_parts(path: Path, parts: Iterable[bytes]) -> str:
    """``replace_file`` of parts that are made and written one after the other; the SHA-256 of the whole."""
    whole = hashlib.sha256()
    with replacing(path) as out:
        for part in parts:
            out.write(part)
            whole.update(part)
    return whole.hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file under a temporary name that takes the place of ``path`` once it is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def link_file(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``: a hard link, or a copy on another file system; by rename."""
    if target.exists() and source.exists() and target.samefile(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".tmp-{os.getpid()}-{target.name}")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:  # another file system
        shutil.copyfile(source, temporary)
    temporary.replace(target)


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        FileNotFoundError: there is no such file.
    """
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _state(path: Path) -> tuple[str, int, int]:
    """What tells one state of a file from another: name, bytes, time of the last change (ns).

    Raises:
        FileNotFoundError: there is no such file.
    """
    stat = path.stat()
    # also of a name that is not UTF-8
    return os.fsencode(path).decode(errors="backslashreplace"), stat.st_size, stat.st_mtime_ns


class FileHashes:
    """Hashes of files, remembered in one SQLite file by path, size and modification time.

    Raises:
        ConfigError: its folder cannot be written to.
        PlatformError: the disk is full.
    """

    def __init__(self, cache: Path) -> None:
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(cache, timeout=60)
            self._db.execute("PRAGMA journal_mode=WAL")
        except (OSError, sqlite3.OperationalError) as error:
            if is_full(error):
                raise PlatformError(disk_failure(error, cache)) from None
            raise ConfigError(f"{cache.parent}: expected a folder to write to, got: {error}") from None
        self._db.execute("PRAGMA synchronous=OFF")  # a lost cache costs a rehash, nothing else
        self._db.execute("CREATE TABLE IF NOT EXISTS hashes (path TEXT PRIMARY KEY, size INT, mtime INT, sha256 TEXT)")

    def __enter__(self) -> "FileHashes":
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def get(self, path: Path) -> str | None:
        """The file's hash, or None where there is no file."""
        try:
            state = _state(path)
        except FileNotFoundError:
            return None
        row = self._db.execute("SELECT sha256 FROM hashes WHERE path=? AND size=? AND mtime=?", state).fetchone()
        if row:
            return str(row[0])
        value = hash_file(path)
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO hashes VALUES (?,?,?,?)", (*state, value))
        return value

    def remember(self, root: Path, files: Mapping[str, str]) -> None:
        """Keep the hashes of files that were just written, so that none is read again.

        Of a file that is known already nothing changes: if it differs from what is known, ``get`` reads it.

        Args:
            root: folder of the files.
            files: path below ``root`` -> SHA-256; a file that is gone is left out.
        """
        rows = []
        for name, sha256 in files.items():
            with suppress(FileNotFoundError):
                rows.append((*_state(root / name), sha256))
        with self._db:
            self._db.executemany("INSERT OR IGNORE INTO hashes VALUES (?,?,?,?)", rows)

    def intact(self, root: Path, files: Mapping[str, str]) -> bool:
        """True if every file (path below ``root`` -> SHA-256) is there with that content."""
        return all(self.get(root / name) == wanted for name, wanted in files.items())
