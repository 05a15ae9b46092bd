"""Sections of a report that show checklists, the credibility page, scorecards and cards; tables are folded.

Puts what ``checklists``, ``credibility``, ``scorecard`` and ``cards`` found into documents. Finds nothing itself.
"""

from collections.abc import Sequence

import polars as pl

from itrialspace_assets.analysis.evidence import credibility, scorecard
from itrialspace_assets.analysis.evidence.cards import (
    ReaderCard,
    RendererCard,
    Share,
    reader_cards,
    renderer_cards,
)
from itrialspace_assets.analysis.evidence.checklists import NAMES, Checklist, ItemAnswer, answered, load_checklist
from itrialspace_assets.analysis.evidence.gather import AuthorStatements, Evidence
from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.reports.document import Block, Estimate, Paragraph, Section, Table, Value
from itrialspace_assets.analysis.reports.part import Part
from itrialspace_assets.base.settings import Settings


def stated(study: Study) -> AuthorStatements:
    """What a study file says that no table can tell; what it leaves empty is blank."""
    return AuthorStatements(
        question=study.question or None,
        context_of_use=study.context_of_use or None,
        model_influence=study.model_influence or None,
        decision_consequence=study.decision_consequence or None,
    )


def evidence_part(settings: Settings, evidence: Evidence) -> Part:
    """Everything of this room for one report, without rows of ``metrics``.

    Args:
        settings: which readers there are, and where their weights lie.
        evidence: what the tables hold for the report.
    """
    return Part(
        sections=[
            *scorecard_sections(evidence),
            cards_section(reader_cards(settings, evidence), renderer_cards(evidence)),
            checklist_section(evidence),
            credibility_section(evidence),
        ]
    )


def _cell(words: Sequence[str]) -> str:
    return "; ".join(words) or "none"


def _share(share: Share, note: str = "nothing was counted") -> Estimate:
    return Estimate(share.k / share.n if share.n else None, k=share.k, n=share.n, flag=None if share.n else note)


def checklist_table(checklist: Checklist, answers: Sequence[ItemAnswer]) -> Table:
    """All items of a checklist with their answers."""
    n = {s: sum(a.status == s for a in answers) for s in ("found", "blank", "not applicable")}
    blank = ", ".join(a.item.number for a in answers if a.status == "blank") or "none"
    return Table(
        name=f"checklist_{checklist.checklist}",
        columns=("item", "section", "asks for", "status", "value", "place"),
        rows=tuple((a.item.number, a.item.section, a.item.asks, a.status, a.value, a.place) for a in answers),
        note=(
            f"{checklist.title}: {n['found']} found in the tables, {n['blank']} blank, {n['not applicable']} not "
            f"applicable. Blank: {blank}. The items are in our own short words; cite and read the original: "
            f"{checklist.citation}. doi:{checklist.doi}"
        ),
        folded=True,
    )


def checklist_section(evidence: Evidence) -> Section:
    """Both checklists; blanks are named above the tables."""
    tables = [checklist_table(c, answered(c, evidence)) for c in map(load_checklist, NAMES)]
    about = Paragraph(
        "Items of published checklists with the value that our tables hold and its place. A filled item is no proof "
        "that a study is sound. A blank one is for the authors."
    )
    return Section("Reporting checklists", (about, *tables), "context")


def credibility_section(evidence: Evidence) -> Section:
    """The credibility page: limits first, then steps, categories of evidence and factors."""
    page = credibility.load_page()
    steps = credibility.supported(page.steps, evidence)
    learned = credibility.learned(evidence)
    warning = (
        f"This report holds images of learned renderers ({', '.join(learned)}): the guidance does not cover them. "
        if learned
        else ""
    )
    blocks: list[Block] = [Paragraph(warning + page.limits[0], "warning"), *map(Paragraph, page.limits[1:])]
    tables = (("steps", steps, ""), *((n, credibility.supported(c, evidence), "") for n, c in _parts(page)))
    for name, found, _ in tables:
        rows: list[tuple[Value, ...]] = [(s.concept.name, s.concept.asks, s.status, s.evidence, s.place) for s in found]
        if name == "steps":
            rows.append(("model risk", "influence and consequence together", "", credibility.risk(steps), ""))
        blocks.append(
            Table(
                name=f"credibility_{name}",
                columns=("concept", "asks", "status", "evidence found, or what is missing", "place"),
                rows=tuple(rows),
                folded=True,
            )
        )
    blocks.append(Paragraph(f"Concepts after: {'; '.join(page.sources)}. In our own short words.", "note"))
    return Section("Credibility of the virtual trial", tuple(blocks), "context")


