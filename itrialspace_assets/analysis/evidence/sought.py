"""What a reporting checklist or a credibility page asks: a value that is looked up in the tables, or its authors' word.

Knows no checklist and no page.
"""

from typing import Annotated

from pydantic import AfterValidator

from itrialspace_assets.analysis.evidence.extractors import EXTRACTORS, FoundValue
from itrialspace_assets.analysis.evidence.gather import Evidence
from itrialspace_assets.base.validation import StrictModel


def _known(name: str) -> str:
    if name not in EXTRACTORS:
        raise ValueError(f"expected one of {', '.join(EXTRACTORS)}")
    return name


class Sought(StrictModel):
    """A question.

    Attributes:
        asks: the question, in our own words.
        value: the extractor that answers it; None: no table can.
        author: what the authors of a study must say.
    """

    asks: str
    value: Annotated[str, AfterValidator(_known)] | None = None
    author: str | None = None

    def found_in(self, evidence: Evidence) -> FoundValue | None:
        """What the tables hold; None where they hold nothing."""
        return EXTRACTORS[self.value](evidence) if self.value is not None else None
