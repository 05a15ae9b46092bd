"""Planted effects: chances by which a simulated reader answers from the truth of a slice, to test designs and reports.

The truth is looked up in the table ``slices``. No reader under study may do this: what it says of a nodule is not seen
in the picture.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field

from itrialspace_assets.base.validation import WrittenModel
from itrialspace_assets.imaging.anatomy import LobeName, SizeBucket
from itrialspace_assets.records.store import table_files
from itrialspace_assets.records.tables import Condition

_TRUTH = ("slice_uid", "presence", "lobe", "size_bucket", "size_class", "label")


class Planted(WrittenModel):
    """Chance of a right answer to a slice with a nodule: ``sensitivity`` and what size, lobe and condition add to it.

    ``false_alarms`` is the chance of "present" where there is none. Sums below 0 and above 1 are taken as 0 and 1.
    """

    sensitivity: float = Field(0.7, ge=0, le=1)
    false_alarms: float = Field(0.1, ge=0, le=1)
    sizes: dict[SizeBucket, float] = Field(default_factory=dict)
    lobes: dict[LobeName, float] = Field(default_factory=dict)
    conditions: dict[Condition, float] = Field(default_factory=dict)


@dataclass(frozen=True)
class Truth:
    """What is known of a slice; null where it shows no nodule, or where it is not known."""

    slice_uid: str
    presence: str
    lobe: str | None
    size_bucket: str | None
    size_class: str | None
    label: int | None

    def answer(self, task: str) -> str | None:
        """The right answer to a task; None where there is none."""
        if task == "malignancy":
            return None if self.label is None else "malignant" if self.label else "benign"
        return {"presence": self.presence, "lobe": self.lobe, "size": self.size_class}[task]


def truths(output: Path, slice_uids: Collection[str]) -> dict[str, Truth]:
    """The truth of some slices by their ids; those that no table holds are left out.

    Args:
        output: folder of the tables.
        slice_uids: ids.
    """
    left = set(slice_uids)
    found: dict[str, Truth] = {}
    for path in table_files(output, "slices"):
        if not left:
            break
        of_file = _of_file(path, path.stat().st_mtime_ns)
        here = left & of_file.keys()
        found |= {uid: of_file[uid] for uid in here}
        left -= here
    return found


@lru_cache(maxsize=4096)  # more than a study has: a batch must not read every table of the study again
def _of_file(path: Path, changed_ns: int) -> dict[str, Truth]:
    """The truth of the slices of a file, as it was when it was last changed."""
    rows = pl.read_parquet(path, columns=list(_TRUTH)).unique("slice_uid")
    return {uid: Truth(uid, *rest) for uid, *rest in rows.iter_rows()}


def chance(planted: Planted, truth: Truth, condition: str) -> float:
    """Chance of the right answer to a slice.

    Args:
        planted: declared effects.
        truth: of the slice.
        condition: guidance on the slice.
    """
    if truth.presence != "present":
        return 1 - planted.false_alarms
    effects: tuple[tuple[Mapping[Any, float], str | None], ...] = (
        (planted.sizes, truth.size_bucket),
        (planted.lobes, truth.lobe),
        (planted.conditions, condition),
    )
    return min(max(planted.sensitivity + sum(more.get(key, 0.0) for more, key in effects), 0.0), 1.0)
