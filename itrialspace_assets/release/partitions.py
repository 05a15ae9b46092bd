"""What a release says of each partition that its reports come from: which tables and files it is, and what it was made
from. ``its import-release --use`` takes partitions by it (``release.take``). Copies nothing.

    partitions.json   {"anatomy": …, "partitions": [{"label": "inserted_masks|m01_…/LUNGx", "files": {…}, …}]}

Tables lie in the release as they lie in an output folder. A file of the store lies under its published name, which
``SHA256SUMS`` gives by its hash, or else under its own.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.settings import PROCEDURAL_MARK, Settings
from itrialspace_assets.base.validation import StrictModel, explain
from itrialspace_assets.casework.steps import read_record
from itrialspace_assets.records.store import file_digests, table_path
from itrialspace_assets.release.lineage import BuiltPartition

NAME = "partitions.json"
#: Layout of the file; another one is refused.
FORMAT = 1
#: Part of a release by asset: its last word, without a reader's name.
PARTS: Mapping[str, str] = {
    "profiles": "profiles",
    "hosts": "hosts",
    "procedural_donors": "hosts",
    "nodule_index": "index",
    "cohort_manifests": "manifests",
    "inserted_masks": "inserted_masks",
    "synthetic_cts": "generated_cts",
    "eval_slices": "slices",
    "predictions": "results",
    "evaluation_splits": "splits",
    "fidelity": "fidelity",
}
#: Parts that others must agree with: what is made from them is used with them alone.
BINDING = ("manifests", "inserted_masks", "generated_cts", "slices")
#: Assets whose rejected cases stand under the name of their stage.
_STAGE = {"inserted_masks": "insert"}


class Published(StrictModel):
    """A partition of a release.

    Attributes:
        label: asset and partition, ``inserted_masks|m01_controlled_prevalence/LUNGx``.
        code_version: of its step.
        data_version: hash of its files and contracts.
        contracts: contract of each table.
        tables: rows of each table.
        files: each of its files, by its path below an output folder -> SHA-256.
        beside: more files that belong to it: its rejected cases, the lock of a split.
        reads: label of each partition that it was made from -> version; not of the data root: its versions hold times.
        cases: cases, rows or requests that it holds.
        rejected: cases that it rejected.
        note: what it says of itself.
    """

    label: str
    code_version: str
    data_version: str
    contracts: dict[str, str]
    tables: dict[str, int]
    files: dict[str, str]
    beside: dict[str, str]
    reads: dict[str, str]
    cases: int
    rejected: int
    note: str

    @property
    def part(self) -> str | None:
        return part_of(self.label)

    @property
    def bound(self) -> dict[str, str]:
        """Of ``reads``, what it must agree with."""
        return {of: version for of, version in self.reads.items() if part_of(of) in BINDING}

    @property
    def stated_version(self) -> str:
        """The data version that its files and contracts give."""
        return digest([self.files, self.contracts], 32)


class ReleasedPartitions(StrictModel):
    """The file ``partitions.json``."""

    format: Literal[1]
    anatomy: Literal["real", "procedural"]
    partitions: list[Published]


def read_partitions(root: Path) -> ReleasedPartitions | None:
    """What a release says of its partitions; None: nothing, as the original's.

    Raises:
        ConfigError: the file is not what it should be.
    """
    path = root / NAME
    if not path.exists():
        return None
    try:
        return ReleasedPartitions.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain(error, ReleasedPartitions)}") from None


def anatomy_of(root: Path) -> Literal["real", "procedural"]:
    """Whose anatomy a release holds; real people's where it says nothing.

    Raises:
        ConfigError: its ``partitions.json`` is not what it should be.
    """
    content = read_partitions(root)
    if content is not None:
        return content.anatomy
    return "procedural" if (root / PROCEDURAL_MARK).exists() else "real"


def part_of(label: str) -> str | None:
    """Part of a release that a partition belongs to; None: of no part."""
    words = label.partition("|")[0].split("/")
    return PARTS.get(words[1] if len(words) > 1 else words[0])


def published_partitions(settings: Settings, made: Mapping[str, BuiltPartition]) -> ReleasedPartitions:
    """Every partition of a part that the reports come from.

    Args:
        settings: where records and tables lie.
        made: what the reports come from, by label.
    """
    return ReleasedPartitions(
        format=FORMAT,
        anatomy=settings.anatomy,
        partitions=[_published(settings, label) for label in made if part_of(label)],
    )


def _published(settings: Settings, label: str) -> Published:
    record = read_record(settings, label)
    assert record is not None, f"{label}: followed by its record"
    name, _, partition = label.partition("|")
    beside = [table_path(settings.output, "rejected_cases", stage=_STAGE.get(name, name), partition=partition)]
    if part_of(label) == "splits":
        folder = settings.output / "splits"
        beside += sorted(p for p in folder.glob(f"{settings.split}.*") if not p.name.startswith("."))
        beside.append(folder / settings.split / "lock.json")
    return Published(
        label=label,
        code_version=record["code_version"],
        data_version=record["data_version"],
        contracts=record["contracts"],
        tables=record["tables"],
        files=record["files"],
        beside=file_digests(settings.output, [p for p in beside if p.exists()]),
        reads={of: version for of, version in record["reads"].items() if not of.startswith("raw/")},
        cases=record["computed"] + record["reused"],
        rejected=record["rejected"],
        note=record["note"],
    )


def files_of(partitions: ReleasedPartitions, published: Mapping[str, str]) -> dict[str, str]:
    """Files that a release needs beside the published layout, by path -> SHA-256.

    Args:
        partitions: of the release.
        published: the files of the published layout; one with the same content under another name serves.
    """
    known = set(published.values())
    found: dict[str, str] = {}
    for partition in partitions.partitions:
        for path, sha in (partition.files | partition.beside).items():
            if path not in published and (sha not in known or not path.startswith("store/")):
                found[path] = sha
    return found
