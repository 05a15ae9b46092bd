"""What a release is, in words and from the tables: for its Croissant and RO-Crate metadata. Writes nothing."""

from dataclasses import dataclass

from itrialspace_assets.analysis.evidence.extractors import EXTRACTORS
from itrialspace_assets.analysis.evidence.gather import STUDY, Evidence, gather
from itrialspace_assets.analysis.evidence.small_cells import shareable
from itrialspace_assets.analysis.frozen import locks
from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.base.settings import Settings

#: Terms of procedural releases: their data are made by this software alone.
APACHE = "https://spdx.org/licenses/Apache-2.0"


@dataclass(frozen=True)
class ReleaseDescription:
    """A release.

    Attributes:
        name: short.
        description: what it holds, in sentences.
        date: when the last list of its split was frozen (UTC, ISO 8601); the only time that metadata hold.
        licences: a URL or terms in words, one a source.
        evidence: what the tables hold.
    """

    name: str
    description: str
    date: str
    licences: tuple[str, ...]
    evidence: Evidence

    def told(self, name: str) -> str | None:
        """The value of an extractor; None: nothing was found."""
        found = EXTRACTORS[name](self.evidence)
        return None if found is None else found.value


def describe(settings: Settings) -> ReleaseDescription | None:
    """What the release of the present tables is; None where no list is frozen: there is no time to date it by."""
    frozen = locks(settings, settings.split).values()
    if not frozen:
        return None
    evidence = shareable(gather(settings, load_study(settings), STUDY))
    procedural = settings.anatomy == "procedural"
    kind = "Procedural anatomy (drawn, no people)" if procedural else "Anatomy of real people"
    sources = ", ".join(sorted(evidence.cts["source"].unique()))
    return ReleaseDescription(
        name=f"itrialspace_{settings.split}",
        description=(
            f"Virtual lesion trials in lung CT: {evidence.cases.height} planned cases in {len(evidence.scope.modes)} "
            f"trials, rendered by {sources or 'no renderer'}. {kind}. Manifests, masks with audits, CTs, slices with "
            f"their truth, and frozen lists of the split {settings.split}. No clinical result."
        ),
        date=max(lock.created_at for lock in frozen),
        licences=(APACHE,) if procedural else _terms(evidence),
        evidence=evidence,
    )


def _terms(evidence: Evidence) -> tuple[str, ...]:
    """Terms of each dataset that took part."""
    return tuple(
        f"{t.dataset}: {t.licence} ({t.source}); {'may' if t.redistributable else 'must not'} be passed on"
        for t in evidence.terms
    )
