"""What a partition was built from: the records by which Dagster and the command line tell what is up to date.

A ``Step`` is one asset seen from the domain. ``record`` remembers what a build read and what it wrote; the hash of
what it wrote is also Dagster's data version. Nothing here runs anything or knows which assets there are.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from itrialspace_assets.base.fingerprints import FileHashes, digest, replace_parts
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.records.store import file_digests
from itrialspace_assets.records.tables import TABLES

Partition = Mapping[str, str]
#: Values of settings that decide what a step makes, by name.
Options = Mapping[str, str]
#: What a build read: label of an upstream partition (``hosts|LUNA16``) -> its version; empty where it is missing.
Reads = dict[str, str]


def no_options(settings: Settings) -> Options:
    """For a step whose result depends on no setting."""
    return {}


@dataclass(frozen=True)
class Step:
    """One asset of the graph, seen from the domain."""

    key: tuple[str, ...]
    stage: str
    dims: tuple[str, ...]
    version: str
    options: Callable[[Settings], Options] = no_options
    location: str = "cpu"

    @property
    def name(self) -> str:
        return "/".join(self.key)

    def code_version(self, settings: Settings) -> str:
        """Version of the code and of the settings that decide the result; Dagster's code version."""
        options = self.options(settings)
        return f"{self.version}-{digest(dict(options), 12)}" if options else self.version


@dataclass(frozen=True)
class Result:
    """What building a partition gave; everything here becomes metadata."""

    tables: dict[str, int] = field(default_factory=dict)
    computed: int = 0
    reused: int = 0
    rejected: int = 0
    note: str = ""
    picture: bytes | None = None
    preview: str = ""
    written: tuple[Path, ...] = ()  # files of tables
    files: dict[str, str] = field(default_factory=dict)  # other files below the output folder -> SHA-256
    facts: dict[str, float | str] = field(default_factory=dict)  # measured or estimated; metadata alone
    worker_memory_mb: int = 0  # the most that one process held that ran cases of it; metadata alone
    retryable: int = 0  # rejected for a cause that may pass: the partition is not up to date


def partition_name(partition: Partition) -> str:
    """One text for a partition, dimensions in the order mode, dataset; ``all`` without any."""
    return "/".join(partition[d] for d in ("mode", "dataset") if d in partition) or "all"


def label(name: str, partition: Partition) -> str:
    """Name of a partition of an asset or source, for example ``hosts|LUNA16``."""
    return f"{name}|{partition_name(partition)}"


def _record_path(settings: Settings, of: str) -> Path:
    name, _, partition = of.partition("|")
    return settings.output / "work" / "accepted" / name.replace("/", "~") / f"{partition.replace('/', '~')}.json"


def contracts_of(tables: Iterable[str]) -> dict[str, str]:
    """Contract in force of the tables that a step wrote (every case stage also writes what it rejected)."""
    return {name: TABLES[name].contract for name in (*tables, "rejected_cases") if name in TABLES}


def record(settings: Settings, step: Step, partition: Partition, reads: Reads, result: Result) -> str:
    """Remember what a partition was built from and what it wrote.

    Args:
        settings: as the partition was built with.
        step: the asset.
        partition: which partition of it.
        reads: versions of what it read, taken before it was built.
        result: what building it gave.

    Returns:
        Hash of what was written: equal files give equal hashes, whatever run wrote them.
    """
    content = _content(result)
    content["contracts"] = contracts_of(result.tables)
    content["files"] = result.files | file_digests(settings.output, result.written)
    content["data_version"] = digest([content["files"], content["contracts"]], 32)
    content["code_version"] = step.code_version(settings)
    content["reads"] = reads
    _write(_record_path(settings, label(step.name, partition)), content)
    return str(content["data_version"])


