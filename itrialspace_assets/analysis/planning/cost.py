"""What a case costs in hours of a GPU or of a processor: from what was measured in this root, else as stated."""

from dataclasses import dataclass

from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.journal import mean_seconds
from itrialspace_assets.readers.ledger import ledgers
from itrialspace_assets.readers.registry import entries_of
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.synthesis.renderers import RENDERERS, enabled

_HOUR = 3600


@dataclass(frozen=True)
class CostPart:
    """One kind of work: seconds a case (None: not known), on a GPU or a processor, and where the number is from."""

    what: str
    seconds: float | None
    gpu: bool
    origin: str


@dataclass(frozen=True)
class Cost:
    """Work of a case."""

    parts: tuple[CostPart, ...]

    def hours(self, cases: int, gpu: bool) -> float | None:
        """Hours of one GPU or one process for so many cases; None where a part of it is not known."""
        seconds = [part.seconds for part in self.parts if part.gpu == gpu]
        if any(s is None for s in seconds):
            return None
        return sum(s for s in seconds if s is not None) * cases / _HOUR


def cost_of(
    settings: Settings, study: Study, readers: list[str], pictures: float, a_ct: float | None, an_answer: float | None
) -> Cost:
    """Rendering by each renderer that the study is about, and reading by each reader.

    Args:
        settings: where journals and the ledger lie; which renderers are enabled, for a study that names none.
        study: tasks and conditions that are asked, and sources.
        readers: names of those who are asked.
        pictures: slices of a case, with and without a nodule.
        a_ct: seconds that rendering a case takes, where it was not measured.
        an_answer: seconds of an answer, where it was not measured.
    """
    parts, known = [], entries_of(settings)
    of = study.populations.sources
    sources = enabled(settings) if of == "all" else [RENDERERS[name] for name in of if name in RENDERERS]
    for renderer in sources:
        measured = _a_case(settings, renderer.name)
        origin = "measured here" if measured is not None else "as stated" if a_ct is not None else "not known"
        parts.append(
            CostPart(
                f"render with {renderer.name}",
                a_ct if measured is None else measured,
                renderer.location == "gpu",
                origin,
            )
        )
    tasks = {study.primary.task, *(s.task for s in study.secondary)} - {"detection"}
    conditions = {study.primary.condition, *(c for s in study.secondary for c in s.conditions)}
    requests = pictures * len(tasks) * len(conditions) * max(1, len(sources))
    each = {reader: ledger.seconds_each() for reader, _, ledger in ledgers(settings)}
    for name in readers:
        seconds = each.get(name)
        origin = "measured here" if seconds is not None else "as stated" if an_answer is not None else "not known"
        seconds = an_answer if seconds is None else seconds
        gpu = name in known and known[name].location == "gpu"
        what = f"{requests:g} answers of {name}"
        parts.append(CostPart(what, None if seconds is None else seconds * requests, gpu, origin))
    return Cost(tuple(parts))


def _a_case(settings: Settings, renderer: str) -> float | None:
    """Mean seconds that a case of a renderer took, its lesion-free twin included where it was made with it."""
    if renderer == REAL:
        return None
    return mean_seconds(settings, f"{renderer}/synthetic_cts")[0]
