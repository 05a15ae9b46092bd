"""Composes a trial's manifest: its arms one after the other, weights over their cases, and the balance of each arm.

Refuses what is infeasible and names the constraint that binds and the most cases that are feasible; relaxes only on
request and records what was given up. Writes nothing.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from itrialspace_assets.base.errors import TrialError
from itrialspace_assets.base.seeds import draws, uniform
from itrialspace_assets.imaging.anatomy import LOBES
from itrialspace_assets.records.tables import TABLES
from itrialspace_assets.trials.balance import balance_rows, statuses
from itrialspace_assets.trials.frames import effective, sampled_frames, table_frame
from itrialspace_assets.trials.model import Cohort, Weighting
from itrialspace_assets.trials.plan import PlannedCases, plan_arm
from itrialspace_assets.trials.pool import CandidatePool, PoolCount
from itrialspace_assets.trials.resolve import PlannedArm, Resolved
from itrialspace_assets.trials.rounds import Rounds
from itrialspace_assets.trials.rows import ArmRow, BalanceRow, table_of
from itrialspace_assets.trials.sites import Site, find_site
from itrialspace_assets.trials.twins import plan_twin_arm


@dataclass(frozen=True)
class Manifest:
    """A planned trial: frames of its tables."""

    arms: pl.DataFrame
    cases: pl.DataFrame
    nodules: pl.DataFrame
    weights: pl.DataFrame
    balance: pl.DataFrame


@dataclass(frozen=True)
class Relaxation:
    """One step of something that may be given up: its name, and the cohort without it."""

    name: str
    apply: Callable[[Cohort], Cohort]


def _double_uses(side: str) -> Callable[[Cohort], Cohort]:
    def apply(cohort: Cohort) -> Cohort:
        part = getattr(cohort, side)
        doubled = None if part.max_uses is None else part.max_uses * 2
        return cohort.model_copy(update={side: part.model_copy(update={"max_uses": doubled})})

    return apply


#: What --relax gives up, in this order, each up to ``_TIMES`` times; ours.
RELAXATIONS: tuple[Relaxation, ...] = (
    Relaxation("donors.max_uses x2", _double_uses("donors")),
    Relaxation("hosts.max_uses x2", _double_uses("hosts")),
    Relaxation("max_scale 2", lambda c: c.model_copy(update={"max_scale": max(c.max_scale, 2.0)})),
    Relaxation("clearance_mm 0", lambda c: c.model_copy(update={"clearance_mm": 0.0})),
)
_TIMES = 4


@dataclass(frozen=True)
class _ArmPlan:
    """A planned arm.

    Attributes:
        arm: the arm, with the cohort that it was planned by.
        cases: frame of ``cases``.
        nodules: frame of ``case_nodules``.
        counts: what was left of the candidate pool after each constraint.
        asked: cases asked for.
        asked_malignant: malignant findings asked for; None if labels were left open.
        scaled: nodules taken from beyond the wanted size and scaled.
        relaxations: names of what was given up.
        note: what the numbers mean where they surprise.
    """

    arm: PlannedArm
    cases: pl.DataFrame
    nodules: pl.DataFrame
    counts: list[PoolCount]
    asked: int
    asked_malignant: int | None = None
    scaled: int = 0
    relaxations: tuple[str, ...] = ()
    note: str | None = None


def compose(
    resolved: Resolved, pool: CandidatePool, sites: dict[str, Site], root: int, anatomy: str, *, relax: bool = False
) -> Manifest:
    """Plan every arm of a trial.

    Args:
        resolved: the trial.
        pool: all donors and hosts.
        sites: all site profiles.
        root: root of the draws.
        anatomy: real or procedural, for the cases.
        relax: give up constraints of an arm that is infeasible.

    Raises:
        TrialError: an arm is infeasible as asked; names arm, case, stratum, what was left after each constraint, the
            most cases that are feasible and what to give up.
        ConfigError: the trial names a site that is not there.
    """
    twin = resolved.trial.planner == "twin"
    plans = _twins(resolved, pool, root, anatomy) if twin else _sampled(resolved, pool, sites, root, anatomy, relax)
    arms: list[ArmRow] = []
    balance: list[BalanceRow] = []
    for plan in plans:
        site = find_site(sites, plan.arm.cohort.site) if plan.arm.cohort.site else None
        status = statuses(pool, resolved, plan.arm.cohort, site)
        arms.append(_arm_row(resolved, plan, status))
        balance += balance_rows(resolved, plan.arm, plan.cases, plan.nodules, site, status)
    cases, nodules = pl.concat([p.cases for p in plans]), pl.concat([p.nodules for p in plans])
    weights = [_weights(resolved, w, cases, nodules, root) for w in resolved.trial.weightings]
    return Manifest(
        table_of("arms", arms),
        cases.sort("case_uid"),
        nodules.sort("case_uid", "nodule_idx"),
        pl.concat([TABLES["case_weights"].empty(), *weights]),
        table_of("balance", balance),
    )


def _twins(resolved: Resolved, pool: CandidatePool, root: int, anatomy: str) -> list[_ArmPlan]:
    plans = []
    for arm in resolved.arms:
        made = plan_twin_arm(resolved, arm, pool, root, anatomy)
        short = made.asked - made.cases.height
        note = f"{short} of {made.asked} pairs fit into no host lobe and are left out" if short else None
        plans.append(_ArmPlan(arm, made.cases, made.nodules, made.counts, made.asked, note=note))
    return plans


def _sampled(
    resolved: Resolved, pool: CandidatePool, sites: dict[str, Site], root: int, anatomy: str, relax: bool
) -> list[_ArmPlan]:
    how = resolved.trial.arms_from
    rounds = None
    if how and how.what == "rounds":
        rounds = Rounds.begin(root, resolved.trial.trial, len(resolved.arms), resolved.arms[0].cases or 0)

    def plan(arm: PlannedArm) -> PlannedCases:
        return plan_arm(resolved, arm, arm.cases or 0, pool, sites, root, rounds)

    plans = []
    for asked_arm in resolved.arms:
        arm, planned, given_up = _relaxed(plan, asked_arm) if relax else (asked_arm, plan(asked_arm), ())
        if planned.failed >= 0:
            raise TrialError(explain_failure(resolved, arm, planned, arm.cases or 0, relax))
        cases, nodules = sampled_frames(resolved, arm, planned, pool, root, anatomy)
        label = planned.aims.label
        if rounds is not None and how is not None and how.leave_after_cancer:
            rounds.leave(label == 1, arm.number)
        malignant = int((label == 1).sum()) if (label >= 0).any() else None
        plans.append(
            _ArmPlan(
                arm,
                cases,
                nodules,
                planned.counts,
                asked=len(planned.donor),
                asked_malignant=malignant,
                scaled=int(planned.scaled_from.sum()),
                relaxations=given_up,
                note=_note(arm.cohort, malignant, cases.height),
            )
        )
    return plans


def _relaxed(
    plan: Callable[[PlannedArm], PlannedCases], arm: PlannedArm
) -> tuple[PlannedArm, PlannedCases, tuple[str, ...]]:
    """The arm with as little given up as its cases need, its plan, and the names of what was given up."""
    planned = plan(arm)
    given_up: list[str] = []
    for option in RELAXATIONS:
        for _ in range(_TIMES):
            looser = option.apply(arm.cohort)
            if planned.failed < 0 or looser == arm.cohort:
                break
            trial = replace(arm, cohort=looser)
            again = plan(trial)
            if 0 <= again.failed <= planned.failed:
                break  # this one does not help
            arm, planned = trial, again
            given_up.append(option.name)
    return arm, planned, tuple(given_up)


def _arm_row(resolved: Resolved, plan: _ArmPlan, marginals: dict[str, str]) -> ArmRow:
    """The row of an arm; malignant counts are those of primary nodules."""
    arm, cases = plan.arm, plan.cases
    primary = plan.nodules.filter(pl.col("nodule_idx") == 0)
    left = {count.of: count.left for count in plan.counts}
    return ArmRow(
        trial=resolved.trial.trial,
        mode=resolved.trial.mode,
        arm=arm.name,
        number=arm.number,
        varies=arm.varies,
        level=arm.level,
        published=arm.published,
        folder=arm.folder,
        asked_cases=plan.asked,
        got_cases=cases.height,
        asked_malignant=plan.asked_malignant,
        got_malignant=int((primary["label"] == 1).sum()),
        clean_cases=int((cases["n_nodules"] == 0).sum()),
        donor_pool=left.get("donors", 0),
        host_pool=left.get("hosts", 0),
        donors=primary["donor_nodule_uid"].n_unique(),
        donors_effective=effective(primary["donor_nodule_uid"]),
        host_persons=cases["host_person_uid"].n_unique(),
        hosts_effective=effective(cases["host_person_uid"]),
        scaled=plan.scaled,
        relaxations=";".join(plan.relaxations),
        marginals=json.dumps(marginals, sort_keys=True),
        note=plan.note,
    )


def _note(cohort: Cohort, malignant: int | None, n: int) -> str | None:
    p = cohort.prevalence
    if p and p.of == "malignant" and p.value and n and malignant == 0:
        return f"{n} cases at a prevalence of {p.value:g} hold no malignant finding"
    if p and p.unit == "finding" and cohort.companions != "none":
        return "the prevalence is that of primary nodules; companions keep their own labels"
    return None


def stratum_of(planned: PlannedCases, case: int) -> str:
    """What a case was to be, in words."""
    a = planned.aims
    parts = [
        {1: "malignant", 0: "benign"}.get(int(a.label[case]), ""),
        a.size_levels[a.size[case]] if a.size[case] >= 0 else "",
        LOBES[a.lobe[case]] if a.lobe[case] >= 0 else "",
    ]
    host = str(a.strata[a.stratum[case]])
    return ", ".join(filter(None, [*parts, "" if host == "any host" else f"host of {host}"])) or "any nodule"


def explain_failure(resolved: Resolved, arm: PlannedArm, planned: PlannedCases, n: int, tried: bool) -> str:
    """Why an arm is infeasible, and what to do.

    Args:
        resolved: the trial.
        arm: the arm.
        planned: its plan, with the first infeasible case.
        n: cases that were asked for.
        tried: whether constraints were given up already.
    """
    k, of = planned.failed, planned.failed_of
    left = "; ".join(
        f"{side}: " + ", ".join(f"{c.constraint} {c.left}" for c in planned.counts if c.of == side)
        for side in ("donors", "hosts")
    )
    supply = int((planned.n_donors if of == "donors" else planned.n_hosts)[k])
    limit = (arm.cohort.donors if of == "donors" else arm.cohort.hosts).max_uses
    uses = f", each used at most {limit} times" if supply and limit else ""
    advice = "no relaxation helps" if tried else "--relax gives up, in turn, " + ", ".join(r.name for r in RELAXATIONS)
    return (
        f"{resolved.trial.trial}, arm {arm.name}: no {of[:-1]} is left for case {k + 1} of {n} "
        f"({stratum_of(planned, k)}): {supply} {of} meet it{uses}. "
        f"At most {k} cases are feasible. Left after each constraint: {left}. Ask for fewer cases or widen "
        f"the pools; {advice}; "
        "`its trials feasibility` shows what each would cost."
    )


def _weights(resolved: Resolved, how: Weighting, cases: pl.DataFrame, nodules: pl.DataFrame, root: int) -> pl.DataFrame:
    """Weights over an arm's cases, mean 1: a frame of ``case_weights``."""
    own = cases.filter(pl.col("arm") == how.arm).sort("number")
    if own.is_empty():
        raise TrialError(
            f"{resolved.trial.trial}: weightings: expected an arm {how.arm!r}, got "
            f"{', '.join(a.name for a in resolved.arms)}"
        )
    if how.what == "resample":
        return _resample_weights(resolved, how, own, root)
    return _prevalence_weights(resolved, how, own, nodules)


