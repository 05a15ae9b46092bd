"""What trials draw from, as arrays: donors with their nodule, hosts with the room in their lobes.

Built once from the index and the host and donor tables, sorted by id, so that nothing depends on the
order of files or rows. Filters give the pool of an arm, step by step, so that a step that empties it
can be named.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from itrialspace_assets.hosts.procedural import PROCEDURAL
from itrialspace_assets.imaging.anatomy import LOBES, size_buckets
from itrialspace_assets.trials.model import Cohort, Donors, Hosts

#: A nodule's farthest voxel lies beyond its equivalent radius by about this factor (lobulated shapes).
REACH = 1.15
_NODULE = ["nodule_uid", "label", "label_source", "population_type", "reinsertion_lung_zone", "central_peripheral",
           "reinsertion_pleural_dist_mm", "reinsertion_airway_dist_mm", "n_nodules_in_patient", "anatomy", "coordX", "coordY", "coordZ", "reinsertion_lobe"]  # fmt: skip


@dataclass(frozen=True)
class Stock:
    """Donors (joined with their row of ``nodules``) and hosts, each sorted by id, and the room of the hosts."""

    donors: pl.DataFrame
    hosts: pl.DataFrame
    room: npt.NDArray[np.float64]  # (hosts, lobes in the order of LOBES): radius of the largest sphere, mm
    pools: dict[str, tuple[pl.DataFrame, list["Step"]]] = field(
        default_factory=dict, repr=False, compare=False
    )  # worked out once a cohort


@dataclass(frozen=True)
class Step:
    """How many donors (or hosts) are left after a constraint."""

    of: str
    constraint: str
    left: int


def make_stock(nodules: pl.DataFrame, donors: pl.DataFrame, hosts: pl.DataFrame, host_lobes: pl.DataFrame) -> Stock:
    """Join the tables once."""
    drawn = donors.filter(pl.col("dataset") == PROCEDURAL)
    joined = pl.concat(
        [
            donors.filter(pl.col("dataset") != PROCEDURAL).join(nodules.select(_NODULE), on="nodule_uid", how="inner"),
            drawn.with_columns(anatomy=pl.lit("procedural"), reinsertion_lobe="lobe", label_source=pl.lit("none")),
        ],
        how="diagonal_relaxed",
    ).sort("nodule_uid")
    ordered = hosts.sort("scan_uid")
    at = {lobe: i for i, lobe in enumerate(LOBES)}
    rows = host_lobes.join(ordered.select("scan_uid").with_row_index("host"), on="scan_uid", how="inner")
    room = np.zeros((ordered.height, len(LOBES)))
    room[rows["host"].to_numpy(), rows["lobe"].replace_strict(at, return_dtype=pl.Int64).to_numpy()] = rows[
        "fit_radius_mm"
    ].to_numpy()
    return Stock(joined, ordered, room)


def reach_mm(diameter_mm: npt.ArrayLike, clearance_mm: float) -> npt.NDArray[np.float64]:
    """Radius (mm) of the sphere that a lobe must hold for a nodule of a diameter, its clearance included."""
    return np.asarray(np.asarray(diameter_mm, dtype=np.float64) / 2 * REACH + clearance_mm)


def _within(column: str, bounds: tuple[float, float]) -> pl.Expr:
    return (pl.col(column) >= bounds[0]) & (pl.col(column) < bounds[1])


def _once(
    stock: Stock, of: str, cohort: Cohort, make: Callable[[], tuple[pl.DataFrame, list[Step]]]
) -> tuple[pl.DataFrame, list[Step]]:
    """A pool and its steps (a list of one's own); arms of one cohort share the work."""
    key = of + cohort.model_dump_json(include={of, "exclude_training", "label", "prevalence", "calibrate"})
    if key not in stock.pools:
        stock.pools[key] = make()
    frame, steps = stock.pools[key]
    return frame, list(steps)


def donor_pool(stock: Stock, cohort: Cohort) -> tuple[pl.DataFrame, list[Step]]:
    """Donors of a cohort and how many were left after each constraint; what depends on the case comes later."""
    return _once(stock, "donors", cohort, lambda: _donors(stock, cohort))


def host_pool(stock: Stock, cohort: Cohort) -> tuple[pl.DataFrame, list[Step]]:
    """Hosts of a cohort and how many were left after each constraint."""
    return _once(stock, "hosts", cohort, lambda: _hosts(stock, cohort))


def _donors(stock: Stock, cohort: Cohort) -> tuple[pl.DataFrame, list[Step]]:
    d: Donors = cohort.donors
    banned = [*d.exclude, *cohort.exclude_training]
    steps: list[tuple[str, pl.Expr | None]] = [
        ("in the donor store", pl.col("dataset") != PROCEDURAL),
        (f"datasets {_named(d.datasets)}", pl.col("dataset").is_in(d.datasets) if isinstance(d.datasets, list) else None),
        (f"not {', '.join(banned)}", ~pl.col("dataset").is_in(banned) if banned else None),
        ("a measured place in a lobe", pl.col("lobe").is_in(list(LOBES)) & pl.col("cc_pct").is_not_null()),
        (f"label from {d.label_source}", pl.col("label_source") == d.label_source if d.label_source else None),
        (f"population {d.population}", pl.col("population_type") == d.population if d.population else None),
        (f"label {cohort.label}", pl.col("label") == cohort.label if cohort.label is not None else None),
        ("label known", pl.col("label").is_not_null() if cohort.prevalence and cohort.prevalence.of == "malignant" else None),
        (f"lobes {_named(d.lobes)}", pl.col("lobe").is_in(d.lobes) if d.lobes else None),
        (f"side {d.side}", pl.col("lobe").str.starts_with(d.side) if d.side else None),
        (f"zones {_named(d.zones)}", pl.col("reinsertion_lung_zone").is_in(d.zones) if d.zones else None),
        (f"{d.central_peripheral}", pl.col("central_peripheral") == d.central_peripheral if d.central_peripheral else None),
        (f"diameter {d.diameter_mm} mm", _within("diameter_mm", d.diameter_mm) if d.diameter_mm else None),
        (f"pleural distance {d.pleural_mm} mm", _within("reinsertion_pleural_dist_mm", d.pleural_mm) if d.pleural_mm else None),
        (f"{d.nodules_in_scan} nodule in its scan", _count(d.nodules_in_scan)),
    ]  # fmt: skip
    found, told = _narrow(stock.donors, "donors", steps)
    if d.procedural == "never":
        return found, told
    return _with_drawn(stock, cohort, found, told)


def _with_drawn(stock: Stock, cohort: Cohort, found: pl.DataFrame, told: list[Step]) -> tuple[pl.DataFrame, list[Step]]:
    """The pool with procedural donors: those of sizes that it has none of, or they alone. They have no label."""
    d = cohort.donors
    drawn = stock.donors.filter(pl.col("dataset") == PROCEDURAL)
    if cohort.label is not None or (cohort.prevalence and cohort.prevalence.of == "malignant"):
        drawn = drawn.clear()
    if d.lobes:
        drawn = drawn.filter(pl.col("lobe").is_in(d.lobes))
    if d.diameter_mm:
        drawn = drawn.filter(_within("diameter_mm", d.diameter_mm))
    if d.procedural == "only":
        return drawn, [*told, Step("donors", "procedural alone", drawn.height)]
    covered = set(size_buckets(found["diameter_mm"].to_numpy())) if found.height else set()
    gaps = [b not in covered for b in size_buckets(drawn["diameter_mm"].to_numpy())] if drawn.height else []
    whole = pl.concat([found, drawn.filter(pl.Series(gaps, dtype=pl.Boolean))]).sort("nodule_uid")
    return whole, [*told, Step("donors", "and procedural ones of sizes that it has none of", whole.height)]


def _hosts(stock: Stock, cohort: Cohort) -> tuple[pl.DataFrame, list[Step]]:
    h: Hosts = cohort.hosts
    banned = [*h.exclude, *cohort.exclude_training]
    steps: list[tuple[str, pl.Expr | None]] = [
        ("in the host store", None),
        (f"datasets {_named(h.datasets)}", pl.col("dataset").is_in(h.datasets) if isinstance(h.datasets, list) else None),
        (f"not {', '.join(banned)}", ~pl.col("dataset").is_in(banned) if banned else None),
        ("sex known", pl.col("sex").is_not_null() if h.sex or "sex" in cohort.calibrate else None),
        (f"sex {h.sex}", pl.col("sex") == h.sex if h.sex else None),
        ("age known", pl.col("age").is_not_null() if h.age or "age" in cohort.calibrate else None),
        (f"age {h.age}", _within("age", h.age) if h.age else None),
        ("smoking known", pl.col("smoking").is_not_null() if h.smoking or "smoking" in cohort.calibrate else None),
        (f"smoking {_named(h.smoking)}", pl.col("smoking").is_in(h.smoking) if h.smoking else None),
    ]  # fmt: skip
    return _narrow(stock.hosts, "hosts", steps)


def _named(values: Sequence[str] | str | None) -> str:
    return values if isinstance(values, str) else ", ".join(values or ())


def _count(wanted: str) -> pl.Expr | None:
    n = pl.col("n_nodules_in_patient")
    return {"any": None, "single": n == 1, "multiple": n >= 2}[wanted]


def _narrow(
    frame: pl.DataFrame, of: str, steps: Sequence[tuple[str, pl.Expr | None]]
) -> tuple[pl.DataFrame, list[Step]]:
    told: list[Step] = []
    for name, condition in steps:
        if condition is None and told:
            continue
        if condition is not None:
            frame = frame.filter(condition)
        told.append(Step(of, name, frame.height))
    return frame, told


def never_stating(stock: Stock, cohort: Cohort, column: str) -> list[str]:
    """Datasets of the host pool that never state a column (age, sex, smoking): they cannot fill its strata."""
    hosts = stock.hosts
    if isinstance(cohort.hosts.datasets, list):
        hosts = hosts.filter(pl.col("dataset").is_in(cohort.hosts.datasets))
    bare = hosts.group_by("dataset").agg(pl.col(column).is_null().all()).filter(pl.col(column))
    return sorted(bare["dataset"].to_list())
