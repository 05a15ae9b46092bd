"""The credibility page, after FDA's guidance of 2023 and ASME V&V 40: each concept with the evidence in our tables.

The concepts are data (``credibility.yaml``). Says which are without evidence, and that learned models are outside the
guidance; judges no level of risk or credibility.
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
from itrialspace_assets.synthesis.renderers import RENDERERS

ConceptStatus = Literal["found", "gap", "blank"]


class Concept(Sought):
    """A step, category of evidence or credibility factor; ``gap``: what evidence is missing."""

    name: str
    gap: str | None = None

    @model_validator(mode="after")
    def _one_way_out(self) -> Self:
        if self.author is not None and self.gap is not None:
            raise ValueError("expected author or gap, got both")
        return self


class CredibilityPage(StrictModel):
    """The concepts, where they are from, and what they do not cover."""

    sources: tuple[str, ...] = Field(min_length=1)
    limits: tuple[str, ...] = Field(min_length=1)
    steps: tuple[Concept, ...]
    categories: tuple[Concept, ...]
    factors: tuple[Concept, ...]


@dataclass(frozen=True)
class Support:
    """What was found for a concept; a gap or a blank says what is missing."""

    concept: Concept
    status: ConceptStatus
    evidence: str
    place: str


@lru_cache(maxsize=1)
def load_page() -> CredibilityPage:
    """The concepts that come with the platform."""
    return CredibilityPage.model_validate(read_yaml(Path(__file__).with_name("credibility.yaml")))


def supported(concepts: tuple[Concept, ...], evidence: Evidence) -> list[Support]:
    """What was found for each concept, in order."""
    return [_support(concept, evidence) for concept in concepts]


def _support(concept: Concept, evidence: Evidence) -> Support:
    found = concept.found_in(evidence)
    if found is not None:
        return Support(concept, "found", found.value, found.place)
    if concept.author is not None:
        return Support(concept, "blank", f"the authors must say: {concept.author}", "")
    return Support(concept, "gap", concept.gap or "no table of this report holds it", "")


def learned(evidence: Evidence) -> list[str]:
    """Renderers of the report that are learned, to which the guidance does not apply."""
    shown = evidence.cts["source"].unique().sort()
    return [name for name in shown if name in RENDERERS and RENDERERS[name].has_weights]


def risk(steps: list[Support]) -> str:
    """What is known of the risk of the model, which is made of its influence and the consequence of a decision."""
    by = {s.concept.name: s for s in steps}
    parts = (by["model influence"], by["decision consequence"])
    if any(p.status != "found" for p in parts):
        return "not judged: influence and consequence are not both stated"
    return f"influence: {parts[0].evidence}; consequence: {parts[1].evidence}; the level is for the authors to judge"
