"""What each case of an arm is to be: size and lobe laws, host strata, and the targets of every case by quota."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from itrialspace_assets.base.errors import TrialError
from itrialspace_assets.base.seeds import uniform
from itrialspace_assets.imaging.anatomy import LOBES, SIZE_BUCKETS, SIZE_EDGES, SIZE_RANGES
from itrialspace_assets.trials.allocate import Floats, Ints
from itrialspace_assets.trials.model import Cohort, LogNormal
from itrialspace_assets.trials.quotas import balanced_sequence, period_of, quota_sequence
from itrialspace_assets.trials.sites import Site

#: Range (mm) of each size level; the open ends as the six buckets have them, and the alias that some sites use.
RANGES: dict[str, tuple[float, float]] = SIZE_RANGES | {">20mm": (20.0, 60.0)}


_FAR = 1e9


@dataclass(frozen=True)
class Aims:
    """What each case of an arm is to be; arrays of shape (n,), -1 or NaN where it is left open."""

    label: Ints
    present: npt.NDArray[np.bool_]
    size: Ints  # index into ``levels``
    levels: tuple[str, ...]
    low: Floats  # wanted diameter, mm
    high: Floats
    lobe: Ints  # index into LOBES
    stratum: Ints  # host stratum
    strata: tuple["Stratum", ...]


@dataclass(frozen=True)
class Stratum:
    """Which hosts a case may have, beyond the pool: sex, age band (years, upper out)."""

    sex: str | None = None
    age: tuple[float, float] | None = None

    def __str__(self) -> str:
        return (
            ", ".join(
                filter(
                    None,
                    (f"sex {self.sex}" if self.sex else "", f"age {self.age[0]:g}-{self.age[1]:g}" if self.age else ""),
                )
            )
            or "any host"
        )


def size_law(cohort: Cohort, site: Site | None) -> dict[str, float] | None:
    """Shares of size levels that a cohort asks for; None if sizes are left open.

    Raises:
        TrialError: the site is to be met but states no sizes.
    """
    if isinstance(cohort.sizes, LogNormal):
        law = cohort.sizes
        edges = np.log(np.clip([law.min_mm, *SIZE_EDGES, law.max_mm], law.min_mm, law.max_mm))
        mass = np.diff(stats.norm(law.mean_log_mm, law.std_log_mm).cdf(edges))
        return {b: float(m) for b, m in zip(SIZE_BUCKETS, mass / mass.sum(), strict=True) if m > 0}
    if cohort.sizes is not None:
        return {str(k): v for k, v in cohort.sizes.items()}
    if "size" in cohort.calibrate:
        return {str(k): v for k, v in _stated(site, "sizes").items()}
    return None


def lobe_law(cohort: Cohort, site: Site | None, shared: bool = False) -> dict[str, float] | None:
    """Shares of target lobes that a cohort asks for; None if they are left open."""
    if cohort.lobes is not None:
        return {str(k): v for k, v in cohort.lobes.items()}
    if "lobe" in cohort.calibrate:
        return {str(k): v for k, v in _stated(site, "lobes").items()}
    if shared and cohort.placement.lobe is None:  # arms that share lobes need a law; the site's, else even shares
        return (
            {str(k): v for k, v in site.lobes.value.items()}
            if site and site.lobes
            else dict.fromkeys(LOBES, 1 / len(LOBES))
        )
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
    """
    label, present = np.full(n, -1, np.int64), np.ones(n, bool)
    sizes, lobes = size_law(cohort, site), lobe_law(cohort, site, "lobe" in share)
    p = cohort.prevalence
    context, period = np.zeros(n, np.int64), 1
    size = np.full(n, -1, np.int64)
    levels = tuple(k for k, v in (sizes or {}).items() if v > 0)
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
    if sizes is not None:
        weights = [sizes[k] for k in levels]
        size = balanced_sequence(weights, context, n, period)
        context, period = context * len(levels) + size, period * period_of(weights)
    if p is not None and p.by_size is not None:
        risks = (
            _stated(site, "malignancy_by_size") if p.by_size == "site" else {str(k): v for k, v in p.by_size.items()}
        )
        for i, name in enumerate(levels):
            at = np.flatnonzero(size == i)
            if name not in risks:
                raise TrialError(f"prevalence.by_size: expected a share for {name}, got {', '.join(risks)}")
            label[at] = 1 - quota_sequence([risks[name], 1 - risks[name]], len(at))
    lobe = np.full(n, -1, np.int64)
    if lobes is not None:
        named = [x for x in LOBES if lobes.get(x, 0) > 0]
        weights = [lobes[x] for x in named]
        lobe = np.array([LOBES.index(x) for x in named])[balanced_sequence(weights, context, n, period)] if n else lobe
        period *= period_of(weights)
    elif cohort.placement.lobe is not None:
        lobe[:] = LOBES.index(cohort.placement.lobe)
    strata, (sex_shares, age_shares) = host_strata(cohort, site)
    sex = balanced_sequence(sex_shares, np.maximum(label, 0), n, 2) if len(sex_shares) > 1 else np.zeros(n, np.int64)
    age = balanced_sequence(age_shares, sex, n, period_of(sex_shares)) if len(age_shares) > 1 else np.zeros(n, np.int64)
    low, high = np.full(n, -_FAR), np.full(n, _FAR)
    if levels:
        floor = (
            site.size_floor_mm.value
            if site and site.size_floor_mm and "size" in cohort.calibrate
            else cohort.min_diameter_mm
        )
        bounds = np.array([(max(RANGES[k][0], floor), RANGES[k][1]) for k in levels])
        low, high = bounds[size, 0], bounds[size, 1]
        if "size" in share:
            low = low + (0.02 + 0.96 * uniform(place)) * (high - low)
            high = low
    return Aims(label, present, size, levels, low, high, lobe, sex * len(age_shares) + age, tuple(strata))
