"""Errors of disks, as the libraries below raise them, are told from others."""

import errno
import os
import sqlite3
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy

from itrialspace_assets.base.disk import disk_failure, is_full
from itrialspace_assets.base.fingerprints import FileHashes


def test_a_full_disk_is_known_beneath_what_libraries_wrap_it_in(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "x.nii.gz"))
    wrapped = RuntimeError("could not write")
    wrapped.__cause__ = full
    for error in (full, wrapped, sqlalchemy.exc.OperationalError("INSERT", {}, full), pl.exceptions.ComputeError(full)):
        said = disk_failure(error, tmp_path)
        assert said is not None and "is full" in said and "MiB are free" in said and "free space" in said
        assert is_full(error)
    assert str(disk_failure(full, tmp_path)).startswith(f"{tmp_path}/x.nii.gz: ")
    failing = disk_failure(OSError(errno.EIO, "I/O"), tmp_path)
    assert failing is not None and "the disk failed: Input/output error" in failing


def test_a_database_on_a_full_disk(tmp_path: Path) -> None:
    """SQLite's own error, of a database that may not grow."""
    db = sqlite3.connect(tmp_path / "x.db")
    db.execute("CREATE TABLE t (a)")
    db.commit()
    db.execute("PRAGMA max_page_count=3")
    with pytest.raises(sqlite3.OperationalError) as caught:
        db.execute("INSERT INTO t VALUES (?)", (b"x" * 100_000,))
    assert "is full" in str(disk_failure(caught.value, tmp_path))


def test_other_errors_are_not_those_of_a_disk(tmp_path: Path) -> None:
    closed = PermissionError(errno.EACCES, "closed")
    handled = ValueError("no number")
    handled.__context__ = closed  # was caught, and something else went wrong
    for error in (ValueError("no number"), FileNotFoundError(errno.ENOENT, "none"), handled, sqlite3.Error("syntax")):
        assert disk_failure(error, tmp_path) is None
    assert "failed: Permission denied" in str(disk_failure(closed, tmp_path))
    with FileHashes(tmp_path / "hashes.sqlite"):
        pass
