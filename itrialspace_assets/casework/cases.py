"""What a case is, what it made, and why one was rejected. Runs nothing and reads no journal."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from itrialspace_assets.base.errors import Reason, TableError
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.casework.rows import Rows
from itrialspace_assets.records.store import write_table


@dataclass(frozen=True)
class Case:
    """A unit of work. Cases of one ``group`` share inputs and run one after another in a worker."""

    uid: str
    input_hash: str
    group: str
    payload: StrictModel  # a frozen model of the stage: what its worker reads
    cost: float = 1.0  # relative to other cases of its stage; shards are balanced by it


def payload_hash(made_by: Sequence[Any], payload: StrictModel) -> str:
    """Input hash of a case: what makes it (versions, options that change its result) and what it reads."""
    return digest([*made_by, payload.model_dump(mode="json")])


@dataclass(frozen=True)
class Output:
    """What a case made: rows by table, and files below the output folder with their SHA-256."""

    rows: dict[str, list[dict[str, Any]]]
    files: dict[str, str] = field(default_factory=dict)
    rejected: list["Rejection"] = field(default_factory=list)  # parts of a case that otherwise went well
    measured: dict[str, float] = field(default_factory=dict)  # what it took; kept in the journal, never in a table


@dataclass(frozen=True)
class Rejection:
    """A case (or one nodule of it, ``nodule_idx`` >= 0) that was rejected, and why."""

    uid: str
    reason: Reason
    detail: str
    nodule_idx: int = -1


@dataclass(frozen=True)
class Collected:
    """All cases of a partition after its shards ran."""

    rows: Rows
    rejected: list[Rejection]
    missing: list[str]
    files: dict[str, str]
    #: How many cases the partition has.
    total: int = 0
    #: Greatest of each measure, and the mean seconds of a case.
    measured: dict[str, float] = field(default_factory=dict, compare=False)
    #: The most memory (MiB) that one process held that ran a case.
    memory_mb: int = field(default=0, compare=False)


#: Rejections that may not occur in another try: they end a run, not a case.
RETRYABLE = (Reason.UNEXPECTED, Reason.WORKER_KILLED, Reason.OUT_OF_MEMORY)


def retryable(made: Collected) -> int:
    """How many cases were rejected for a cause that may pass; their partition is not up to date."""
    return sum(r.reason in RETRYABLE for r in made.rejected)


def require_all(made: Collected, where: str) -> None:
    """Refuse to write a partition while cases are neither done nor rejected.

    Raises:
        TableError: some are missing, for example because a shard was stopped.
    """
    if made.missing:
        raise TableError(
            f"{where}: {len(made.missing)} cases were not finished (first: {made.missing[0]}); run it again"
        )


def write_rejected(settings: Settings, stage: str, partition: str, rejected: Sequence[Rejection]) -> None:
    """Write a partition's file of ``rejected_cases``, also without rows: no file means that the stage has not run.

    Args:
        settings: where tables lie.
        stage: the stage, or the asset's name where a stage has several (``tissue/eval_slices``).
        partition: name of the partition, as ``steps.partition_name`` gives it.
        rejected: its rejected cases and nodules.

    Raises:
        TableError: a row breaks a rule of the table; nothing is written.
    """
    write_table(
        settings.output,
        "rejected_cases",
        [
            {
                "stage": stage,
                "partition": partition,
                "case_uid": r.uid,
                "nodule_idx": r.nodule_idx,
                "reason": r.reason.value,
                "detail": r.detail,
            }
            for r in rejected
        ],
        stage=stage,
        partition=partition,
    )
