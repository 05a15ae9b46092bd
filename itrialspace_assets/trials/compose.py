"""Plans a whole trial: its arms one after the other, weights over them, and what each marginal came to.

Refuses what cannot be had, naming the constraint that binds and the most that can be had; relaxes only
on request and writes down what was given up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from itrialspace_assets.base.errors import TrialError
from itrialspace_assets.base.seeds import draws, uniform
from itrialspace_assets.records.tables import TABLES
from itrialspace_assets.trials.balance import balance_frame, balance_rows, statuses
from itrialspace_assets.trials.frames import arm_row, sampled_frames, table_frame
from itrialspace_assets.trials.model import Cohort, Weighting
from itrialspace_assets.trials.plan import PlannedCases, plan_arm
from itrialspace_assets.trials.resolve import PlannedArm, Resolved
from itrialspace_assets.trials.rounds import Rounds
from itrialspace_assets.trials.sites import Site, find_site
from itrialspace_assets.trials.stock import Step, Stock
from itrialspace_assets.trials.twins import plan_twin


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
    """Something that may be given up, one step of it: what it is called and the cohort without it."""

    name: str
    apply: Callable[[Cohort], Cohort]


def _uses(side: str) -> Callable[[Cohort], Cohort]:
    def apply(cohort: Cohort) -> Cohort:
        pool = getattr(cohort, side)
        return cohort.model_copy(
            update={side: pool.model_copy(update={"max_uses": None if pool.max_uses is None else pool.max_uses * 2})}
        )

    return apply


#: What --relax gives up, in this order, each again and again until it helps (at most four times).
RELAXATIONS: tuple[Relaxation, ...] = (
    Relaxation("donors.max_uses x2", _uses("donors")),
    Relaxation("hosts.max_uses x2", _uses("hosts")),
    Relaxation("max_scale 2", lambda c: c.model_copy(update={"max_scale": max(c.max_scale, 2.0)})),
    Relaxation("clearance_mm 0", lambda c: c.model_copy(update={"clearance_mm": 0.0})),
)
_TIMES = 4


def compose(
    resolved: Resolved, stock: Stock, sites: dict[str, Site], root: int, anatomy: str, *, relax: bool = False
) -> Manifest:
    """Plan every arm of a trial.

    Raises:
        TrialError: an arm cannot be had as asked; names arm, case, stratum, what was left after each
            constraint, the most that can be had and what to give up.
        ConfigError: the trial names a site that is not there.
    """
    twin = resolved.trial.planner == "twin"
    plans = _twins(resolved, stock, root, anatomy) if twin else _sampled(resolved, stock, sites, root, anatomy, relax)
    arms, cases, nodules, balance = [], [], [], []
    for arm, case_frame, nodule_frame, row in plans:
        site = find_site(sites, arm.cohort.site) if arm.cohort.site else None
        status = statuses(stock, resolved, arm.cohort, site)
        arms.append(row(status))
        cases.append(case_frame)
        nodules.append(nodule_frame)
        balance += balance_rows(resolved, arm, case_frame, nodule_frame, site, status)
    planned = pl.concat(cases)
    weights = [_weights(resolved, w, planned, pl.concat(nodules), root) for w in resolved.trial.weightings]
    return Manifest(
        TABLES["arms"].frame(arms), planned.sort("case_uid"), pl.concat(nodules).sort("case_uid", "nodule_idx"),
        pl.concat([TABLES["case_weights"].empty(), *weights]), balance_frame(balance),
    )  # fmt: skip


_Row = Callable[[dict[str, str]], dict[str, Any]]
_Plan = tuple[PlannedArm, pl.DataFrame, pl.DataFrame, _Row]


def _twins(resolved: Resolved, stock: Stock, root: int, anatomy: str) -> list[_Plan]:
    out: list[_Plan] = []
    for arm in resolved.arms:
        cases, nodules, steps, asked = plan_twin(resolved, arm, stock, root, anatomy)
        note = (
            None
            if cases.height == asked
            else f"{asked - cases.height} of {asked} pairs have no room in any host lobe and are left out"
        )
        out.append((arm, cases, nodules, _row_of(resolved, arm, cases, nodules, steps, asked, None, 0, (), note)))
    return out


def _sampled(
    resolved: Resolved, stock: Stock, sites: dict[str, Site], root: int, anatomy: str, relax: bool
) -> list[_Plan]:
    how = resolved.trial.arms_from
    rounds = (
        Rounds.begin(root, resolved.trial.trial, len(resolved.arms), resolved.arms[0].cases or 0)
        if how and how.what == "rounds"
        else None
    )
    out: list[_Plan] = []
    for arm in resolved.arms:
        planned, given_up, arm = _plan(resolved, arm, stock, sites, root, rounds, relax)
        cases, nodules = sampled_frames(resolved, arm, planned, stock, root, anatomy)
        if rounds is not None and how is not None and how.leave_after_cancer:
            rounds.leave(planned.aims.label == 1, arm.number)
        wanted = planned.aims.label
        malignant = int((wanted == 1).sum()) if (wanted >= 0).any() else None
        row = _row_of(
            resolved, arm, cases, nodules, planned.steps, len(planned.donor), malignant, int(planned.scaled_from.sum()), given_up, _note(arm.cohort, malignant, cases.height)
        )  # fmt: skip
        out.append((arm, cases, nodules, row))
    return out


def _row_of(
    resolved: Resolved, arm: PlannedArm, cases: pl.DataFrame, nodules: pl.DataFrame, steps: list[Step], asked: int, malignant: int | None, scaled: int,
    given_up: tuple[str, ...], note: str | None,
) -> _Row:  # fmt: skip
    pools = {s.of: s.left for s in steps}
    return lambda status: arm_row(
        resolved, arm, cases, nodules, asked=asked, asked_malignant=malignant, donor_pool=pools.get("donors", 0), host_pool=pools.get("hosts", 0),
        scaled=scaled, relaxations=given_up, marginals=status, note=note,
    )  # fmt: skip


def _note(cohort: Cohort, malignant: int | None, n: int) -> str | None:
    p = cohort.prevalence
    if p and p.of == "malignant" and p.value and n and malignant == 0:
        return f"{n} cases at a prevalence of {p.value:g} hold no malignant finding"
    if p and p.unit == "finding" and cohort.companions != "none":
        return "the prevalence is that of primary nodules; companions keep their own labels"
    return None


def _plan(
    resolved: Resolved,
    arm: PlannedArm,
    stock: Stock,
    sites: dict[str, Site],
    root: int,
    rounds: Rounds | None,
    relax: bool,
) -> tuple[PlannedCases, tuple[str, ...], PlannedArm]:
    n = arm.cases or 0
    planned = plan_arm(resolved, arm, n, stock, sites, root, rounds)
    given_up: list[str] = []
    for option in RELAXATIONS if relax else ():
        for _ in range(_TIMES):
            if planned.failed < 0:
                break
            looser = option.apply(arm.cohort)
            if looser == arm.cohort:
                break
            trial = _with(arm, looser)
            again = plan_arm(resolved, trial, n, stock, sites, root, rounds)
            if 0 <= again.failed <= planned.failed:
                break  # this one does not help
            arm, planned = trial, again
            given_up.append(option.name)
    if planned.failed >= 0:
        raise TrialError(explain_failure(resolved, arm, planned, n, bool(given_up) or relax))
    return planned, tuple(given_up), arm


def _with(arm: PlannedArm, cohort: Cohort) -> PlannedArm:
    return PlannedArm(
        arm.name,
        arm.published,
        arm.folder,
        arm.varies,
        arm.level,
        cohort,
        arm.number,
        arm.cases,
        arm.host_dataset,
        arm.donor_dataset,
    )


def stratum_of(planned: PlannedCases, case: int) -> str:
    """What a case was to be, in words."""
    a = planned.aims
    from itrialspace_assets.imaging.anatomy import LOBES

    parts = [
        {1: "malignant", 0: "benign"}.get(int(a.label[case]), ""),
        a.levels[a.size[case]] if a.size[case] >= 0 else "",
        LOBES[a.lobe[case]] if a.lobe[case] >= 0 else "",
    ]
    host = str(a.strata[a.stratum[case]])
    return ", ".join(filter(None, [*parts, "" if host == "any host" else f"host of {host}"])) or "any nodule"


def explain_failure(resolved: Resolved, arm: PlannedArm, planned: PlannedCases, n: int, tried: bool) -> str:
    """Why an arm cannot be had, and what to do."""
    k = planned.failed
    steps = "; ".join(
        f"{of}: " + ", ".join(f"{s.constraint} {s.left}" for s in planned.steps if s.of == of)
        for of in ("donors", "hosts")
    )
    supply = int(planned.n_donors[k]) if planned.failed_of == "donors" else int(planned.n_hosts[k])
    limit = arm.cohort.donors.max_uses if planned.failed_of == "donors" else arm.cohort.hosts.max_uses
    told = (
        f"{supply} {planned.failed_of} meet it, each used at most {limit} times"
        if supply and limit
        else f"{supply} {planned.failed_of} meet it"
    )
    advice = "no relaxation helps" if tried else "--relax gives up, in turn, " + ", ".join(r.name for r in RELAXATIONS)
    return (
        f"{resolved.trial.trial}, arm {arm.name}: no {planned.failed_of[:-1]} is left for case {k + 1} of {n} ({stratum_of(planned, k)}): {told}. "
        f"The most that can be had is {k}. Left after each constraint: {steps}. Ask for fewer cases or widen the pools; {advice}; "
        f"`its trials feasibility` shows what each would cost."
    )


def _weights(resolved: Resolved, how: Weighting, cases: pl.DataFrame, nodules: pl.DataFrame, root: int) -> pl.DataFrame:
    """Weights over an arm's cases, mean 1."""
    own = cases.filter(pl.col("arm") == how.arm).sort("number")
    if own.is_empty():
        raise TrialError(
            f"{resolved.trial.trial}: weightings: expected an arm {how.arm!r}, got {', '.join(a.name for a in resolved.arms)}"
        )
    mode = pl.lit(resolved.trial.mode)
    if how.what == "resample":
        people = own["host_person_uid"].unique().sort()
        at = (
            own["host_person_uid"]
            .replace_strict(dict(zip(people, range(len(people)), strict=True)), return_dtype=pl.Int64)
            .to_numpy()
        )
        times = resolved.cohort.n_bootstrap or 100
        raw = draws(root, resolved.trial.trial, how.arm, "resample", n=times * len(people)).reshape(times, len(people))
        drawn = (uniform(raw) * len(people)).astype(np.int64)
        counts = np.zeros((times, len(people)), np.int64)
        np.add.at(counts, (np.repeat(np.arange(times), len(people)), drawn.ravel()), 1)
        each = counts[:, at].astype(float)
        each /= each.mean(axis=1, keepdims=True)
        frame = pl.DataFrame({
            "replicate": np.repeat(np.arange(times), own.height), "case_uid": pl.concat([own["case_uid"]] * times), "weight": np.round(each.ravel(), 9),
        }).with_columns(weighting=pl.lit("resample"), mode=mode)  # fmt: skip
        return table_frame("case_weights", frame)
    labels = own.join(nodules.filter(pl.col("nodule_idx") == 0).select("case_uid", "label"), on="case_uid", how="left")
    share = float((labels["label"] == 1).mean() or 0.0)  # type: ignore[arg-type]
    if not 0 < share < 1:
        raise TrialError(
            f"{resolved.trial.trial}: weightings: arm {how.arm} holds one class alone; weights cannot make another prevalence of it"
        )
    frames = []
    for value in how.values or resolved.cohort.values or []:
        weight = pl.when(pl.col("label") == 1).then(value / share).otherwise((1 - value) / (1 - share)).round(9)
        frames.append(
            labels.select(
                "case_uid",
                weight=weight,
                weighting=pl.lit(f"prevalence={value:g}"),
                replicate=pl.lit(0, pl.Int64),
                mode=mode,
            )
        )
    return table_frame("case_weights", pl.concat(frames)) if frames else TABLES["case_weights"].empty()