def _content(result: Result) -> dict[str, Any]:
    """What a record keeps of a result: nothing to look at, and no files of tables, which it lists itself."""
    left_out = ("picture", "preview", "facts", "written", "worker_memory_mb")
    return {f.name: getattr(result, f.name) for f in fields(result) if f.name not in left_out}


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write a record piece by piece: it names every file of a partition, of a long cohort many."""
    pieces = json.JSONEncoder(indent=1, sort_keys=True).iterencode(content)
    replace_parts(path, (piece.encode() for piece in pieces))


def record_released(
    settings: Settings,
    of: str,
    reads: Reads,
    result: Result,
    *,
    bound: Iterable[str],
    contracts: Mapping[str, str],
    code_version: str,
) -> str:
    """Remember that a partition was taken from a release instead of being made.

    It is current as long as its files are intact and nothing that it must agree with is another version
    (``is_current``).

    Args:
        settings: where the records lie.
        of: label of the partition.
        reads: version of each partition that it was made from, there.
        result: what it holds; ``files`` names all of its files, those of tables too.
        bound: labels of those that it must agree with.
        contracts: contract of each of its tables.
        code_version: of the step that made it, as the release says.

    Returns:
        Its data version, as ``record`` gives it for the same files.
    """
    content = _content(result) | {
        "contracts": dict(contracts),
        "code_version": code_version,
        "reads": reads,
        "bound": sorted(bound),
    }
    content["released"] = True
    content["data_version"] = digest([content["files"], content["contracts"]], 32)
    _write(_record_path(settings, of), content)
    return str(content["data_version"])


def last_record(settings: Settings, step: Step, partition: Partition) -> dict[str, Any] | None:
    """What ``record`` remembered.

    Args:
        settings: where the records lie.
        step: the asset.
        partition: which partition of it.

    Returns:
        The record's content; None if the partition was never built, or by a version that recorded no reads.
    """
    return read_record(settings, label(step.name, partition))


def read_record(settings: Settings, of: str) -> dict[str, Any] | None:
    """What ``record`` remembered of a partition, by its label; None as of ``last_record``."""
    try:
        content: dict[str, Any] = json.loads(_record_path(settings, of).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return content if "reads" in content else None  # a record of an earlier version


def data_version(settings: Settings, of: str) -> str:
    """Version of a partition (by its label) as it was last built; empty if it never was."""
    content = read_record(settings, of)
    return str(content["data_version"]) if content else ""


def is_current(settings: Settings, step: Step, partition: Partition, reads: Reads) -> bool:
    """True if a partition was built by this code and these settings from its present inputs, and is intact.

    A partition that was taken from a release is current while it is intact and agrees with what it was made from, as
    far as that is here.

    Args:
        settings: give the code version, and where records and files lie.
        step: the asset.
        partition: which partition of it.
        reads: present version of each partition that it reads.
    """
    content = last_record(settings, step, partition)
    if content is None or content["retryable"]:
        return False
    if content["contracts"] != contracts_of(content["tables"]):
        return False  # accepted under another contract: readers would refuse it
    if content.get("released"):
        if any(reads.get(of, "") not in ("", content["reads"][of]) for of in content["bound"]):
            return False  # what it must agree with is another version
    elif content["code_version"] != step.code_version(settings) or content["reads"] != reads:
        return False
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        return hashes.intact(settings.output, content["files"])


def descends_from(settings: Settings, of: str, origin: str, mode: str) -> bool:
    """True if a partition was made, step by step, from the present version of another of the same mode.

    Args:
        settings: where the records lie.
        of: label of the partition, for example ``tissue/eval_slices|m02_size_detection_curve/LUNA16``.
        origin: label of what it should come from, for example ``cohort_manifests|m02_size_detection_curve``.
        mode: only partitions of this mode are followed.
    """
    content = read_record(settings, of)
    if content is None:
        return False
    of_mode = {k: v for k, v in content["reads"].items() if k.partition("|")[2].split("/")[0] == mode}
    followed = {k: v for k, v in of_mode.items() if read_record(settings, k) is not None or k == origin}
    if not followed or any(data_version(settings, k) != v for k, v in followed.items()):
        return False
    return all(k == origin or descends_from(settings, k, origin, mode) for k in followed)
