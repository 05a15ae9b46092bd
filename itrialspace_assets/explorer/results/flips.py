"""Cases that two readers answer differently: what ``its compare`` computes, for a page."""

from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.reports.comparison import notes_of
from itrialspace_assets.analysis.scoring.comparison import OfSource, compared
from itrialspace_assets.analysis.scoring.sides import pair, read_side
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.records.tables import CONDITIONS, TASKS

_FLIP = ("flip", "source", "mode", "case_uid", "slice_uid", "condition", "truth", "a_answer", "b_answer")


class Flip(StrictModel):
    """A slice that one of the readers answered rightly and the other did not."""

    flip: str
    source: str
    mode: str
    case_uid: str
    slice_uid: str
    condition: str
    truth: str
    a_answer: str | None
    b_answer: str | None
    size_bucket: str | None
    lobe: str | None


class Flips(StrictModel):
    """Two readers on the same slices.

    Attributes:
        a: the first reader.
        b: the second.
        metric: what is compared.
        sources: numbers of both by image source.
        notes: what is not the same on both sides.
        total: flips in all.
        flips: the first of them.
    """

    a: str
    b: str
    metric: str
    sources: tuple[OfSource, ...]
    notes: tuple[str, ...]
    total: int
    flips: tuple[Flip, ...]


def readers_with_answers(settings: Settings) -> tuple[str, ...]:
    """Names of readers that have answers."""
    return tuple(sorted({p.name for p in (settings.output / "tables" / "answers").glob("*/*") if p.is_dir()}))


def flips(settings: Settings, a: str, b: str, task: str, condition: str, limit: int) -> Flips:
    """Compare two readers of one output folder.

    Args:
        settings: output folder, readers and study.
        a: name of the first reader.
        b: name of the second.
        task: what was asked.
        condition: guidance.
        limit: most flips that are listed.

    Raises:
        ConfigError: a reader has no answers, the two are one, or task or condition is not known.
    """
    there = readers_with_answers(settings)
    for name, given, known in (
        ("a", a, there),
        ("b", b, there),
        ("task", task, TASKS),
        ("condition", condition, CONDITIONS),
    ):
        if given not in known:
            raise ConfigError(f"{name}: expected one of {', '.join(known) or 'none'}, got {given!r}")
    if a == b:
        raise ConfigError(f"a and b: expected two readers, got {a} twice")
    study = load_study(settings)
    metric = study.primary.metric if task == study.primary.task else "accuracy"
    first, second = (read_side(settings, name, task, condition) for name in (a, b))
    pairs = pair(first, second)
    found = compared(pairs, first, second, task, metric, study)
    rows = found.flips.select(*_FLIP, "size_bucket", "lobe")
    return Flips(
        a=a,
        b=b,
        metric=found.metric,
        sources=found.sources,
        notes=tuple(notes_of(pairs, first, second)),
        total=rows.height,
        flips=tuple(Flip(**row) for row in rows.head(limit).iter_rows(named=True)),
    )