def _resample_weights(resolved: Resolved, how: Weighting, own: pl.DataFrame, root: int) -> pl.DataFrame:
    """How often each case is drawn when whole host people are drawn with replacement, mean 1 in each replicate."""
    people = own["host_person_uid"].unique().sort()
    number = dict(zip(people, range(len(people)), strict=True))
    at = own["host_person_uid"].replace_strict(number, return_dtype=pl.Int64).to_numpy()
    times = resolved.cohort.n_bootstrap or 100
    raw = draws(root, resolved.trial.trial, how.arm, "resample", n=times * len(people)).reshape(times, len(people))
    drawn = (uniform(raw) * len(people)).astype(np.int64)
    counts = np.zeros((times, len(people)), np.int64)
    np.add.at(counts, (np.repeat(np.arange(times), len(people)), drawn.ravel()), 1)
    each = counts[:, at].astype(float)
    each /= each.mean(axis=1, keepdims=True)
    frame = pl.DataFrame(
        {
            "replicate": np.repeat(np.arange(times), own.height),
            "case_uid": pl.concat([own["case_uid"]] * times),
            "weight": np.round(each.ravel(), 9),
        }
    )
    return table_frame(
        "case_weights", frame.with_columns(weighting=pl.lit("resample"), mode=pl.lit(resolved.trial.mode))
    )


def _prevalence_weights(resolved: Resolved, how: Weighting, own: pl.DataFrame, nodules: pl.DataFrame) -> pl.DataFrame:
    """Weights that make the malignant share of the cases each of some values."""
    labels = own.join(nodules.filter(pl.col("nodule_idx") == 0).select("case_uid", "label"), on="case_uid", how="left")
    share = float((labels["label"] == 1).mean() or 0.0)  # type: ignore[arg-type]
    if not 0 < share < 1:
        raise TrialError(
            f"{resolved.trial.trial}: weightings: expected malignant and benign cases in arm {how.arm}, got one class "
            "alone; weights cannot make another prevalence of it"
        )
    frames = [
        labels.select(
            "case_uid",
            weight=pl.when(pl.col("label") == 1).then(value / share).otherwise((1 - value) / (1 - share)).round(9),
            weighting=pl.lit(f"prevalence={value:g}"),
            replicate=pl.lit(0, pl.Int64),
            mode=pl.lit(resolved.trial.mode),
        )
        for value in how.values or resolved.cohort.values or []
    ]
    return table_frame("case_weights", pl.concat(frames)) if frames else TABLES["case_weights"].empty()
