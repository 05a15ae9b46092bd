"""How far the cases of each trial came, and what was asked of a trial against what it got. Reads tables only."""

from dataclasses import dataclass

import polars as pl

from itrialspace_assets.base.nearest import not_found
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.records.store import read_all, table_files


@dataclass(frozen=True)
class SourceFlow:
    """Cases that came through the stages of one image source."""

    source: str
    rendered: int
    sliced: int
    answered: int


@dataclass(frozen=True)
class TrialFlow:
    """A trial from plan to answer, in cases.

    Attributes:
        mode: its key.
        trial: its name.
        question: what it asks.
        planned: cases of the manifest.
        inserted: those whose nodules were put in.
        sources: what became of them by renderer; answered: a reader gave an answer to at least one picture.
        rejected: cases that a stage rejected as a whole.
        accepted_by_people: cases whose last review accepts them.
        rejected_by_people: cases whose last review rejects them.
    """

    mode: str
    trial: str
    question: str
    planned: int
    inserted: int
    sources: list[SourceFlow]
    rejected: int
    accepted_by_people: int
    rejected_by_people: int


@dataclass(frozen=True)
class ArmFlow:
    """An arm: cases asked and got, nodules' donors and hosts."""

    arm: str
    asked_cases: int | None
    got_cases: int
    malignant: int | None
    donors: int
    host_persons: int
    note: str


@dataclass(frozen=True)
class BalanceLevel:
    """One level of one marginal of an arm: the share asked for and the share got; null: nothing was asked."""

    arm: str
    marginal: str
    level: str
    status: str
    asked_share: float | None
    got_share: float | None
    asked: int | None
    got: int | None
    standardised_difference: float | None


@dataclass(frozen=True)
class TrialTold:
    """A trial: its flow, its arms, its balance."""

    flow: TrialFlow
    arms: list[ArmFlow]
    balance: list[BalanceLevel]


def trials(settings: Settings) -> list[TrialFlow]:
    """Every planned trial, by mode."""
    modes = [path.parent.name for path in table_files(settings.output, "cases")]
    return [_flow(settings, mode) for mode in modes]


def trial(settings: Settings, mode: str) -> TrialTold:
    """One trial.

    Raises:
        NotFound: it is not planned; names near ones.
    """
    modes = [path.parent.name for path in table_files(settings.output, "cases")]
    if mode not in modes:
        raise not_found("mode", mode, modes)
    arms = read_all(settings.output, "arms", mode=mode).sort("number")
    told = [
        ArmFlow(
            r["arm"], r["asked_cases"], r["got_cases"], r["got_malignant"], r["donors"], r["host_persons"], r["note"]
        )
        for r in arms.iter_rows(named=True)
    ]
    order = {arm: number for number, arm in enumerate(arms["arm"])}
    balance = read_all(settings.output, "balance", mode=mode).sort(
        pl.col("arm").replace_strict(order, default=len(order), return_dtype=pl.Int64), "marginal", "level"
    )
    columns = list(BalanceLevel.__dataclass_fields__)
    return TrialTold(_flow(settings, mode), told, [BalanceLevel(*row) for row in balance.select(columns).rows()])


def last_reviews(settings: Settings) -> pl.DataFrame:
    """The review that counts of each case, the last by anyone: case_uid, verdict, reviewer, reason."""
    last = read_all(settings.output, "reviews").sort("number").unique("case_uid", keep="last")
    return last.select("case_uid", "verdict", "reviewer", "reason")


def _flow(settings: Settings, mode: str) -> TrialFlow:
    root = settings.output
    about = read_all(root, "trials", mode=mode)
    cases = read_all(root, "cases", ["case_uid", "trial"], mode=mode)
    inserted = read_all(root, "insertions", ["case_uid", "nodule_idx"], mode=mode)["case_uid"].n_unique()
    rendered = _counts(read_all(root, "cts", ["case_uid", "is_lesion_free", "source"], mode=mode))
    key = ["slice_uid", "condition", "control", "source", "mode", "dataset", "case_uid"]
    slices = read_all(root, "slices", key, mode=mode)
    given = read_all(root, "answers", mode=mode).filter(pl.col("status") == "ok", pl.col("control") == "none")
    answered = _counts(slices.join(given, on=["slice_uid", "condition", "source"], how="semi"))
    sliced = _counts(slices)
    whole = read_all(root, "rejected_cases").filter(pl.col("nodule_idx") == -1)
    reviewed = last_reviews(settings).join(cases, on="case_uid", how="semi")["verdict"]
    return TrialFlow(
        mode=mode,
        trial=cases["trial"][0] if cases.height else mode,
        question=about["question"][0] if about.height else "",
        planned=cases.height,
        inserted=inserted,
        sources=[SourceFlow(s, rendered[s], sliced.get(s, 0), answered.get(s, 0)) for s in sorted(rendered)],
        rejected=whole.join(cases, on="case_uid", how="semi")["case_uid"].n_unique(),
        accepted_by_people=int((reviewed == "accept").sum()),
        rejected_by_people=int((reviewed == "reject").sum()),
    )


def _counts(rows: pl.DataFrame) -> dict[str, int]:
    return dict(rows.group_by("source").agg(pl.col("case_uid").n_unique()).iter_rows())
