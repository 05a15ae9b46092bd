"""Aims: what each case of an arm is to be, before anybody is chosen for it.

Turns a cohort and its site into laws of size and lobe and into host strata, and gives every case its targets by quota.
Knows no donor and no host.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from itrialspace_assets.base.errors import TrialError
from itrialspace_assets.base.seeds import uniform
from itrialspace_assets.imaging.anatomy import LOBES, SIZE_BUCKETS, SIZE_EDGES, SIZE_RANGES
from itrialspace_assets.trials.assignment import Floats, Ints
from itrialspace_assets.trials.model import Cohort, LogNormal, SizeLevel
from itrialspace_assets.trials.quotas import balanced_sequence, period_of, quota_sequence
from itrialspace_assets.trials.sites import Site

#: Range (mm) of each size level: the six buckets, and one above 20 mm of some sites (docs/facts/trials.md#sites).
SIZE_LEVEL_RANGES: dict[str, tuple[float, float]] = SIZE_RANGES | {">20mm": (20.0, 60.0)}
#: Stands for "no bound" of a diameter or a clearance, mm.
FAR = 1e9


@dataclass(frozen=True)
class Stratum:
    """Which hosts of the pool a case may have: of one sex, and of an age band (years, upper bound out)."""

    sex: str | None = None
    age: tuple[float, float] | None = None

    def __str__(self) -> str:
        sex = f"sex {self.sex}" if self.sex else ""
        age = f"age {self.age[0]:g}-{self.age[1]:g}" if self.age else ""
        return ", ".join(filter(None, (sex, age))) or "any host"


@dataclass(frozen=True)
class Aims:
    """What each of n cases is to be.

    Attributes:
        label: 1 malignant, 0 benign, -1 left open, shape (n,).
        present: False for a clean case, shape (n,).
        size: index into ``size_levels``, -1 left open, shape (n,).
        size_levels: names of the size levels.
        low: least wanted diameter in mm, -``FAR`` if left open, shape (n,).
        high: greatest wanted diameter in mm, ``FAR`` if left open, shape (n,); equal to ``low`` where the diameter
            itself is given.
        lobe: index into ``LOBES``, -1 left open, shape (n,).
        stratum: index into ``strata``, shape (n,).
        strata: the host strata.
    """

    label: Ints
    present: npt.NDArray[np.bool_]
    size: Ints
    size_levels: tuple[str, ...]
    low: Floats
    high: Floats
    lobe: Ints
    stratum: Ints
    strata: tuple[Stratum, ...]

    @property
    def exact(self) -> npt.NDArray[np.bool_]:
        """Whether a case's diameter itself is given, shape (n,)."""
        return np.asarray(self.low == self.high)


def size_law(cohort: Cohort, site: Site | None) -> dict[str, float] | None:
    """Shares of the size levels that a cohort asks for; None if sizes are left open.

    Raises:
        TrialError: the site is to be met but states no sizes.
    """
    if isinstance(cohort.sizes, LogNormal):
        law = cohort.sizes
        edges = np.log(np.clip([law.min_mm, *SIZE_EDGES, law.max_mm], law.min_mm, law.max_mm))
        mass = np.diff(ndtr((edges - law.mean_log_mm) / law.std_log_mm))
        return {b: float(m) for b, m in zip(SIZE_BUCKETS, mass / mass.sum(), strict=True) if m > 0}
    if cohort.sizes is not None:
        return {str(k): v for k, v in cohort.sizes.items()}
    if "size" in cohort.calibrate:
        return {str(k): v for k, v in _stated(site, "sizes").items()}
    return None


def lobe_law(cohort: Cohort, site: Site | None, shared: bool = False) -> dict[str, float] | None:
    """Shares of target lobes that a cohort asks for; None if they are left open.

    Args:
        cohort: what is asked.
        site: its site, if it names one.
        shared: whether the arms of the trial share their lobes; they then need a law.

    Raises:
        TrialError: the site is to be met but states no lobes.
    """
    if cohort.lobes is not None:
        return {str(k): v for k, v in cohort.lobes.items()}
    if "lobe" in cohort.calibrate:
        return {str(k): v for k, v in _stated(site, "lobes").items()}
    if shared and cohort.placement.lobe is None:  # the site's, else even shares
        stated = site.lobes.value if site and site.lobes else dict.fromkeys(LOBES, 1 / len(LOBES))
        return {str(k): v for k, v in stated.items()}
    return None


def _stated(site: Site | None, name: str) -> dict[str, float]:
    value = getattr(site, name) if site else None
    if value is None:
        raise TrialError(f"calibrate: the site states no {name}; leave it out or give your own shares")
    return dict(value.value)


