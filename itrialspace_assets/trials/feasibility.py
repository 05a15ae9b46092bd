"""What can be had before anything is planned: donors and hosts after each constraint, the constraint that
binds, the most cases, and what each relaxation would bring and cost. Writes nothing.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from itrialspace_assets.base.errors import TrialError
from itrialspace_assets.records.tables import TABLES
from itrialspace_assets.trials.compose import RELAXATIONS, stratum_of
from itrialspace_assets.trials.frames import effective
from itrialspace_assets.trials.plan import PlannedCases, plan_arm
from itrialspace_assets.trials.resolve import PlannedArm, Resolved
from itrialspace_assets.trials.rounds import Rounds
from itrialspace_assets.trials.sites import Site
from itrialspace_assets.trials.stock import Step, Stock
from itrialspace_assets.trials.twins import plan_twin

#: Cases beyond which the most that can be had is not looked for.
MOST = 20_000


def feasibility(resolved: Resolved, stock: Stock, sites: dict[str, Site], root: int) -> pl.DataFrame:
    """Rows of ``feasibility`` of every arm; an arm that cannot be had is a row too, never an error."""
    rows: list[dict[str, Any]] = []
    for arm in resolved.arms:
        try:
            found = (
                _twin(resolved, arm, stock, root)
                if resolved.trial.planner == "twin"
                else _sampled(resolved, arm, stock, sites, root)
            )
        except TrialError as error:
            found = [
                {
                    "of": "cases",
                    "constraint": str(error),
                    "left": 0,
                    "needed": arm.cases or 1,
                    "binding": True,
                    "price": None,
                }
            ]
        base = {"mode": resolved.trial.mode, "trial": resolved.trial.trial, "arm": arm.name}
        rows += [base | {"step": i} | row for i, row in enumerate(found)]
    return TABLES["feasibility"].frame(rows)


def _row(
    of: str, constraint: str, left: int, needed: int | None = None, binding: bool = False, price: str | None = None
) -> dict[str, Any]:
    return {"of": of, "constraint": constraint, "left": left, "needed": needed, "binding": binding, "price": price}


def _steps(steps: list[Step]) -> list[dict[str, Any]]:
    return [_row(s.of, s.constraint, s.left) for s in steps]


def _twin(resolved: Resolved, arm: PlannedArm, stock: Stock, root: int) -> list[dict[str, Any]]:
    cases, _, steps, asked = plan_twin(resolved, arm, stock, root, "real")
    return [*_steps(steps), _row("cases", "cases that can be had", cases.height, asked, cases.height < asked)]


def _sampled(
    resolved: Resolved, arm: PlannedArm, stock: Stock, sites: dict[str, Site], root: int
) -> list[dict[str, Any]]:
    wanted = arm.cases or 0

    def plan(cohort_arm: PlannedArm, n: int) -> PlannedCases:
        how = resolved.trial.arms_from
        rounds = (
            Rounds.begin(root, resolved.trial.trial, len(resolved.arms), n) if how and how.what == "rounds" else None
        )
        return plan_arm(resolved, cohort_arm, n, stock, sites, root, rounds)

    most, planned = _most(plan, arm, wanted)
    rows = _steps(planned.steps)
    rows += _strata(planned, wanted, arm)
    short = most < wanted
    at = f" ({planned.failed_of}: {stratum_of(planned, planned.failed)})" if planned.failed >= 0 else ""
    rows.append(_row("cases", f"cases that can be had{at}", most, wanted, short))
    for option in RELAXATIONS if short else ():
        looser = option.apply(arm.cohort)
        if looser == arm.cohort:
            continue
        more, again = _most(plan, replace(arm, cohort=looser), max(wanted, most))
        price = _price(option.name, again, min(more, wanted)) if more > most else "does not help"
        rows.append(_row("relaxation", option.name, more, wanted, False, price))
    return rows


def _most(plan: Any, arm: PlannedArm, wanted: int) -> tuple[int, PlannedCases]:
    """The most cases of an arm, and the plan that showed it (it begins like every shorter one)."""
    n = max(1, wanted)
    while True:
        planned: PlannedCases = plan(arm, n)
        if planned.failed >= 0:
            return planned.failed, planned
        if n >= MOST:
            return n, planned
        n = min(MOST, n * 4)


def _strata(planned: PlannedCases, wanted: int, arm: PlannedArm) -> list[dict[str, Any]]:
    """Each kind of case: how many are wanted, how many donors and hosts meet it."""
    a = planned.aims
    n = min(max(1, wanted), len(a.label))
    key = np.stack([a.label[:n], a.size[:n], a.lobe[:n], a.stratum[:n]])
    _, first, counts = np.unique(key, axis=1, return_index=True, return_counts=True)
    rows = []
    for k, count in sorted(zip(first.tolist(), counts.tolist(), strict=True)):
        for of, supply, limit in (
            ("donors", planned.n_donors, arm.cohort.donors.max_uses),
            ("hosts", planned.n_hosts, arm.cohort.hosts.max_uses),
        ):
            left = int(supply[k])
            binding = (
                planned.failed >= 0
                and planned.failed < wanted
                and of == planned.failed_of
                and stratum_of(planned, k) == stratum_of(planned, planned.failed)
            )
            rows.append(
                _row(
                    of,
                    f"{stratum_of(planned, k)}{f' (each at most {limit} times)' if limit else ''}",
                    left,
                    count,
                    binding,
                )
            )
    return rows


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
