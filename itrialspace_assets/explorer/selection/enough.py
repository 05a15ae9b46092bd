"""Whether a trial of a selection is feasible: its arms, the constraint that binds, and what each relaxation brings."""

import threading
from typing import Literal

import polars as pl

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.trials.build import UNVERIFIED, seed_of
from itrialspace_assets.trials.feasibility import feasibility
from itrialspace_assets.trials.model import Trial
from itrialspace_assets.trials.resolve import resolve
from itrialspace_assets.trials.sites import sites
from itrialspace_assets.trials.sources import pool_of

#: Studies run one after the other: they share the filtered pools that ``trials.pool`` keeps.
_ONE = threading.Lock()


class ConstraintCount(StrictModel):
    """Donors or hosts that are left after a constraint; ``needed`` by the cases of one kind, where it is of a kind."""

    of: Literal["donors", "hosts"]
    constraint: str
    left: int
    needed: int | None
    binds: bool


class RelaxationEffect(StrictModel):
    """What giving up one constraint brings (``cases``), and what it costs."""

    name: str
    cases: int
    helps: bool
    price: str


class ArmFeasibility(StrictModel):
    """An arm: cases that are wanted and feasible (counted up to twice what is wanted); ``why`` names what ends it."""

    arm: str
    wanted: int
    feasible: int
    is_enough: bool
    why: str
    counts: list[ConstraintCount]
    relaxations: list[RelaxationEffect]


class Feasibility(StrictModel):
    """All arms of a trial at a run size; ``note`` says what was not verified."""

    is_enough: bool
    size: str
    note: str
    arms: list[ArmFeasibility]


def feasible(settings: Settings, trial: Trial, size: str) -> Feasibility:
    """What is feasible of a trial from the data at hand; writes nothing.

    Args:
        settings: say where the tables are.
        trial: need not be a file.
        size: run size.

    Raises:
        TableError: the stages hosts and index have not run.
        ConfigError: the trial contradicts itself at this size.
    """
    resolved = resolve(trial, size, (), list(datasets(settings)))
    with _ONE:
        pool, _ = pool_of(settings)
        frame = feasibility(resolved, pool, sites(settings), seed_of(settings, resolved))
    arms = [_arm(arm.name, frame.filter(pl.col("arm") == arm.name)) for arm in resolved.arms]
    return Feasibility(
        is_enough=all(arm.is_enough for arm in arms),
        size=size,
        note="" if pool.verified else UNVERIFIED,
        arms=arms,
    )


def _arm(name: str, rows: pl.DataFrame) -> ArmFeasibility:
    rows = rows.sort("step")
    cases = rows.row(by_predicate=pl.col("of") == "cases", named=True)
    return ArmFeasibility(
        arm=name,
        wanted=cases["needed"],
        feasible=cases["left"],
        is_enough=not cases["binding"],
        why=cases["constraint"],
        counts=[
            ConstraintCount(
                of=r["of"], constraint=r["constraint"], left=r["left"], needed=r["needed"], binds=r["binding"]
            )
            for r in rows.filter(pl.col("of").is_in(["donors", "hosts"])).iter_rows(named=True)
        ],
        relaxations=[
            RelaxationEffect(
                name=r["constraint"], cases=r["left"], helps=r["price"] != "does not help", price=r["price"]
            )
            for r in rows.filter(pl.col("of") == "relaxation").iter_rows(named=True)
        ],
    )
