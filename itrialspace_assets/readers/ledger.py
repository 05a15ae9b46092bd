"""The ledger: everything that a reader ever returned, by key, shared by all modes. Asks nobody and scores nothing.

One folder a reader revision (``ledger/<reader>/<revision>/``). A batch is appended to a *tail*, a file of Arrow record
batches with length and checksum, in one write; what a killed run wrote of a batch is none. A tail of 10,000 answers
becomes a Parquet *shard*, which is never changed. ``compact`` gathers small shards and tails that no process appends
to, leaves at most one file for 10,000 answers, and writes the *index*, which tells in which shard a key lies. The
answer that was asked for first is the one that counts.

Failures are not kept. Seconds and the order of rows differ between runs; keys and answers do not.
"""

import math
import struct
import uuid
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from filelock import Timeout

from itrialspace_assets.base.errors import TableError
from itrialspace_assets.base.fingerprints import hash_file
from itrialspace_assets.base.locks import locked
from itrialspace_assets.base.settings import Settings

#: Answers of a full shard.
FULL = 10_000
#: Before each batch of a tail: its length in bytes and its CRC-32.
_HEAD = struct.Struct("<QI")
SCHEMA = pl.Schema(
    {
        "generation_key": pl.String(),
        "picture_sha256": pl.String(),
        "condition": pl.String(),
        "control": pl.String(),
        "task": pl.String(),
        "prompt_id": pl.String(),
        "prompt_sha256": pl.String(),
        "options": pl.List(pl.String()),
        "option_scores": pl.List(pl.Float64()),
        "outside_log_mass": pl.Float64(),
        "raw_text": pl.String(),
        "seconds": pl.Float64(),
        "asked_ns": pl.Int64(),
    }
)
_KEY = "generation_key"
#: Column of the index, and of shards that are read together: the file's name.
_SHARD = "shard"
_INDEX = "index.parquet"
#: Columns that two answers to one key may differ in.
_OF_THE_RUN = ("seconds", "asked_ns", "prompt_id")


@dataclass(frozen=True)
class LedgerProblem:
    """Something that ``verify`` found: in which file, and what."""

    file: str
    what: str


@cache
def _arrow() -> pa.Schema:
    """``SCHEMA`` for pyarrow. Asked for at import it would start the threads of polars, and no fork has threads."""
    return SCHEMA.to_frame().to_arrow(compat_level=pl.CompatLevel.oldest()).schema


