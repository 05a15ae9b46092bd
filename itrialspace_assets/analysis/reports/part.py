"""What one question adds to a report: rows of ``metrics`` and the sections that show them."""

from dataclasses import dataclass, field

from itrialspace_assets.analysis.reports.document import Section
from itrialspace_assets.analysis.scoring.rows import MetricRow


@dataclass(frozen=True)
class Part:
    """Rows of ``metrics`` and sections of a report; either may be empty."""

    rows: list[MetricRow] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
