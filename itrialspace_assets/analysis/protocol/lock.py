"""The lock of a study: its hash, and which answers existed when it was written. Written once for a study and a split.

    splits/<split>.<study>.lock.json         hash and content of the study, how many answers of each reader existed
    splits/<split>.<study>.answers.parquet   their keys; no file where none existed

What was read before is told by the keys of answers, not by a clock: a key is a hash of picture, question and reader. So
a clock that was set back hides nothing, and the answers to a pilot on other pictures count against no study. Three
things are not found: answers whose ledger, marks and tables were all deleted before the lock was written, when the
tables of others (readers of kind ``table``) were made, and a lock that was deleted and written again where nothing
existed. Who must prove more writes the hash down elsewhere, in a registry of studies.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from itrialspace_assets.analysis.frozen import PICTURE, locks, now, read_list
from itrialspace_assets.analysis.protocol.model import Study
from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.base.fingerprints import hash_file, replace_file
from itrialspace_assets.base.locks import locked
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.readers.ledger import ledgers
from itrialspace_assets.records.store import read_file, table_files
from itrialspace_assets.records.tables import TABLES

#: Characters of a key that are kept: two of a billion answers agree in 64 bits with a chance of 3 % (ours).
_KEPT = 16
#: Before the key of a whole scan's marks.
_SCAN = "scan/"


@dataclass(frozen=True)
class Existing:
    """Answers of a reader that existed when the study was locked, and how many of them the split scores now.

    ``scored`` is None where the split holds no list yet: nobody can say which answers it will score.
    """

    reader: str
    answers: int
    scored: int | None


@dataclass(frozen=True)
class LockState:
    """Whether the study is what was locked before answers were read.

    Attributes:
        status: locked: nothing speaks against it. missing: there is no lock. edited: the file says something else now.
            late: answers that are scored existed when it was locked. unproven: the lock does not tell what existed.
        sha256: hash of the study as it is now.
        locked_at: when the lock was written, as the clock said then; None: there is no lock, or it does not say.
        changes: what was edited, a line a key.
        existing: what existed when it was locked, by reader.
    """

    status: Literal["locked", "missing", "edited", "late", "unproven"]
    study: str
    split: str
    sha256: str
    locked_at: str | None = None
    changes: tuple[str, ...] = ()
    existing: tuple[Existing, ...] = ()

    @property
    def exploratory(self) -> bool:
        """True if nothing in a report may be called primary or planned."""
        return self.status != "locked"

    @property
    def found(self) -> tuple[str, ...]:
        """A line for each reader of which answers existed when the study was locked."""
        return tuple(
            f"{e.answers} answers of reader {e.reader} existed when the study was locked"
            + ("" if e.scored is None else f"; {e.scored} of them are scored in the split {self.split}")
            for e in self.existing
        )

    @property
    def reason(self) -> str:
        """In one or two sentences, why; for the head of a report."""
        name = f"study {self.study} ({self.sha256[:12]})"
        if self.status == "missing":
            return f"The {name} is not locked for the split {self.split}: everything here is exploratory."
        if self.status == "edited":
            what = "; ".join(self.changes[:3]) + ("; and more" if len(self.changes) > 3 else "")
            return f"The {name} was edited after it was locked ({what}): everything here is exploratory."
        if self.status == "unproven":
            return (
                f"The lock of the {name} does not tell which answers existed when it was written: everything here is "
                "exploratory."
            )
        if self.status == "late":
            first = "; ".join(f"{e.scored} of reader {e.reader}" for e in self.existing if e.scored)
            return (
                f"The {name} was locked when answers that are scored here existed ({first}): everything here is "
                "exploratory."
            )
        when = f" on {self.locked_at}" if self.locked_at else ""
        if any(e.scored is None for e in self.existing):
            return (
                f"The {name} was locked{when}. The split {self.split} holds no list yet, so nobody can say which of "
                "the answers that existed it will score."
            )
        return f"The {name} was locked{when}, before any answer was read that is scored here."


def lock_path(settings: Settings, study: str) -> Path:
    """The lock of a study for the configured split."""
    return settings.output / "splits" / f"{settings.split}.{study}.lock.json"


def _keys_path(settings: Settings, study: str) -> Path:
    return lock_path(settings, study).with_name(f"{settings.split}.{study}.answers.parquet")


def lock_study(settings: Settings, study: Study) -> bool:
    """Write the lock of a study for the configured split, unless there is one; whether it was written now."""
    path = lock_path(settings, study.study)
    with locked(path.with_name(f".{path.name}.lock")):
        if path.exists():
            return False
        keys = _existing_keys(settings)
        counts = keys.group_by("reader").len().sort("reader")
        kept = _keys_path(settings, study.study)
        if keys.height:
            temporary = kept.with_name(f".tmp-{kept.name}")
            keys.write_parquet(temporary, compression="zstd", statistics=False)
            temporary.replace(kept)
        content = {
            "study": study.study,
            "split": settings.split,
            "sha256": study.sha256,
            "content": study.model_dump(mode="json"),
            "locked_at": now(),
            "answers": dict(counts.rows()),
            "answers_sha256": hash_file(kept) if keys.height else None,
        }
        replace_file(path, json.dumps(content, indent=1, sort_keys=True).encode())
    return True


def require_unlocked(settings: Settings, study: str) -> None:
    """Refuse to lock twice.

    Raises:
        ConfigError: there is a lock.
    """
    if (path := lock_path(settings, study)).exists():
        raise ConfigError(
            f"{path.name}: the study {study} is locked for the split {settings.split}, and a lock is written once. "
            f"Compare with `its study check {study}`; for a changed study take a new name (`its study new NAME --from "
            f"{study}`) or another split (ITRIALSPACE_SPLIT)"
        )


def _existing_keys(settings: Settings) -> pl.DataFrame:
    """Reader and key of everything that readers returned so far: ledgers, marks of scans, and what tables hold."""
    asked = [_keys(reader, ledger.keys()) for reader, _, ledger in ledgers(settings)]
    held = _held(settings, ["reader", "generation_key"])
    return pl.concat([*asked, *_marks(settings), _short(held)]).unique().sort("reader", "key")


def _held(settings: Settings, columns: list[str]) -> pl.DataFrame:
    """Some columns of all tables ``generations``."""
    empty = TABLES["generations"].empty().select(columns)
    files = table_files(settings.output, "generations")
    return pl.concat([empty, *(read_file("generations", path, columns) for path in files)])


def _short(held: pl.DataFrame) -> pl.DataFrame:
    return held.select(pl.col("reader").cast(pl.String), key=pl.col("generation_key").str.slice(0, _KEPT))


def _keys(reader: str, keys: pl.Series) -> pl.DataFrame:
    return keys.str.slice(0, _KEPT).alias("key").to_frame().select(pl.lit(reader).alias("reader"), "key")


def _marks(settings: Settings) -> list[pl.DataFrame]:
    """Reader and key of the scans that were marked; their keys hold no ledger."""
    folders = sorted(p for p in (settings.output / "store" / "marks").glob("*") if p.is_dir())
    scans = [pl.Series([path.stem for path in folder.glob("*/*/*.json")], dtype=pl.String) for folder in folders]
    return [
        _keys(folder.name, keys).with_columns(key=_SCAN + pl.col("key"))
        for folder, keys in zip(folders, scans, strict=True)
    ]


def lock_state(settings: Settings, study: Study) -> LockState:
    """Whether a study is what was locked for the configured split, before what the split scores was read.

    Args:
        settings: which split, and where locks and tables lie.
        study: as its file says now.

    Raises:
        TableError: the lock is damaged.
    """
    path = lock_path(settings, study.study)
    state = LockState("missing", study.study, settings.split, study.sha256)
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(lock["sha256"], str):
            raise TypeError("sha256 is no text")
        counts = {str(reader): int(n) for reader, n in lock["answers"].items()} if "answers" in lock else None
    except FileNotFoundError:
        return state
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise TableError(f"splits/{path.name}: expected the lock of a study, got {error!r}; put it back") from None
    existing = () if counts is None else _existing(settings, study, lock, counts)
    late = any(e.scored for e in existing)
    changes = _changes(lock, study)
    status: Literal["edited", "unproven", "late", "locked"]
    status = "edited" if changes else "unproven" if counts is None else "late" if late else "locked"
    return LockState(status, study.study, settings.split, study.sha256, lock.get("locked_at"), changes, existing)


def _changes(lock: dict[str, Any], study: Study) -> tuple[str, ...]:
    """A line for each key that says something else now; one that was no key yet counts if the file states it."""
    same = lock["sha256"] == study.sha256
    if not isinstance(lock.get("content"), dict):
        return () if same else ("the lock holds its hash alone, so what was edited is not known",)
    then, after = _flat(lock["content"]), _flat(study.model_dump(mode="json"))
    keys = [key for key in dict.fromkeys((*then, *after)) if then.get(key) != after.get(key)]
    changed = tuple(
        f"{key} was {_said(then, key)}, is {_said(after, key)}"
        for key in keys
        if not same or (key in then and key in after)
    )
    return changed if changed or same else ("its hash is another one",)


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by their path; a list is one value."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _said(values: dict[str, Any], key: str) -> str:
    return json.dumps(values[key]) if values.get(key) is not None else "not stated"


def _existing(settings: Settings, study: Study, lock: dict[str, Any], counts: dict[str, int]) -> tuple[Existing, ...]:
    """What existed of the study's readers at the time of the lock; of each, how much the split scores now."""
    readers = study.populations.readers
    counts = {reader: n for reader, n in sorted(counts.items()) if n and (readers == "all" or reader in readers)}
    if not counts:
        return ()
    path = _keys_path(settings, study.study)
    if not path.exists() or hash_file(path) != lock.get("answers_sha256"):
        raise TableError(f"splits/{path.name}: expected the keys that were written with the lock, got others or none")
    scored = _scored_keys(settings)
    if scored is None:
        return tuple(Existing(reader, n, None) for reader, n in counts.items())
    both = pl.read_parquet(path).join(scored, on=["reader", "key"], how="semi").group_by("reader").len()
    found = dict(both.rows())
    return tuple(Existing(reader, n, int(found.get(reader, 0))) for reader, n in counts.items())


def _scored_keys(settings: Settings) -> pl.DataFrame | None:
    """Reader and key of the answers to the slices of the split's lists, and of all marks; None: there is no list."""
    lists = locks(settings, settings.split)
    if not lists:
        return None
    frames = [read_list(settings, key).select(PICTURE).with_columns(source=pl.lit(key.source)) for key in lists]
    on = ["source", *PICTURE]
    held = _held(settings, ["reader", *on, "generation_key"]).cast(dict.fromkeys(on, pl.String))
    return pl.concat([_short(held.join(pl.concat(frames).unique(), on=on, how="semi")), *_marks(settings)]).unique()