def host_strata(cohort: Cohort, site: Site | None) -> tuple[list[Stratum], list[list[float]]]:
    """Host strata that a calibration asks for: sex by age band, and the shares of sex and of age bands.

    Raises:
        TrialError: the site states no such marginal.
    """
    sexes: list[tuple[str | None, float]] = [(None, 1.0)]
    ages: list[tuple[tuple[float, float] | None, float]] = [(None, 1.0)]
    if "sex" in cohort.calibrate:
        if site is None or site.male is None:
            raise TrialError("calibrate: the site states no share of men")
        sexes = [("M", site.male.value), ("F", 1 - site.male.value)]
    if "age" in cohort.calibrate:
        bands = site.age_bands() if site else None
        if bands is None:
            raise TrialError("calibrate: the site states no mean and spread of age")
        ages = [((a, b), share) for a, b, share in bands]
    strata = [Stratum(sex, age) for sex, _ in sexes for age, _ in ages]
    return strata, [[s for _, s in sexes], [a for _, a in ages]]


def aims_of(cohort: Cohort, site: Site | None, n: int, share: Sequence[str], place: npt.NDArray[np.uint64]) -> Aims:
    """What each of ``n`` cases is to be, by house-monotone quotas.

    Args:
        cohort: what is asked.
        site: its site, if it names one.
        n: cases.
        share: what the arms of the trial have in common.
        place: raw draws for wanted diameters where arms share sizes, shape (n,).

    Raises:
        TrialError: the site states no value of something that is to be met.
    """
    label, present = np.full(n, -1, np.int64), np.ones(n, bool)
    size_shares, lobe_shares = size_law(cohort, site), lobe_law(cohort, site, "lobe" in share)
    size_levels = tuple(k for k, v in (size_shares or {}).items() if v > 0)
    context, period = np.zeros(n, np.int64), 1
    p = cohort.prevalence
    if p is not None and p.value is not None:
        first = quota_sequence([p.value, 1 - p.value], n)
        if p.of == "nodule":
            present = first == 0
        else:
            label = 1 - first
        if "size" not in share:  # sizes that arms share may not depend on an arm's prevalence
            context, period = first, period_of([p.value, 1 - p.value])
    elif cohort.label is not None:
        label[:] = cohort.label
    size = np.full(n, -1, np.int64)
    if size_shares is not None:
        weights = [size_shares[k] for k in size_levels]
        size = balanced_sequence(weights, context, n, period)
        context, period = context * len(size_levels) + size, period * period_of(weights)
    if p is not None and p.by_size is not None:
        label = _label_by_size(p.by_size, site, size, size_levels)
    lobe = np.full(n, -1, np.int64)
    if lobe_shares is not None:
        lobes = [x for x in LOBES if lobe_shares.get(x, 0) > 0]
        if n:
            drawn = balanced_sequence([lobe_shares[x] for x in lobes], context, n, period)
            lobe = np.array([LOBES.index(x) for x in lobes])[drawn]
    elif cohort.placement.lobe is not None:
        lobe[:] = LOBES.index(cohort.placement.lobe)
    strata, (sex_shares, age_shares) = host_strata(cohort, site)
    sex = balanced_sequence(sex_shares, np.maximum(label, 0), n, 2) if len(sex_shares) > 1 else np.zeros(n, np.int64)
    age = balanced_sequence(age_shares, sex, n, period_of(sex_shares)) if len(age_shares) > 1 else np.zeros(n, np.int64)
    low, high = _diameters(cohort, site, size, size_levels)
    if size_levels and "size" in share:  # a diameter for each case number, a little inside its level
        low = low + (0.02 + 0.96 * uniform(place)) * (high - low)
        high = low
    stratum = sex * len(age_shares) + age
    return Aims(label, present, size, size_levels, low, high, lobe, stratum, tuple(strata))


def _label_by_size(
    by_size: Mapping[SizeLevel, float] | Literal["site"], site: Site | None, size: Ints, size_levels: tuple[str, ...]
) -> Ints:
    """Labels by a quota of its own for each size level; -1 where a size is left open."""
    risks = _stated(site, "malignancy_by_size") if by_size == "site" else {str(k): v for k, v in by_size.items()}
    label = np.full(len(size), -1, np.int64)
    for i, name in enumerate(size_levels):
        if name not in risks:
            raise TrialError(f"prevalence.by_size: expected a share for {name}, got {', '.join(risks)}")
        at = np.flatnonzero(size == i)
        label[at] = 1 - quota_sequence([risks[name], 1 - risks[name]], len(at))
    return label


def _diameters(cohort: Cohort, site: Site | None, size: Ints, size_levels: tuple[str, ...]) -> tuple[Floats, Floats]:
    """Least and greatest wanted diameter (mm) of each case, by its size level."""
    if not size_levels:
        return np.full(len(size), -FAR), np.full(len(size), FAR)
    floor = cohort.min_diameter_mm
    if site and site.size_floor_mm and "size" in cohort.calibrate:
        floor = site.size_floor_mm.value
    bounds = np.array([(max(SIZE_LEVEL_RANGES[k][0], floor), SIZE_LEVEL_RANGES[k][1]) for k in size_levels])
    return bounds[size, 0], bounds[size, 1]