def _parts(page: credibility.CredibilityPage) -> tuple[tuple[str, tuple[credibility.Concept, ...]], ...]:
    return (("categories", page.categories), ("factors", page.factors))


def scorecard_sections(evidence: Evidence) -> list[Section]:
    """The scorecard of a mode; over several modes a line of each; none for reports of real slices alone."""
    modes = evidence.scope.modes
    if len(modes) > 1:
        return [summary_section(evidence)]
    return [scorecard_section(evidence)] if modes else []


def summary_section(evidence: Evidence) -> Section:
    """A line of each mode; its own report holds the scorecard."""
    rows: list[tuple[Value, ...]] = []
    for mode in evidence.scope.modes:
        own = evidence.only(mode)
        planned, none = own.cases.height, "no case was planned"
        asked = int(own.arms["asked_cases"].sum())
        found = scorecard.distances(own)
        far = max((d.value for d in found if d.value is not None), default=None)
        for source in own.stages["source"].unique().sort():
            of = own.stages.filter(pl.col("source") == source)
            rows.append(
                (
                    mode,
                    source,
                    asked,
                    planned,
                    _share(Share(int(own.cases["inserted"].sum()), planned), none),
                    *(_share(Share(int(of[c].sum()), planned), none) for c in ("rendered", "sliced", "answered")),
                    _share(Share(own.rejected["case_uid"].n_unique(), planned), none),
                    Estimate(far, flag=found[0].note if far is None else None),
                )
            )
    columns = ("mode", "source", "asked", "planned", "inserted", "rendered", "sliced", "answered", "rejected")
    table = Table(
        "scorecard_modes",
        (*columns, "greatest distance from real images"),
        tuple(rows),
        "Shares are of planned cases. The report of each mode holds its scorecard: coverage, violations, completeness, "
        "consistency by subgroup, fidelity.",
        folded=True,
    )
    return Section("Data scorecards", (table,), "context")


def scorecard_section(evidence: Evidence) -> Section:
    """The data scorecard of one mode."""
    mode = evidence.scope.modes[0]
    covered = [
        (c.arm, c.by, c.level, c.asked, c.got, c.got - c.asked if c.asked is not None else None, c.note)
        for c in scorecard.coverage(evidence)
    ]
    counted = [(v.what, v.level, _share(Share(v.k, v.n), v.note)) for v in scorecard.violations(evidence)]
    complete: list[tuple[Value, ...]] = [
        (
            c.group,
            c.level,
            c.source,
            c.planned,
            *(_share(Share(k, c.planned)) for k in (c.inserted, c.rendered, c.sliced, c.answered)),
        )
        for c in scorecard.completeness(evidence)
    ]
    consistent = [
        (
            c.by,
            c.level,
            c.n,
            _share(Share(c.lobe_as_asked, c.n)),
            _share(Share(c.size_as_planned, c.n)),
            Estimate(c.diameter_gap_mm, n=c.n, flag=None if c.diameter_gap_mm is not None else "no nodule"),
            Estimate(c.shift_mm, n=c.n, flag=None if c.shift_mm is not None else "no nodule"),
        )
        for c in scorecard.consistency(evidence)
    ]
    distance = [
        (
            d.reference,
            d.compared,
            d.metric,
            Estimate(d.value, n=d.images_compared, flag=d.note or None),
            d.images_reference,
        )
        for d in scorecard.distances(evidence)
    ]
    return Section(
        f"Data scorecard: {mode}",
        (
            Table(
                f"scorecard_coverage_{mode}",
                ("arm", "by", "level", "asked", "planned", "difference", "note"),
                tuple(covered),
                "Cases asked for and planned. Without a quota the level fell as it did.",
                folded=True,
            ),
            Table(
                f"scorecard_violations_{mode}",
                ("of what", "reason or condition", "share"),
                tuple(counted),
                "Rejected cases are not replaced. A relaxation is a constraint that was dropped, each with its record.",
                folded=True,
            ),
            Table(
                f"scorecard_completeness_{mode}",
                ("by", "level", "source", "planned", "inserted", "rendered", "sliced", "answered"),
                tuple(complete),
                "Shares are of planned cases; answered: by every reader of the source, on any of the case's pictures.",
                folded=True,
            ),
            Table(
                f"scorecard_consistency_{mode}",
                ("by", "level", "nodules", "lobe as asked", "size as planned", "diameter gap (mm)", "moved (mm)"),
                tuple(consistent),
                "Medians of the absolute difference to the planned diameter, and of the distance to the asked place.",
                folded=True,
            ),
            Table(
                f"scorecard_fidelity_{mode}",
                ("reference", "compared", "metric", "distance", "images of the reference"),
                tuple(distance),
                "Distances of rendered from real images.",
                folded=True,
            ),
        ),
        "context",
    )


