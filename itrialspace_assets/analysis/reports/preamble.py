"""First lines of a report: what its data are, source by source, and which protocol it follows."""

from collections.abc import Sequence

from itrialspace_assets.analysis.frozen import ListKey, locks
from itrialspace_assets.analysis.protocol.study import LockState, Study
from itrialspace_assets.analysis.reports.headline import endpoint_of
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.provenance import mark_of

_CLUSTERS = {"host_person_uid": "host persons", "donor_person_uid": "donor persons"}


def data_lines(settings: Settings, sources: Sequence[str]) -> tuple[str, ...]:
    """What the data are, a line a source.

    Args:
        settings: says whether the anatomy is procedural.
        sources: image sources of the report.
    """
    return tuple(f"{_name(s)}: {mark_of(settings.anatomy, s)}" for s in sources)


def _name(source: str) -> str:
    return "Source real" if source == REAL else f"Source {source}"


def protocol_lines(
    settings: Settings, study: Study, state: LockState, lists: Sequence[tuple[str, str]]
) -> tuple[str, ...]:
    """Study, lock and split.

    Args:
        settings: names the split.
        study: the protocol.
        state: of its lock.
        lists: source and name of each frozen list that the report scores.
    """
    found = locks(settings, settings.split) if lists else {}
    kept = [(source, found.get(ListKey(settings.split, source, name))) for source, name in lists]
    slices = "; ".join(f"{source} {lock.n} slices, list {lock.list_sha256[:12]}" for source, lock in kept if lock)
    clusters = " and ".join(_CLUSTERS[c] for c in study.clusters)
    return (
        state.reason,
        *(f"{line}." for line in state.found),
        f"Split {settings.split}{': ' + slices if slices else ''}.",
        f"Primary endpoint: {endpoint_of(study)}. Clusters: {clusters}; a number from fewer than "
        f"{study.min_clusters} of them is flagged. A refused or missing answer counts as wrong.",
    )
