"""What a number is to a study: the one it is decided by, one that was planned, or one that nobody asked for."""

from dataclasses import dataclass
from typing import Literal

from itrialspace_assets.analysis.protocol.lock import LockState
from itrialspace_assets.analysis.protocol.model import Populations, Study
from itrialspace_assets.analysis.protocol.names import DROPPED
from itrialspace_assets.records.layout import REAL

Standing = Literal["primary", "planned", "exploratory"]


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """What a number is of. What is None is not told: it then fits whatever the study says.

    Attributes:
        task: what readers were asked.
        metric: name in the table ``metrics``.
        condition: guidance on the slices.
        stratum: ``all``, or factor=level.
        analysis: the mode, or real-<dataset>.
        source: image source.
        reader: whose answers.
        against: of a difference between readers, the other reader.
    """

    task: str
    metric: str
    condition: str
    stratum: str = "all"
    analysis: str | None = None
    source: str | None = None
    reader: str | None = None
    against: str | None = None


def standing_of(study: Study, asked: Quantity, state: LockState | None = None) -> Standing:
    """What a number is to a study.

    Primary: the primary endpoint over all slices, of the mode, source and reader that it names (of every one of the
    study's populations where it names none). Planned: a secondary endpoint, the primary one under what else the study's
    populations hold, or the analysis without refusals that the study declares. Everything else is exploratory, and so
    is everything where the study was not locked before answers were read or was edited since.

    Args:
        study: what was declared.
        asked: what the number is of.
        state: of the study's lock; None: judged by the study alone.
    """
    if (state is not None and state.exploratory) or not _inside(study.populations, asked):
        return "exploratory"
    metric = asked.metric
    if "refusals_dropped" in study.sensitivity and metric.endswith(DROPPED):
        metric = metric.removesuffix(DROPPED)
    first = study.primary
    if (asked.task, metric, asked.condition, asked.stratum) == (first.task, first.metric, first.condition, "all"):
        decides = (
            metric == asked.metric
            and asked.against == first.against
            and asked.analysis in (None, first.mode or asked.analysis)
            and asked.source in (None, first.source or asked.source)
            and asked.reader in (None, first.reader or asked.reader)
        )
        if decides:
            return "primary"
        if asked.against is None or "readers" in study.tests.families:
            return "planned"
    factor = asked.stratum.partition("=")[0]
    for planned in study.secondary:
        named = asked.task == planned.task and metric in planned.metrics and asked.condition in planned.conditions
        if named and factor in planned.strata and (asked.against is None or "readers" in study.tests.families):
            return "planned"
    return "exploratory"


def comparison_standing(study: Study, compared: Literal["reader", "condition"], state: LockState | None) -> Standing:
    """What a table of comparisons in the primary metric is to a study.

    Args:
        study: what was declared.
        compared: what differs between the two sides.
        state: of the study's lock; None: judged by the study alone.
    """
    if state is not None and state.exploratory:
        return "exploratory"
    return "planned" if f"{compared}s" in study.tests.families else "exploratory"


def _inside(of: Populations, asked: Quantity) -> bool:
    """Whether a number is of the study's modes or datasets, sources and readers."""
    if asked.analysis is not None and asked.analysis.startswith(f"{REAL}-"):
        inside = of.datasets == "all" or asked.analysis.removeprefix(f"{REAL}-") in of.datasets
    else:
        inside = asked.analysis is None or of.modes == "all" or asked.analysis in of.modes
    readers = [r for r in (asked.reader, asked.against) if r is not None]
    return (
        inside
        and (asked.source is None or of.sources == "all" or asked.source in of.sources)
        and (of.readers == "all" or all(reader in of.readers for reader in readers))
    )