#: Fields of a reader's card, in the order of its table.
_READER_FIELDS = (
    "kind",
    "revision",
    "weights (SHA-256)",
    "prompts",
    "parser",
    "trained on",
    "licence",
    "profile of pictures",
    "slices shown",
    "conditions",
    "controls",
    "answered",
    "refused",
    "unparsed",
    "failed",
    "constant answers",
)
_RENDERER_FIELDS = (
    "learned",
    "version",
    "weights (SHA-256)",
    "trained on",
    "acquisitions",
    "images with lesions",
    "lesion-free images",
    "differ from the twin at the lesion alone",
    "median difference beyond the lesion (HU)",
    "least overlap with the host's CT (lung)",
    "rejected",
)


def _reader_values(card: ReaderCard) -> tuple[Value, ...]:
    return (
        card.kind or "unknown: its entry is gone",
        _cell(card.revisions),
        card.weights or f"none: {card.weights_note}",
        _cell(card.prompts),
        _cell(card.parsers),
        card.trained_on,
        card.licence,
        _cell(card.profile),
        _cell(card.z_offsets),
        _cell(card.conditions),
        _cell(card.controls),
        *(_share(s, "it was asked nothing") for s in (card.answered, card.refused, card.unparsed, card.failed)),
        _cell(card.constant),
    )


def _renderer_values(card: RendererCard) -> tuple[Value, ...]:
    return (
        {True: "yes", False: "no", None: "unknown"}[card.learned],
        card.version,
        _cell(card.weights),
        _cell(card.trained_on),
        _cell(card.acquisitions),
        card.images[0],
        card.images[1],
        _share(card.paired, "no image has a twin to compare with"),
        Estimate(card.difference_hu, flag=None if card.difference_hu is not None else "not measured"),
        Estimate(card.overlap, flag=card.overlap_note or None),
        _cell(card.rejected),
    )


def cards_section(readers: Sequence[ReaderCard], renderers: Sequence[RendererCard]) -> Section:
    """Cards of readers and renderers, a column each."""
    blocks: list[Block] = [Paragraph("What each reader and renderer is, and how it behaved in this report.")]
    of_readers, of_renderers = map(_reader_values, readers), map(_renderer_values, renderers)
    for name, cards, fields, values in (
        ("readers", readers, _READER_FIELDS, tuple(of_readers)),
        ("renderers", renderers, _RENDERER_FIELDS, tuple(of_renderers)),
    ):
        if not cards:
            blocks.append(Paragraph(f"No card of {name}: there are none in this report.", "note"))
            continue
        rows = tuple((field, *(v[i] for v in values)) for i, field in enumerate(fields))
        blocks.append(Table(f"cards_{name}", ("field", *(c.name for c in cards)), rows, folded=True))
    return Section("Cards of readers and renderers", tuple(blocks), "context")
