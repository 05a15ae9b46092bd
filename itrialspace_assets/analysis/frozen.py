"""Frozen lists: the slices that reports score, each with the hash of its picture under each guidance.

A list is written once. Its own hash lies in the lock of its split, which is written once too, so a list that was edited
afterwards is found, and so is a picture that changed. Nothing here chooses slices (``splits`` does) or scores them.

    splits/<split>/<source>/<name>.csv    slice_uid,condition,control,sha256
    splits/<split>/lock.json              {"<source>/<name>": {sha256, list_sha256, n, …}}
"""

import io
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.base.fingerprints import replace_file, sha256_bytes
from itrialspace_assets.base.locks import locked
from itrialspace_assets.base.settings import Settings, find_root
from itrialspace_assets.records.layout import list_sha256

#: What names a picture of a frozen list.
PICTURE = ["slice_uid", "condition", "control"]
_SCHEMA = pl.Schema(dict.fromkeys([*PICTURE, "sha256"], pl.String()))
#: How a lock names a list: its source and its name.
_PLACE = re.compile(r"[A-Za-z0-9_-]+/[A-Za-z0-9_-][A-Za-z0-9_.-]*")
#: Differences that a message names.
_FIRST = 10


@dataclass(frozen=True)
class ListKey:
    """A frozen list: its split, image source, and name (the mode, or real-<dataset>)."""

    split: str
    source: str
    name: str

    def __str__(self) -> str:
        return f"{self.split}: {self.source}/{self.name}"


@dataclass(frozen=True)
class Lock:
    """What is written down of a list when it is frozen.

    Attributes:
        sha256: of the list's file.
        list_sha256: the published hash, over its slice ids alone.
        n: slices.
        rule: how its slices were chosen.
        description: what the user says of it.
        created_at: UTC, ISO 8601, to the second.
        git_commit: short hash of the checkout; None outside one.
    """

    sha256: str
    list_sha256: str
    n: int
    rule: str
    description: str
    created_at: str
    git_commit: str | None


def split_folder(settings: Settings, split: str) -> Path:
    return settings.output / "splits" / split


def list_path(settings: Settings, key: ListKey) -> Path:
    """File of a frozen list."""
    return split_folder(settings, key.split) / key.source / f"{key.name}.csv"


def locks(settings: Settings, split: str) -> dict[ListKey, Lock]:
    """What the lock of a split says of each of its lists; empty where nothing is frozen.

    Raises:
        TableError: the lock is damaged.
    """
    path = split_folder(settings, split) / "lock.json"
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return {_key(split, place): _lock(entry) for place, entry in entries.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise TableError(f"splits/{split}/lock.json: expected the lock of a split, got {error}") from None


def _key(split: str, place: str) -> ListKey:
    """
    Raises:
        ValueError: it is no ``<source>/<name>``, or leads elsewhere.
    """
    if not _PLACE.fullmatch(place):
        raise ValueError(f"{place!r} as <source>/<name>")
    return ListKey(split, *place.split("/"))


def _lock(entry: Mapping[str, Any]) -> Lock:
    """
    Raises:
        TypeError: it has other keys, or values of another type.
    """
    lock = Lock(**entry)
    texts = (lock.sha256, lock.list_sha256, lock.rule, lock.description, lock.created_at)
    if not isinstance(lock.n, int) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"values of another type: {entry}")
    return lock


def freeze(settings: Settings, key: ListKey, slices: pl.DataFrame, rule: str, description: str = "") -> Lock:
    """Write a list and its lock.

    Args:
        settings: output folder.
        key: of the list.
        slices: rows of ``slices``: every picture of the slices that are chosen.
        rule: how they were chosen.
        description: what the user says of it.

    Raises:
        ConfigError: the list is frozen already.
    """
    path = list_path(settings, key)
    with locked(split_folder(settings, key.split) / "lock.lock"):
        known = locks(settings, key.split)
        if key in known:
            raise ConfigError(f"{key}: is frozen already; freeze it under the name of another split")
        if path.with_suffix(".txt").exists():
            raise ConfigError(
                f"{path.with_suffix('.txt').name}: was frozen by an earlier version, without hashes of pictures; "
                "freeze it under the name of another split (ITRIALSPACE_SPLIT)"
            )
        pictures = slices.select([*PICTURE, "sha256"]).unique().sort(PICTURE)
        data = pictures.write_csv().encode()
        uids = pictures["slice_uid"].unique().to_list()
        lock = Lock(sha256_bytes(data), list_sha256(uids), len(uids), rule, description, now(), _commit())
        replace_file(path, data)
        entries = {f"{k.source}/{k.name}": asdict(v) for k, v in (known | {key: lock}).items()}
        text = json.dumps(entries, indent=1, sort_keys=True)
        replace_file(split_folder(settings, key.split) / "lock.json", text.encode())
    return lock


