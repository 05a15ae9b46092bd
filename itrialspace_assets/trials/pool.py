"""The candidate pool: all donors with their row of the index, all hosts with the clearance of their lobes, as arrays.

Built once from the index and the host and donor tables, and sorted by id, so that nothing depends on the order of files
or rows. Filters give the pool of an arm, and count what is left after each constraint, so that an error can name the
constraint that leaves nothing. Assigns nothing to any case.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from itrialspace_assets.imaging.anatomy import LOBES, size_buckets
from itrialspace_assets.records.layout import PROCEDURAL
from itrialspace_assets.trials.model import Cohort, Donors, Hosts

#: A nodule's farthest voxel lies beyond its volume-equivalent radius by about this factor (lobulated shapes); ours.
REACH = 1.15
#: Filtered pools that are kept, of 2 MiB each; ours: donors and hosts of one cohort.
_KEPT = 2
#: Columns that planning draws by: of a donor, a host, a host's lobe, and of a donor's row of the index.
DONOR_COLUMNS = ("nodule_uid", "dataset", "scan_uid", "person_uid", "lobe", "diameter_mm", "cc_pct", "ml_pct", "ap_pct")
HOST_COLUMNS = ("scan_uid", "dataset", "person_uid", "age", "sex", "smoking")
LOBE_COLUMNS = ("scan_uid", "lobe", "fit_radius_mm")
NODULE_COLUMNS = (
    "nodule_uid",
    "label",
    "label_source",
    "population_type",
    "reinsertion_lung_zone",
    "central_peripheral",
    "reinsertion_pleural_dist_mm",
    "reinsertion_airway_dist_mm",
    "n_nodules_in_patient",
    "anatomy",
    "coordX",
    "coordY",
    "coordZ",
    "reinsertion_lobe",
)


@dataclass(frozen=True)
class PoolCount:
    """How many donors or hosts (``of``) are left after a constraint."""

    of: Literal["donors", "hosts"]
    constraint: str
    left: int


#: Donors or hosts, and what was left after each constraint.
Filtered = tuple[pl.DataFrame, list[PoolCount]]


@dataclass(frozen=True)
class CandidatePool:
    """What every trial draws from.

    Attributes:
        donors: rows of ``donors`` with those of ``nodules``, the columns that planning reads, by ``nodule_uid``.
        hosts: rows of ``hosts``, the columns that planning reads, by ``scan_uid``.
        lobe_clearance: radius (mm) of the largest sphere in each lobe of each host, shape (hosts, lobes), lobes in the
            order of ``LOBES``; 0 where a host has no such lobe.
        verified: false if hosts and donors are as the index declares them (``declared``), with no mask at hand.
        by_cohort: pools that were filtered last, by what they depend on.
    """

    donors: pl.DataFrame
    hosts: pl.DataFrame
    lobe_clearance: npt.NDArray[np.float64]
    verified: bool = True
    by_cohort: dict[str, Filtered] = field(default_factory=dict, repr=False, compare=False)

    def clearance_of(self, hosts: pl.DataFrame) -> npt.NDArray[np.float64]:
        """``lobe_clearance`` of some of the hosts, sorted by id, shape (hosts, lobes)."""
        return np.asarray(self.lobe_clearance[self.hosts["scan_uid"].search_sorted(hosts["scan_uid"]).to_numpy()])


def make_pool(
    nodules: pl.DataFrame, donors: pl.DataFrame, hosts: pl.DataFrame, host_lobes: pl.DataFrame
) -> CandidatePool:
    """Join the four tables; a donor that the index does not know is left out, unless it is procedural.

    Args:
        nodules: the index.
        donors: the donor store, of all datasets.
        hosts: the host store, of all datasets.
        host_lobes: its lobes.
    """
    of_donor = donors.select(DONOR_COLUMNS)
    drawn, cut = (of_donor.filter(c) for c in (pl.col("dataset") == PROCEDURAL, pl.col("dataset") != PROCEDURAL))
    ordered = hosts.select(HOST_COLUMNS).sort("scan_uid")
    rows = host_lobes.join(ordered.select("scan_uid").with_row_index("host"), on="scan_uid", how="inner")
    clearance = np.zeros((ordered.height, len(LOBES)))
    clearance[rows["host"].to_numpy(), lobe_index(rows["lobe"])] = rows["fit_radius_mm"].to_numpy()
    return CandidatePool(joined_donors(cut, drawn, nodules), ordered, clearance)


def joined_donors(cut: pl.DataFrame, drawn: pl.DataFrame, nodules: pl.DataFrame) -> pl.DataFrame:
    """Donors with what the index says of them, sorted by ``nodule_uid``.

    Args:
        cut: donors of the index.
        drawn: procedural donors, which are in no index.
        nodules: the index.
    """
    return pl.concat(
        [
            cut.join(nodules.select(NODULE_COLUMNS), on="nodule_uid", how="inner"),
            drawn.with_columns(anatomy=pl.lit("procedural"), reinsertion_lobe="lobe", label_source=pl.lit("none")),
        ],
        how="diagonal_relaxed",
    ).sort("nodule_uid")


def lobe_index(lobes: pl.Series) -> npt.NDArray[np.int64]:
    """Place of each lobe name in ``LOBES``, shape (n,)."""
    return lobes.replace_strict({x: i for i, x in enumerate(LOBES)}, return_dtype=pl.Int64).to_numpy()


def reach_mm(diameter_mm: npt.ArrayLike, clearance_mm: float) -> npt.NDArray[np.float64]:
    """Radius (mm) of the sphere that a lobe must hold: for a nodule, and for the free lung wanted around it."""
    return np.asarray(np.asarray(diameter_mm, dtype=np.float64) / 2 * REACH + clearance_mm)


def _within(column: str, bounds: tuple[float, float]) -> pl.Expr:
    return (pl.col(column) >= bounds[0]) & (pl.col(column) < bounds[1])


def _once(
    pool: CandidatePool, of: Literal["donors", "hosts"], cohort: Cohort, make: Callable[[], Filtered]
) -> Filtered:
    """A filtered pool and its counts (a list of one's own); arms of one cohort share the work."""
    if len(pool.by_cohort) >= _KEPT:  # the first is that of an earlier trial
        pool.by_cohort.pop(next(iter(pool.by_cohort)))
    key = of + cohort.model_dump_json(include={of, "exclude_training", "label", "prevalence", "calibrate", "placement"})
    if key not in pool.by_cohort:
        pool.by_cohort[key] = make()
    frame, counts = pool.by_cohort[key]
    return frame, list(counts)


def donor_pool(pool: CandidatePool, cohort: Cohort) -> Filtered:
    """Donors of a cohort, and how many are left after each constraint that does not depend on the case."""
    return _once(pool, "donors", cohort, lambda: _donors(pool, cohort))


def host_pool(pool: CandidatePool, cohort: Cohort) -> Filtered:
    """Hosts of a cohort, and how many are left after each constraint that does not depend on the case."""
    return _once(pool, "hosts", cohort, lambda: _hosts(pool, cohort))


def _donors(pool: CandidatePool, cohort: Cohort) -> Filtered:
    d: Donors = cohort.donors
    banned = [*d.exclude, *cohort.exclude_training]
    constraints: list[tuple[str, pl.Expr | None]] = [
        ("in the donor store", pl.col("dataset") != PROCEDURAL),
        (
            f"datasets {_named(d.datasets)}",
            pl.col("dataset").is_in(d.datasets) if isinstance(d.datasets, list) else None,
        ),
        (f"not {', '.join(banned)}", ~pl.col("dataset").is_in(banned) if banned else None),
        ("a known lobe", pl.col("lobe").is_in(list(LOBES))),
        ("a known place in it", pl.col("cc_pct").is_not_null() if cohort.placement.mode == "profile" else None),
        (f"label from {d.label_source}", pl.col("label_source") == d.label_source if d.label_source else None),
        (f"population {d.population}", pl.col("population_type") == d.population if d.population else None),
        (f"label {cohort.label}", pl.col("label") == cohort.label if cohort.label is not None else None),
        (
            "label known",
            pl.col("label").is_not_null() if cohort.prevalence and cohort.prevalence.of == "malignant" else None,
        ),
        (f"lobes {_named(d.lobes)}", pl.col("lobe").is_in(d.lobes) if d.lobes else None),
        (f"side {d.side}", pl.col("lobe").str.starts_with(d.side) if d.side else None),
        (f"zones {_named(d.zones)}", pl.col("reinsertion_lung_zone").is_in(d.zones) if d.zones else None),
        (
            f"{d.central_peripheral}",
            pl.col("central_peripheral") == d.central_peripheral if d.central_peripheral else None,
        ),
        (f"diameter {d.diameter_mm} mm", _within("diameter_mm", d.diameter_mm) if d.diameter_mm else None),
        (
            f"pleural distance {d.pleural_mm} mm",
            _within("reinsertion_pleural_dist_mm", d.pleural_mm) if d.pleural_mm else None,
        ),
        (f"{d.nodules_in_scan} nodule in its scan", _count(d.nodules_in_scan)),
        (
            f"one of {len(d.nodules or ())} listed nodules",
            pl.col("nodule_uid").is_in(d.nodules) if d.nodules is not None else None,
        ),
    ]
    found, counts = _narrow(pool.donors, "donors", constraints)
    if d.procedural == "never":
        return found, counts
    return _with_procedural(pool, cohort, found, counts)


def _with_procedural(pool: CandidatePool, cohort: Cohort, found: pl.DataFrame, counts: list[PoolCount]) -> Filtered:
    """The donors with procedural ones of sizes that have no donor, or procedural ones alone; those have no label."""
    d = cohort.donors
    drawn = pool.donors.filter(pl.col("dataset") == PROCEDURAL)
    if cohort.label is not None or (cohort.prevalence and cohort.prevalence.of == "malignant"):
        drawn = drawn.clear()
    if d.lobes:
        drawn = drawn.filter(pl.col("lobe").is_in(d.lobes))
    if d.nodules is not None:
        drawn = drawn.filter(pl.col("nodule_uid").is_in(d.nodules))
    if d.diameter_mm:
        drawn = drawn.filter(_within("diameter_mm", d.diameter_mm))
    if d.procedural == "only":
        return drawn, [*counts, PoolCount("donors", "procedural alone", drawn.height)]
    covered = set(size_buckets(found["diameter_mm"].to_numpy())) if found.height else set()
    gaps = [b not in covered for b in size_buckets(drawn["diameter_mm"].to_numpy())] if drawn.height else []
    whole = pl.concat([found, drawn.filter(pl.Series(gaps, dtype=pl.Boolean))]).sort("nodule_uid")
    return whole, [*counts, PoolCount("donors", "and procedural ones of sizes that it has none of", whole.height)]


def _hosts(pool: CandidatePool, cohort: Cohort) -> Filtered:
    h: Hosts = cohort.hosts
    banned = [*h.exclude, *cohort.exclude_training]
    constraints: list[tuple[str, pl.Expr | None]] = [
        ("in the host store", None),
        (
            f"datasets {_named(h.datasets)}",
            pl.col("dataset").is_in(h.datasets) if isinstance(h.datasets, list) else None,
        ),
        (f"not {', '.join(banned)}", ~pl.col("dataset").is_in(banned) if banned else None),
        ("sex known", pl.col("sex").is_not_null() if h.sex or "sex" in cohort.calibrate else None),
        (f"sex {h.sex}", pl.col("sex") == h.sex if h.sex else None),
        ("age known", pl.col("age").is_not_null() if h.age or "age" in cohort.calibrate else None),
        (f"age {h.age}", _within("age", h.age) if h.age else None),
        ("smoking known", pl.col("smoking").is_not_null() if h.smoking or "smoking" in cohort.calibrate else None),
        (f"smoking {_named(h.smoking)}", pl.col("smoking").is_in(h.smoking) if h.smoking else None),
        (
            f"one of {len(h.scans or ())} listed scans",
            pl.col("scan_uid").is_in(h.scans) if h.scans is not None else None,
        ),
    ]
    return _narrow(pool.hosts, "hosts", constraints)


def _named(values: Sequence[str] | str | None) -> str:
    return values if isinstance(values, str) else ", ".join(values or ())


def _count(wanted: str) -> pl.Expr | None:
    n = pl.col("n_nodules_in_patient")
    return {"any": None, "single": n == 1, "multiple": n >= 2}[wanted]


def _narrow(
    frame: pl.DataFrame, of: Literal["donors", "hosts"], constraints: Sequence[tuple[str, pl.Expr | None]]
) -> Filtered:
    counts: list[PoolCount] = []
    for name, condition in constraints:
        if condition is None and counts:
            continue
        if condition is not None:
            frame = frame.filter(condition)
        counts.append(PoolCount(of, name, frame.height))
    return frame, counts


def never_stating(pool: CandidatePool, cohort: Cohort, column: str) -> list[str]:
    """Datasets of a cohort's hosts that never state a column: they cannot fill its strata.

    Args:
        pool: all hosts.
        cohort: says which datasets its hosts are from.
        column: age, sex or smoking.
    """
    hosts = pool.hosts
    if isinstance(cohort.hosts.datasets, list):
        hosts = hosts.filter(pl.col("dataset").is_in(cohort.hosts.datasets))
    silent = hosts.group_by("dataset").agg(pl.col(column).is_null().all()).filter(pl.col(column))
    return sorted(silent["dataset"].to_list())
