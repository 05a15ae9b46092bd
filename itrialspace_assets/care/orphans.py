"""Which files of an output folder nothing needs any more. Finds and counts; removes nothing.

Kept whatever happens: the ledger and marks, frozen lists and their pictures, locks, Dagster's history, the data root,
and every file that was changed within the last hour.
"""

import json
import os
import re
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from itrialspace_assets.analysis.frozen import ListKey, list_path, locks
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.journal import journal_dir, lines
from itrialspace_assets.casework.steps import last_record, partition_name
from itrialspace_assets.graph import build_graph
from itrialspace_assets.orchestration.lineage import up_to_date, upstream_partitions
from itrialspace_assets.records.store import table_files
from itrialspace_assets.trials.files import mode_keys

#: Seconds for which a file is left alone: a run may be about to name it. Ours.
YOUNG_S = 3600
#: Folders of the store that orphans are looked for in, and the columns of tables that name their files.
_STORE = {"masks": ("insertions", "mask_path"), "cts": ("cts", "path"), "slices": ("slices", "path")}
#: Folders of the output folder that are never looked into.
_NEVER = ("ledger", "dagster", "splits")
_CASES = ("hosts", "insert", "synthesise", "slice", "read")
_MODE_FOLDER = re.compile(r"(m\d\d|x)_")


@dataclass(frozen=True)
class OrphanKind:
    """Files of one kind that may go. ``freed``: bytes; a file that has another hard link frees none."""

    what: str
    files: tuple[Path, ...]
    freed: int


def find(settings: Settings) -> list[OrphanKind]:
    """Everything that may go, by kind; kinds without a file are listed too.

    Raises:
        TableError: the lock of a split is damaged, so that its pictures are not known.
    """
    journals, named = _journals(settings)
    found = {
        "store/masks, store/cts, store/slices: files that no table names": _orphans(settings, named),
        ".tmp- files of killed runs": list(_temporary(settings)),
        "journals of finished partitions that hold no present case": journals,
        "reports of modes that no longer exist": _reports(settings),
    }
    old = time.time() - YOUNG_S
    data = settings.data.resolve()
    kinds = []
    for what, paths in found.items():
        stats = {path: path.lstat() for path in paths if path.exists() and not path.is_symlink()}
        chosen = {
            path: stat
            for path, stat in stats.items()
            if stat.st_mtime < old and not path.resolve().is_relative_to(data)
        }
        freed = sum(stat.st_size for stat in chosen.values() if stat.st_nlink == 1)
        kinds.append(OrphanKind(what, tuple(sorted(chosen)), freed))
    return kinds


def _orphans(settings: Settings, named: set[str]) -> list[Path]:
    """Files of the store that no table, no record, no line of a journal and no frozen list names."""
    root = settings.output
    for table, column in _STORE.values():
        for path in table_files(root, table):
            named |= set(pl.read_parquet(path.read_bytes(), columns=[column])[column].drop_nulls())
    for path in (root / "work" / "accepted").rglob("*.json"):
        named |= json.loads(path.read_text()).get("files", {}).keys()
    frozen = _frozen(settings)
    images = {Path(name).name.split(".")[0] for name in named if name.startswith("store/cts/")}
    return [
        path
        for name in _STORE
        for path in _walk(root / "store" / name)
        if str(path.relative_to(root)) not in named
        and not path.name.startswith(".")
        and (name != "slices" or path.name.split("_", 1)[0] not in frozen)
        and not (path.suffix == ".json" and path.stem in images)  # how an image was made, for the next mode
    ]


def _frozen(settings: Settings) -> set[str]:
    """Ids of the slices of every frozen list of every split."""
    found = set[str]()
    for folder in (settings.output / "splits").glob("*/"):
        for key in locks(settings, folder.name):
            found |= _listed(settings, key)
    return found


def _listed(settings: Settings, key: ListKey) -> set[str]:
    """Ids of the slices of a list; read without its hash, so that those of an edited list are kept as well."""
    path = list_path(settings, key)
    return set(pl.read_csv(path, columns=["slice_uid"], schema_overrides={"slice_uid": pl.String})["slice_uid"])


def _journals(settings: Settings) -> tuple[list[Path], set[str]]:
    """Journals and shard files that nothing needs, and the files of the store that the other journals name.

    A journal of a finished partition stays as long as one of its lines holds a present case: after a change of one row
    the other cases are taken from it.
    """
    gone, named = list[Path](), set[str]()
    known = set[Path]()
    graph = build_graph(settings)
    for node in graph.nodes:
        stage = node.step.stage
        if stage not in _CASES:
            continue
        for part in upstream_partitions(node.step.dims, {}, graph.keys):
            folder = journal_dir(settings, stage if stage in _CASES[:2] else node.step.name, partition_name(part))
            if not folder.exists() or not up_to_date(graph, node, settings, part):
                continue
            known.add(folder)
            made = (last_record(settings, node.step, part) or {}).get("files", {}).keys()
            gone += folder.glob("*.shard.*json")
            for path in folder.glob("*.jsonl"):
                if stage == "read" or not any(_in_use(line, made) for line in lines(path)):
                    gone.append(path)  # answers are in the ledger
    for path in (settings.output / "work").glob("*/*/*.jsonl"):
        if path.parent not in known:
            named |= {name for line in lines(path) for name in line.get("files", {})}
    return gone, named


def _in_use(line: Mapping[str, Any], made: Collection[str]) -> bool:
    """Whether a line holds a present case: one of its files is the partition's, or it has none to tell by."""
    files = line.get("files")
    return not files or any(name in made for name in files)


def _temporary(settings: Settings) -> Iterator[Path]:
    """Files under temporary names, also those in folders of such names."""
    for path in _walk(settings.output):
        if any(part.startswith(".tmp-") for part in path.relative_to(settings.output).parts):
            yield path


def _reports(settings: Settings) -> list[Path]:
    known = mode_keys(settings)
    folders = [f for f in (settings.output / "reports").glob("*/") if _MODE_FOLDER.match(f.name)]
    return [path for folder in folders if folder.name not in known for path in _walk(folder)]


def _walk(folder: Path) -> Iterator[Path]:
    """Files below a folder, without the folders that are never looked into; links are not followed."""
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _NEVER]
        yield from (Path(where) / name for name in files)