def now() -> str:
    """Time of freezing; SOURCE_DATE_EPOCH fixes it, as in other tools, where runs are compared byte by byte.

    Raises:
        ConfigError: SOURCE_DATE_EPOCH is no time.
    """
    stated = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        now = datetime.fromtimestamp(int(stated), UTC) if stated else datetime.now(UTC)
    except (ValueError, OverflowError, OSError):
        raise ConfigError(f"SOURCE_DATE_EPOCH={stated}: expected seconds since 1970, unset it or correct it") from None
    return now.isoformat(timespec="seconds")


def _commit() -> str | None:
    try:
        found = subprocess.run(
            ["git", "-C", str(find_root()), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def read_list(settings: Settings, key: ListKey) -> pl.DataFrame:
    """Pictures of a frozen list: the columns of ``PICTURE`` and ``sha256``.

    Raises:
        TableError: it was never frozen, is gone, or is not what its lock says.
    """
    lock = locks(settings, key.split).get(key)
    if lock is None:
        raise TableError(f"{key}: no such list is frozen; freeze it with `its splits freeze {key.split}`")
    try:
        data = list_path(settings, key).read_bytes()
    except FileNotFoundError:
        raise TableError(f"{key}: the list that was frozen is gone; put {list_path(settings, key)} back") from None
    if sha256_bytes(data) != lock.sha256:
        raise TableError(
            f"{key}: expected the {lock.n} slices that were frozen (SHA-256 {lock.sha256[:12]}…), got a file with "
            f"SHA-256 {sha256_bytes(data)[:12]}…: it was changed after freezing. Put it back, or freeze another split"
        )
    return pl.read_csv(io.BytesIO(data), schema=_SCHEMA)


def changes(frozen: pl.DataFrame, slices: pl.DataFrame) -> list[str]:
    """Pictures of a frozen list that are gone or are not what was frozen, a line each.

    Args:
        frozen: as ``read_list`` gives it.
        slices: the rows of ``slices`` there are.
    """
    now = slices.select([*PICTURE, pl.col("sha256").alias("now")]).unique()
    joined = frozen.join(now, on=PICTURE, how="left").filter(
        pl.col("now").is_null() | (pl.col("now") != pl.col("sha256"))
    )
    what = pl.when(pl.col("now").is_null()).then(pl.lit("is gone")).otherwise(pl.lit("has another picture"))
    name = pl.concat_str([pl.col("slice_uid"), pl.lit(" "), pl.col("condition")])
    control = pl.when(pl.col("control") == "none").then(pl.lit("")).otherwise(pl.lit(" ") + pl.col("control"))
    return joined.sort(PICTURE).select(pl.concat_str([name, control, pl.lit(" "), what])).to_series().to_list()


def first_of(lines: list[str]) -> str:
    """How many lines there are, and the first ten."""
    more = f"; and {len(lines) - _FIRST} more" if len(lines) > _FIRST else ""
    return f"{len(lines)} of its pictures: {'; '.join(lines[:_FIRST])}{more}"


def require_unchanged(settings: Settings, key: ListKey, slices: pl.DataFrame) -> pl.DataFrame:
    """Pictures of a frozen list, of which none has changed.

    Args:
        settings: output folder.
        key: of the list.
        slices: the rows of ``slices`` there are.

    Raises:
        TableError: the list or a picture is not what was frozen; names the first ten.
    """
    frozen = read_list(settings, key)
    if found := changes(frozen, slices):
        raise TableError(
            f"{key}: the slices are not those that were frozen: {first_of(found)}. Make them again as they were, or "
            "freeze another split (ITRIALSPACE_SPLIT)"
        )
    return frozen
