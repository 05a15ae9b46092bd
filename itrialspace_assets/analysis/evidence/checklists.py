"""Reporting checklists: items as data (``checklists/*.yaml``), each looked up in the tables or named as blank.

Forms answers; which tables hold a value is said in ``extractors``, how a report shows answers in ``sections``.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from itrialspace_assets.analysis.evidence.gather import Evidence
from itrialspace_assets.analysis.evidence.sought import Sought
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.base.yaml_files import read_yaml

_FOLDER = Path(__file__).parent / "checklists"
#: The checklists that every report holds (docs/facts/reporting.md#checklists).
NAMES = ("claim_2024", "stard_ai")
ItemStatus = Literal["found", "blank", "not applicable"]


class ChecklistItem(Sought):
    """An item: what it asks, and where its answer comes from, or why it does not apply."""

    number: str
    section: str
    not_applicable: str | None = None

    @model_validator(mode="after")
    def _has_an_answer(self) -> Self:
        if (self.value is None and self.author is None) == (self.not_applicable is None):
            raise ValueError("expected value, author or both; or not_applicable alone")
        return self


class Checklist(StrictModel):
    """A published checklist."""

    checklist: str
    title: str
    citation: str
    doi: str
    items: tuple[ChecklistItem, ...] = Field(min_length=1)


@dataclass(frozen=True)
class ItemAnswer:
    """What a report says to an item; a blank one names what its authors must say."""

    item: ChecklistItem
    status: ItemStatus
    value: str
    place: str


@lru_cache(maxsize=4)
def load_checklist(name: str) -> Checklist:
    """A checklist that comes with the platform, by the name of its file."""
    return Checklist.model_validate(read_yaml(_FOLDER / f"{name}.yaml"))


def answered(checklist: Checklist, evidence: Evidence) -> list[ItemAnswer]:
    """An answer to every item, in order."""
    return [_answer(item, evidence) for item in checklist.items]


def _answer(item: ChecklistItem, evidence: Evidence) -> ItemAnswer:
    if item.not_applicable is not None:
        return ItemAnswer(item, "not applicable", item.not_applicable, "")
    found = item.found_in(evidence)
    if found is not None:
        return ItemAnswer(item, "found", found.value, found.place)
    missing = item.author or "no table of this report holds it"
    return ItemAnswer(item, "blank", f"the authors must say: {missing}", "")
