"""Cards of readers and renderers: what each is, and how it behaved in the tables of a report.

A card says what is known and why a field is empty. Scores no answer.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from itrialspace_assets.analysis.evidence.gather import Evidence
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment
from itrialspace_assets.readers.registry import entries_of, make
from itrialspace_assets.synthesis.renderers import RENDERERS

#: Least equal answers that are called constant (ours): one answer is always like itself.
_LEAST_CONSTANT = 2


@dataclass(frozen=True)
class Share:
    """k of n."""

    k: int
    n: int


@dataclass(frozen=True)
class ReaderCard:
    """A reader.

    Attributes:
        name: in ``readers.yaml`` and the tables.
        kind: code that reads; None: the entry is gone, only its answers are left.
        revisions: hashes of code, options and weights under which its requests were kept.
        weights: hash of the files of its weights; None: see ``weights_note``.
        weights_note: why there is no hash.
        prompts: id and hash of the words, as asked.
        parsers: scorers, with their versions.
        trained_on: what its weights have seen, as its entry states.
        licence: as its entry or kind states.
        profile: preprocess profiles of the pictures that it was shown.
        z_offsets: which slices it was shown at once.
        conditions: guidance it was asked under.
        controls: controls it was asked under.
        answered: requests on the pictures themselves with an answer, of those it could do.
        refused: the same, refused.
        unparsed: the same, with text that gave no answer.
        failed: the same, that ended in an error.
        constant: tasks in which it gave the same answer to everything, with that answer.
    """

    name: str
    kind: str | None
    revisions: tuple[str, ...]
    weights: str | None
    weights_note: str
    prompts: tuple[str, ...]
    parsers: tuple[str, ...]
    trained_on: str
    licence: str
    profile: tuple[str, ...]
    z_offsets: tuple[str, ...]
    conditions: tuple[str, ...]
    controls: tuple[str, ...]
    answered: Share
    refused: Share
    unparsed: Share
    failed: Share
    constant: tuple[str, ...]


@dataclass(frozen=True)
class RendererCard:
    """A renderer.

    Attributes:
        name: source of its images.
        learned: it is a network with weights.
        version: of its code.
        weights: hashes of its weights, as its images state them.
        trained_on: what its networks saw.
        acquisitions: of its images.
        images: images with lesions, and lesion-free ones.
        paired: images that differ from their lesion-free twin at the lesion alone.
        difference_hu: median over images of the difference to the twin beyond the lesion.
        overlap: least share of the HU histogram of lungs that a twin has in common with its host's real CT.
        overlap_note: why there is none.
        rejected: reasons for which its images were rejected.
    """

    name: str
    learned: bool | None
    version: str
    weights: tuple[str, ...]
    trained_on: tuple[str, ...]
    acquisitions: tuple[str, ...]
    images: tuple[int, int]
    paired: Share
    difference_hu: float | None
    overlap: float | None
    overlap_note: str
    rejected: tuple[str, ...]


def reader_cards(settings: Settings, evidence: Evidence) -> list[ReaderCard]:
    """A card of each reader that answered, by name."""
    known, place = entries_of(settings), ReaderEnvironment.of(settings)
    names = evidence.answers["reader"].unique().sort()
    return [_reader(name, known.get(name), place, evidence) for name in names]


def _reader(name: str, entry: ReaderEntry | None, place: ReaderEnvironment, evidence: Evidence) -> ReaderCard:
    answers = evidence.answers.filter(pl.col("reader") == name)
    asked = evidence.asked.filter(pl.col("reader") == name)
    own = answers.filter(pl.col("control") == "none", pl.col("status") != "unsupported")
    n = int(own["n"].sum())
    k = dict(own.group_by("status").agg(pl.col("n").sum()).iter_rows())
    weights, note = None, "its entry is in no readers.yaml that is in force"
    trained_on = licence = "not stated"
    if entry is not None:
        reader = make(entry, place)
        trained_on, licence = reader.trained_on, reader.licence
        try:
            weights = reader.files()
            note = "it has no weights of its own"
        except ConfigError:
            note = "its weights are not on this machine"
    scorers = answers.select("scorer", "scorer_version").unique().sort("scorer", "scorer_version")
    return ReaderCard(
        name=name,
        kind=entry.kind if entry else None,
        revisions=_distinct(asked, "reader_revision"),
        weights=weights,
        weights_note="" if weights else note,
        prompts=tuple(_prompts(asked)),
        parsers=tuple(f"{scorer} version {version}" for scorer, version in scorers.iter_rows()),
        trained_on=trained_on,
        licence=licence,
        profile=_distinct(asked, "profile"),
        z_offsets=_distinct(asked, "z_offsets"),
        conditions=_distinct(answers, "condition"),
        controls=_distinct(answers.filter(pl.col("control") != "none"), "control"),
        answered=Share(k.get("ok", 0), n),
        refused=Share(k.get("refused", 0), n),
        unparsed=Share(k.get("unparsed", 0), n),
        failed=Share(k.get("error", 0), n),
        constant=tuple(_constant(own)),
    )


def _distinct(frame: pl.DataFrame, column: str) -> tuple[str, ...]:
    return tuple(frame[column].drop_nulls().unique().sort())


def _prompts(asked: pl.DataFrame) -> Iterator[str]:
    for prompt, sha in asked.select("prompt_id", "prompt_sha256").unique().sort("prompt_id").iter_rows():
        yield f"{prompt} ({sha[:12]}…)" if sha else f"{prompt} (no words)"


def _constant(own: pl.DataFrame) -> Iterator[str]:
    given = own.filter(pl.col("status") == "ok")
    found = (
        given.group_by("source", "task")
        .agg(pl.col("answer").n_unique().alias("answers"), pl.col("answer").first(), pl.col("n").sum())
        .filter(pl.col("answers") == 1, pl.col("n") >= _LEAST_CONSTANT)
        .sort("source", "task")
    )
    for row in found.iter_rows(named=True):
        yield f"{row['task']} on {row['source']}: always {row['answer']} ({row['n']:,} answers)"


def renderer_cards(evidence: Evidence) -> list[RendererCard]:
    """A card of each renderer that made images, by name."""
    return [_renderer(name, evidence) for name in evidence.cts["source"].unique().sort()]


def _renderer(name: str, evidence: Evidence) -> RendererCard:
    rows = evidence.cts.filter(pl.col("source") == name)
    lesions = rows.filter(~pl.col("is_lesion_free"))
    judged = lesions["paired"].drop_nulls()
    overlaps = evidence.overlaps.filter(pl.col("source") == name)["lung"].drop_nulls()
    known = RENDERERS.get(name)
    why = evidence.rejected.filter(pl.col("stage") == "synthesise").group_by("reason").agg(pl.len()).sort("reason")
    return RendererCard(
        name=name,
        learned=known.has_weights if known else None,
        version=known.version if known else "not part of this installation",
        weights=_distinct(rows, "weights_sha256"),
        trained_on=_distinct(rows, "trained_on"),
        acquisitions=_distinct(rows, "acquisition"),
        images=(lesions.height, rows["twin_uid"].n_unique()),
        paired=Share(int(judged.sum()), judged.len()),
        difference_hu=_median(lesions["twin_difference_hu"]),
        overlap=None if overlaps.len() == 0 else float(overlaps.min()),  # type: ignore[arg-type]
        overlap_note=_why_none(evidence) if overlaps.len() == 0 else "",
        rejected=tuple(f"{reason} {n}" for reason, n in why.iter_rows()),
    )


def _why_none(evidence: Evidence) -> str:
    """Why no rendered CT was compared with the real one of its host."""
    if evidence.anatomy == "procedural":
        return "procedural hosts have no real CT"
    return "not measured yet, or no host has a real CT"


def _median(values: pl.Series) -> float | None:
    found = values.drop_nulls().median()
    return None if found is None else float(found)  # type: ignore[arg-type]