class Ledger:
    """The ledger of one reader revision. Several processes may append to it and read it at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tail: Path | None = None  # held by its lock until it is a shard, or until this process ends
        self._held = ExitStack()
        self._batches: list[pa.RecordBatch] = []

    @classmethod
    def of(cls, settings: Settings, reader: str, revision: str) -> "Ledger":
        """The ledger of a reader's revision.

        Args:
            settings: where outputs lie.
            reader: name of the reader.
            revision: hash of its code, options and weights.
        """
        return cls(settings.output / "ledger" / reader / revision)

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add a batch: all of it or, if the process is killed, nothing.

        Args:
            rows: one dictionary an answer, with the columns of ``SCHEMA``.

        Raises:
            OSError: the disk failed; nothing counts of this batch.
        """
        if not rows:
            return
        if self._tail is None:
            path = self.folder / f"{uuid.uuid4().hex[:16]}.tail.arrow"
            self._held.enter_context(locked(_lock_of(path)))
            self._tail = path
        # rows go through pyarrow, which takes dictionaries and lists many times as fast as polars does
        batch = pa.RecordBatch.from_struct_array(pa.array(list(rows), pa.struct(list(_arrow()))))
        data = batch.serialize().to_pybytes()
        try:
            with self._tail.open("ab") as out:
                out.write(_HEAD.pack(len(data), zlib.crc32(data)) + data)
        except OSError:
            self.seal()  # what was written half ends the tail
            raise
        self._batches.append(batch)
        if sum(b.num_rows for b in self._batches) >= FULL:
            self.seal()

    def seal(self) -> None:
        """Turn this process's own tail into a shard."""
        if self._tail is None:
            return
        self._to_shards(_frame(self._batches))
        self._tail.unlink(missing_ok=True)
        _lock_of(self._tail).unlink(missing_ok=True)
        self._held.close()
        self._tail, self._batches = None, []

    def _to_shards(self, rows: pl.DataFrame) -> set[Path]:
        """Write rows as shards of ``FULL`` answers, the rest of them into the last one; the shards' paths."""
        made = set()
        rows = _first(rows)
        count = max(1, rows.height // FULL) if rows.height else 0
        for number in range(count):
            until = rows.height if number == count - 1 else (number + 1) * FULL
            part = rows[number * FULL : until]
            temporary = self.folder / f".tmp-{uuid.uuid4().hex}"
            try:
                part.write_parquet(temporary, compression="zstd", statistics=False)
                shard = self.folder / f"{hash_file(temporary)[:32]}.parquet"
                temporary.replace(shard)
                made.add(shard)
            finally:
                temporary.unlink(missing_ok=True)
        return made

    def shards(self) -> list[Path]:
        """Parquet files, in the order of their names."""
        return sorted(p for p in self.folder.glob("*.parquet") if p.name != _INDEX)

    def tails(self) -> list[Path]:
        """Files that batches were appended to and that are no shards yet."""
        return sorted(self.folder.glob("*.tail.arrow"))

    def lookup(self, keys: pl.Series, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The answers to some keys, one a key, those that are there.

        Args:
            keys: texts.
            columns: what is wanted of an answer beside its key; None: all. What is not wanted is not read.

        Returns:
            Rows with ``generation_key`` and these columns of ``SCHEMA``, in no particular order.

        Raises:
            TableError: a shard is damaged; names it.
        """
        chosen = list(SCHEMA) if columns is None else [_KEY, *columns]
        wanted = keys.unique().rename(_KEY).to_frame()
        read = list(dict.fromkeys([*chosen, "asked_ns"]))
        parts = [SCHEMA.to_frame().select(read)] if wanted.is_empty() else self._found(wanted, read)
        return _first(pl.concat(parts)).select(chosen)

    def _found(self, wanted: pl.DataFrame, columns: list[str]) -> list[pl.DataFrame]:
        for _ in range(3):  # a file may become part of another one while it is looked for
            try:
                # tails first: a batch that moves to a shard meanwhile is then found twice, never missed
                tails = [_read_tail(p).select(columns).join(wanted, on=_KEY, how="semi") for p in self.tails()]
                none = SCHEMA.to_frame().select(columns)
                return [none, _read_shards(self._holding(wanted), wanted, columns), *tails]
            except FileNotFoundError:
                continue
        raise TableError(f"{self.folder}: files come and go; expected one `its ledger compact` at a time")

    def _holding(self, wanted: pl.DataFrame) -> list[Path]:
        """Shards that hold at least one of the keys: as the index says; those that are newer are looked into."""
        shards = {path.name: path for path in self.shards()}
        indexed = self._indexed(wanted)
        hits = {name for name, holds in indexed.items() if holds}
        newer = [path for name, path in shards.items() if name not in indexed]
        if newer:
            hits |= set(_read_shards(newer, wanted, [_SHARD])[_SHARD].unique())
        return [shards[name] for name in sorted(hits & shards.keys())]

    def _indexed(self, wanted: pl.DataFrame) -> dict[str, bool]:
        """Every shard that the index lists, and whether it holds one of the keys; the index is not read whole."""
        holds = pl.col(_KEY).is_in(wanted[_KEY].implode()).any()
        try:
            index = pl.scan_parquet(self.folder / _INDEX, glob=False)
            found = index.group_by(pl.col(_SHARD).cast(pl.String)).agg(holds).collect(engine="streaming")
        except (pl.exceptions.PolarsError, OSError):  # missing, or damaged: made again by compact
            return {}
        return dict(found.select(_SHARD, _KEY).iter_rows())

    def _read_index(self) -> pl.DataFrame:
        schema = {_KEY: pl.String(), "shard": pl.Categorical()}
        try:
            return pl.read_parquet(self.folder / _INDEX).cast({"shard": pl.Categorical()}).select(list(schema))
        except FileNotFoundError:
            return pl.DataFrame(schema=schema)
        except (pl.exceptions.PolarsError, OSError):  # made again by compact; the shards hold everything
            return pl.DataFrame(schema=schema)

    def keys(self) -> pl.Series:
        """Every key, once."""
        parts = [_read_shard(path, [_KEY]) for path in self.shards()] + [
            _read_tail(p).select(_KEY) for p in self.tails()
        ]
        return pl.concat([SCHEMA.to_frame().select(_KEY), *parts])[_KEY].unique()

    def rows(self) -> pl.DataFrame:
        """Everything, one row a key, sorted by key."""
        parts = [_read_shard(path) for path in self.shards()] + [_read_tail(path) for path in self.tails()]
        return _first(pl.concat([SCHEMA.to_frame(), *parts])).sort(_KEY)

    def seconds_each(self) -> float | None:
        """Median seconds of the answers in the newest file; None where no answer has any."""
        files = [*self.shards(), *self.tails()]
        if not files:
            return None
        newest = max(files, key=lambda path: path.stat().st_mtime_ns)
        rows = _read_tail(newest) if newest.suffix == ".arrow" else _read_shard(newest, ["seconds"])
        median = rows["seconds"].median()
        return None if median is None else float(median)  # type: ignore[arg-type]

    def compact(self) -> tuple[int, int]:
        """Gather small shards and idle tails into full shards, and write the index.

        Returns:
            Number of files before and after, without the index.

        Raises:
            TableError: a shard is damaged, or another process compacts this ledger.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with locked(self.folder / "compact.lock", timeout=0.5):
                return self._compact()
        except Timeout:
            raise TableError(f"{self.folder}: expected no other compaction, but one is under way") from None

    def _compact(self) -> tuple[int, int]:
        before = len(self.shards()) + len(self.tails())
        for path in self.tails():
            self._gather(path)
        # of each key its hash, which takes a sixth of its memory; of two that differ it is the same once in 2^64, and
        # their shards are then written again
        shards = [(path, _read_shard(path, [_KEY])[_KEY].hash()) for path in self.shards()]
        every = pl.concat([SCHEMA.to_frame()[_KEY].hash(), *(keys for _, keys in shards)])
        twice = every.filter(every.is_duplicated()).unique()
        small = [path for path, keys in shards if len(keys) < FULL or keys.is_in(twice.implode()).any()]
        if len(small) > 1:
            kept = self._to_shards(pl.concat([_read_shard(path) for path in small]))
            for path in set(small) - kept:
                path.unlink(missing_ok=True)
        self._write_index()
        return before, len(self.shards()) + len(self.tails())

    def _gather(self, tail: Path) -> None:
        """Turn a tail into shards, unless a process still appends to it."""
        lock = _lock_of(tail)
        try:
            with locked(lock, timeout=0):
                self._to_shards(_read_tail(tail))
                tail.unlink(missing_ok=True)
                lock.unlink(missing_ok=True)
        except Timeout:
            pass

    def _write_index(self) -> None:
        shards, temporary = self.shards(), self.folder / f".tmp-{uuid.uuid4().hex}"
        none = pl.LazyFrame(schema={_KEY: pl.String(), _SHARD: pl.String()})
        index = (_scan(shards) if shards else none).select(_KEY, pl.col(_SHARD).cast(pl.Categorical))
        index.sink_parquet(temporary, compression="zstd", statistics=False)
        temporary.replace(self.folder / _INDEX)

    def verify(self) -> list[LedgerProblem]:
        """What is wrong with the files: damaged, renamed, of another schema, keys with two answers, too many files."""
        problems, parts = [], [SCHEMA.to_frame().with_columns(file=pl.lit(""))]
        for path in self.shards():
            try:
                if hash_file(path)[:32] != path.stem:
                    raise TableError(
                        "expected the content that its name is the hash of, got other content; remove the file, and "
                        "run the stage read: what it held is asked again"
                    )
                parts.append(_read_shard(path).with_columns(file=pl.lit(path.name)))
            except TableError as error:
                problems.append(LedgerProblem(path.name, str(error)))
        parts += [_read_tail(path).with_columns(file=pl.lit(path.name)) for path in self.tails()]
        every = pl.concat(parts)
        said = pl.struct(pl.exclude(_KEY, "file", *_OF_THE_RUN))
        twice = every.filter(pl.col(_KEY).is_duplicated())
        differ = twice.group_by(_KEY).agg(said.n_unique().alias("answers"), pl.col("file").first())
        problems += [
            LedgerProblem(
                file,
                f"{key}: expected one answer, got {n} that differ: the reader depends on more than its request. The "
                "one that was asked for first counts",
            )
            for key, n, file in differ.filter(pl.col("answers") > 1).sort(_KEY).rows()
        ]
        indexed = self._read_index().cast({"shard": pl.String}).join(every, on=_KEY, how="anti")
        there = {path.name for path in self.shards()}
        lost = indexed.filter(~pl.col("shard").is_in(list(there))).height
        if lost:
            problems.append(
                LedgerProblem(
                    _INDEX,
                    f"{lost} answers that it lists are in no file: the shards that held them are gone. Put them back, "
                    "or list what is there with `its ledger compact`; the stage read asks the rest again",
                )
            )
        files, most = len(self.shards()) + len(self.tails()), max(1, math.ceil(every[_KEY].n_unique() / FULL))
        if (self.folder / _INDEX).exists() and not self.tails() and files > most and self._is_compacted():
            problems.append(
                LedgerProblem(
                    ".",
                    f"expected at most {most} files after compaction, got {files}; run `its ledger compact` again",
                )
            )
        return problems

    def _is_compacted(self) -> bool:
        """Whether the index lists exactly the shards that are there."""
        listed = set(self._read_index()["shard"].unique().cast(pl.String).to_list())
        return listed == {path.name for path in self.shards()}


def ledgers(settings: Settings) -> Iterator[tuple[str, str, Ledger]]:
    """(reader, revision, ledger) of every ledger below the output folder, by name."""
    for folder in sorted((settings.output / "ledger").glob("*/*")):
        if folder.is_dir():
            yield folder.parent.name, folder.name, Ledger(folder)


def _first(rows: pl.DataFrame) -> pl.DataFrame:
    """One row a key: the one that was asked first."""
    if not rows[_KEY].is_duplicated().any():
        return rows
    return rows.sort("asked_ns", maintain_order=True).unique(_KEY, keep="first", maintain_order=True)


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _scan(paths: list[Path]) -> pl.LazyFrame:
    """Rows of some shards, at least one, and in ``shard`` the file's name."""
    name = pl.col(_SHARD).str.split("/").list.last()
    return pl.scan_parquet(paths, include_file_paths=_SHARD, glob=False).with_columns(name)


def _read_shards(paths: list[Path], wanted: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Some columns, perhaps ``shard`` among them, of the rows with a wanted key."""
    if not paths:
        return pl.DataFrame(schema=SCHEMA | {_SHARD: pl.String()}).select(columns)
    try:
        found = _scan(paths).select(list(dict.fromkeys([_KEY, *columns]))).join(wanted.lazy(), on=_KEY, how="semi")
        return found.select(columns).collect(engine="streaming")
    except FileNotFoundError:
        raise
    except (pl.exceptions.PolarsError, OSError):
        for path in paths:
            _read_shard(path)  # names the damaged one
        raise


def _read_shard(path: Path, columns: list[str] | None = None) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, columns=columns or list(SCHEMA)).cast(
            {name: SCHEMA[name] for name in columns or SCHEMA}
        )
    except FileNotFoundError:
        raise
    except (pl.exceptions.PolarsError, OSError) as error:
        raise TableError(
            f"{path.parent.parent.name}/{path.parent.name}/{path.name}: expected a shard of the ledger, got: {error}; "
            "remove it, and run the stage read: what it held is asked again"
        ) from None


def _read_tail(path: Path) -> pl.DataFrame:
    """The batches of a tail, up to one that was torn."""
    try:
        data = memoryview(path.read_bytes())
    except FileNotFoundError:
        return SCHEMA.to_frame()
    batches, at = [], 0
    while at + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, at)
        body = data[at + _HEAD.size : at + _HEAD.size + length]
        if len(body) < length or zlib.crc32(body) != checksum:
            break  # torn: its process was killed
        batches.append(pa.ipc.read_record_batch(pa.py_buffer(body), _arrow()))
        at += _HEAD.size + length
    return _frame(batches)


def _frame(batches: Sequence[pa.RecordBatch]) -> pl.DataFrame:
    """Batches as one frame, in their order."""
    frame = pl.from_arrow(pa.Table.from_batches(batches, _arrow()))
    assert isinstance(frame, pl.DataFrame)
    return frame.cast(dict(SCHEMA))  # type: ignore[arg-type]
