"""What an asset partition was last built from: the contract between domain code and Dagster.

A ``Step`` is one asset: its key, its stage, its partition dimensions, the tables it writes and the
inputs that decide whether a partition is up to date. Nothing here runs anything.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from itrialspace_assets.base.errors import TableError
from itrialspace_assets.base.fingerprints import FileHashes, digest, replace_file
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.records.store import file_digests
from itrialspace_assets.records.tables import TABLES

Partition = Mapping[str, str]
#: Named hashes that decide whether a partition is up to date.
Inputs = dict[str, str]


@dataclass(frozen=True)
class Step:
    """One asset of the graph, seen from the domain."""

    key: tuple[str, ...]
    stage: str
    dims: tuple[str, ...]
    version: str
    inputs: Callable[[Settings, Partition], Inputs]
    location: str = "cpu"

    @property
    def name(self) -> str:
        return "/".join(self.key)


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
    files: dict[str, str] = field(default_factory=dict)
    facts: dict[str, float | str] = field(default_factory=dict)  # measured or estimated; metadata alone
    retryable: int = 0  # rejected for a cause that may pass: the partition is not up to date


def partition_name(partition: Partition) -> str:
    """One text for a partition, dimensions in the order mode, dataset; ``all`` without any."""
    return "/".join(partition[d] for d in ("mode", "dataset") if d in partition) or "all"


def input_hash(step: Step, settings: Settings, partition: Partition) -> str:
    """Hash of the step's version and of everything it reads for this partition."""
    return digest([step.name, step.version, dict(partition), step.inputs(settings, partition)])


def _record_path(settings: Settings, step: Step, partition: Partition) -> Path:
    name = partition_name(partition).replace("/", "~")
    return settings.output / "work" / "accepted" / step.name.replace("/", "~") / f"{name}.json"


def _contracts(tables: Iterable[str]) -> dict[str, str]:
    """Contract in force of the tables that a step wrote (every case stage also writes what it put aside)."""
    return {name: TABLES[name].contract for name in (*tables, "rejected_cases") if name in TABLES}


def record(
    settings: Settings, step: Step, partition: Partition, inputs: str, result: Result, files: list[Path]
) -> None:
    """Remember that a partition was built from ``inputs`` and what it wrote."""
    content = asdict(result) | {
        "picture": None,
        "preview": None,
        "facts": None,
        "input_hash": "" if result.retryable else inputs,
    }
    content["contracts"] = _contracts(result.tables)
    content["files"] = result.files | file_digests(settings.output, files)
    replace_file(_record_path(settings, step, partition), json.dumps(content, indent=1, sort_keys=True).encode())


def last_record(settings: Settings, step: Step, partition: Partition) -> dict[str, object] | None:
    """What ``record`` remembered, or None."""
    try:
        content: dict[str, object] = json.loads(_record_path(settings, step, partition).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return content


def is_current(settings: Settings, step: Step, partition: Partition) -> bool:
    """True if the partition was built from its present inputs and its files are intact."""
    content = last_record(settings, step, partition)
    if content is None or content.get("contracts") != _contracts(content["tables"]):  # type: ignore[arg-type]
        return False  # never built, or accepted under another contract: readers would refuse it
    try:
        if content["input_hash"] != input_hash(step, settings, partition):
            return False
    except TableError:  # what it reads is gone or does not fit together: the build says so
        return False
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        return hashes.intact(settings.output, content["files"])  # type: ignore[arg-type]
