"""What is feasible, before anything is planned: donors and hosts after each constraint, the constraint that binds, the
most cases, and what each relaxation would bring and cost. Writes nothing.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import polars as pl

from itrialspace_assets.base.errors import TrialError
from itrialspace_assets.trials.compose import RELAXATIONS, stratum_of
from itrialspace_assets.trials.frames import effective
from itrialspace_assets.trials.plan import PlannedCases, plan_arm
from itrialspace_assets.trials.pool import CandidatePool, PoolCount
from itrialspace_assets.trials.resolve import PlannedArm, Resolved
from itrialspace_assets.trials.rounds import Rounds
from itrialspace_assets.trials.rows import FeasibilityRow, table_of
from itrialspace_assets.trials.sites import Site
from itrialspace_assets.trials.twins import count_twin_arm

#: How many times the cases that are asked for are tried, to tell how many more are feasible; ours.
HEADROOM = 2


@dataclass(frozen=True)
class _Finding:
    """A row of ``feasibility`` without its arm and step."""

    of: str
    constraint: str
    left: int
    needed: int | None = None
    binding: bool = False
    price: str | None = None


def feasibility(resolved: Resolved, pool: CandidatePool, sites: dict[str, Site], root: int) -> pl.DataFrame:
    """The frame of ``feasibility``; an arm that is infeasible is a row too, never an error.

    Args:
        resolved: the trial.
        pool: all donors and hosts.
        sites: all site profiles.
        root: root of the draws.
    """
    rows: list[FeasibilityRow] = []
    for arm in resolved.arms:
        try:
            found = (
                _twin(resolved, arm, pool, root)
                if resolved.trial.planner == "twin"
                else _sampled(resolved, arm, pool, sites, root)
            )
        except TrialError as error:
            found = [_Finding("cases", str(error), 0, arm.cases or 1, binding=True)]
        rows += [
            FeasibilityRow(
                mode=resolved.trial.mode, trial=resolved.trial.trial, arm=arm.name, step=step, **asdict(finding)
            )
            for step, finding in enumerate(found)
        ]
    return table_of("feasibility", rows)


def _counted(counts: list[PoolCount]) -> list[_Finding]:
    return [_Finding(c.of, c.constraint, c.left) for c in counts]


def _twin(resolved: Resolved, arm: PlannedArm, pool: CandidatePool, root: int) -> list[_Finding]:
    made = count_twin_arm(resolved, arm, pool, root)
    short = made.cases < made.asked
    return [*_counted(made.counts), _Finding("cases", "feasible cases", made.cases, made.asked, short)]


def _sampled(
    resolved: Resolved, arm: PlannedArm, pool: CandidatePool, sites: dict[str, Site], root: int
) -> list[_Finding]:
    wanted = arm.cases or 0
    how = resolved.trial.arms_from

    def plan(looser: PlannedArm, n: int) -> PlannedCases:
        rounds = None
        if how and how.what == "rounds":
            rounds = Rounds.begin(root, resolved.trial.trial, len(resolved.arms), n)
        return plan_arm(resolved, looser, n, pool, sites, root, rounds)

    most, planned = _most(plan, arm, wanted)
    found = [*_counted(planned.counts), *_strata(planned, wanted, arm)]
    short = most < wanted
    at = f"{planned.failed_of}: {stratum_of(planned, planned.failed)}" if planned.failed >= 0 else "no more were tried"
    found.append(_Finding("cases", f"feasible cases ({at})", most, wanted, short))
    for option in RELAXATIONS if short else ():
        looser = option.apply(arm.cohort)
        if looser == arm.cohort:
            continue
        more, again = _most(plan, replace(arm, cohort=looser), wanted)
        price = _price(option.name, again, min(more, wanted)) if more > most else "does not help"
        found.append(_Finding("relaxation", option.name, more, wanted, price=price))
    return found


def _most(plan: Callable[[PlannedArm, int], PlannedCases], arm: PlannedArm, wanted: int) -> tuple[int, PlannedCases]:
    """The most feasible cases of an arm, counted up to ``HEADROOM`` times what is wanted, and the plan that showed it
    (it begins like every shorter one)."""
    n = HEADROOM * max(1, wanted)
    planned = plan(arm, n)
    return (planned.failed if planned.failed >= 0 else n), planned


def _strata(planned: PlannedCases, wanted: int, arm: PlannedArm) -> list[_Finding]:
    """Each kind of case: how many are wanted, how many donors and hosts meet it."""
    a = planned.aims
    n = min(max(1, wanted), len(a.label))
    key = np.stack([a.label[:n], a.size[:n], a.lobe[:n], a.stratum[:n]])
    _, first, counts = np.unique(key, axis=1, return_index=True, return_counts=True)
    fails_at = stratum_of(planned, planned.failed) if 0 <= planned.failed < wanted else None
    found = []
    for k, count in sorted(zip(first.tolist(), counts.tolist(), strict=True)):
        stratum = stratum_of(planned, k)
        for of, supply, limit in (
            ("donors", planned.n_donors, arm.cohort.donors.max_uses),
            ("hosts", planned.n_hosts, arm.cohort.hosts.max_uses),
        ):
            uses = f" (each at most {limit} times)" if limit else ""
            binding = of == planned.failed_of and stratum == fails_at
            found.append(_Finding(of, f"{stratum}{uses}", int(supply[k]), count, binding))
    return found


def _price(name: str, planned: PlannedCases, n: int) -> str:
    """What a relaxation costs at the wanted number of cases."""
    donor = planned.donors["nodule_uid"].gather(np.maximum(planned.donor[:n], 0))
    person = planned.hosts["person_uid"].gather(np.maximum(planned.host[:n], 0))
    if name.startswith("donors"):
        return f"{effective(donor):.0f} effective donors for {n} cases"
    if name.startswith("hosts"):
        return f"{effective(person):.0f} effective host people for {n} cases"
    if name.startswith("max_scale"):
        scale = planned.scale[:n]
        return f"nodules scaled by {scale.min():.2f} to {scale.max():.2f}"
    return "nodules may touch the pleura or the fissure"
