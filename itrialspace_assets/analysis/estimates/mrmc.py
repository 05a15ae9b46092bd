"""Reader studies: areas under the ROC curve of several readers and modalities, with cases and readers as samples.

Obuchowski and Rockette's analysis with Hillis' degrees of freedom, readers random or fixed; Gallas' one-shot
U-statistics; DeLong's test of each reader. Sources: docs/facts/evaluation.md#reader-studies. Arrays only; what cannot
be estimated is null with its reason.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from itrialspace_assets.analysis.estimates.case_pairs import CasePairs
from itrialspace_assets.analysis.estimates.cells import Floats
from itrialspace_assets.analysis.estimates.reader_study import ReaderStudy

#: Fewer readers say too little about a population of readers (ours).
LEAST_READERS = 4
Readers = Literal["random", "fixed"]


@dataclass(frozen=True)
class Test:
    """A number with standard error, degrees of freedom (null: normal), two-sided p and limits, or why it has none."""

    estimate: float | None
    se: float | None
    df: float | None
    p: float | None
    low: float | None
    high: float | None
    reason: str | None


@dataclass(frozen=True)
class ReaderArea:
    """Area of one reader under one modality."""

    modality: str
    reader: str
    auc: float | None


@dataclass(frozen=True)
class ModalityArea:
    """Area of a modality over its readers; the interval is of the U-statistics (random readers and cases)."""

    modality: str
    auc: Test


@dataclass(frozen=True)
class ReaderDifference:
    """Difference of one reader between two modalities, with DeLong's standard error."""

    reader: str
    difference: Test


@dataclass(frozen=True)
class ModalityDifference:
    """One modality minus another.

    Attributes:
        modality: the first.
        other: the second.
        random_readers: Obuchowski-Rockette, readers and cases random, Hillis' degrees of freedom.
        fixed_readers: the same for these readers alone, cases random.
        u_statistics: one-shot U-statistics, readers and cases random.
        by_reader: DeLong, each reader alone.
    """

    modality: str
    other: str
    random_readers: Test
    fixed_readers: Test
    u_statistics: Test
    by_reader: tuple[ReaderDifference, ...]


@dataclass(frozen=True)
class Components:
    """Obuchowski-Rockette: jackknife variance and covariances of areas, mean squares, and the test of all modalities.

    ``cov1``: same reader, other modality; ``cov2``: other reader, same modality; ``cov3``: both other. A covariance
    between readers is null with one reader, one between modalities with one modality.
    """

    variance: float | None
    cov1: float | None
    cov2: float | None
    cov3: float | None
    ms_modality: float | None
    ms_interaction: float | None
    f: float | None
    df: float | None
    p: float | None


@dataclass(frozen=True)
class StudyResult:
    """What a reader study says. ``reason``: why there is nothing, or no analysis of Obuchowski and Rockette."""

    n_readers: int
    n_diseased: int
    n_healthy: int
    areas: tuple[ReaderArea, ...]
    modalities: tuple[ModalityArea, ...]
    components: Components | None
    comparisons: tuple[ModalityDifference, ...]
    reason: str | None


def analyse(study: ReaderStudy, readers: Readers = "random", alpha: float = 0.05) -> StudyResult:
    """The analysis of a reader study.

    Args:
        study: scores and truth.
        readers: random: they stand for a population of readers, which takes at least four; fixed: conclusions are
            about these readers.
        alpha: 0.05 gives 95 % intervals.
    """
    n1 = int(study.truth.sum())
    n0 = len(study.truth) - n1
    names, r = study.modalities, len(study.readers)
    if not n1 or not n0 or not r:
        reason = "no reading" if not r else "no diseased case" if not n1 else "no case without disease"
        return StudyResult(r, n1, n0, (), (), None, (), reason)
    pairs = CasePairs.of(study.score, study.truth)
    areas = pairs.areas()
    why_fixed = (
        "the readers are fixed"
        if readers == "fixed"
        else f"random readers need {LEAST_READERS} or more, got {r}"
        if r < LEAST_READERS
        else None
    )
    unread = int((~np.isfinite(study.score)).sum())
    reason = f"{unread} readings are missing: Obuchowski-Rockette and DeLong need every reader on every case" * (
        unread > 0
    )
    model = None if unread else _Model.of(areas, pairs)
    return StudyResult(
        n_readers=r,
        n_diseased=n1,
        n_healthy=n0,
        areas=tuple(
            ReaderArea(m, reader, _finite(areas[i, k]))
            for i, m in enumerate(names)
            for k, reader in enumerate(study.readers)
        ),
        modalities=tuple(ModalityArea(m, _u_area(pairs, areas, i, why_fixed, alpha)) for i, m in enumerate(names)),
        components=None if model is None else model.components(),
        comparisons=tuple(
            ModalityDifference(
                names[i],
                names[j],
                random_readers=_none(reason) if model is None else model.random(i, j, why_fixed, alpha),
                fixed_readers=_none(reason) if model is None else model.fixed(i, j, alpha),
                u_statistics=_u_difference(pairs, areas, i, j, why_fixed, alpha),
                by_reader=tuple(
                    ReaderDifference(name, _none(reason) if model is None else model.of_reader(i, j, k, alpha))
                    for k, name in enumerate(study.readers)
                ),
            )
            for i in range(len(names))
            for j in range(i + 1, len(names))
        ),
        reason=reason or None,
    )


def _u_area(pairs: CasePairs, areas: Floats, i: int, why_not: str | None, alpha: float) -> Test:
    reason = why_not or ("one reader" if pairs.shape[1] < 2 else None)
    return _u_test(pairs.modality(i), pairs.covariance(i, i), areas[i], reason, alpha, null=0.5)


def _u_difference(pairs: CasePairs, areas: Floats, i: int, j: int, why_not: str | None, alpha: float) -> Test:
    variance = pairs.covariance(i, i) + pairs.covariance(j, j) - 2 * pairs.covariance(i, j)
    reason = why_not or ("one reader" if pairs.shape[1] < 2 else None)
    return _u_test(pairs.modality(i) - pairs.modality(j), variance, areas[i] - areas[j], reason, alpha, null=0.0)


def _u_test(estimate: float, variance: float, by_reader: Floats, reason: str | None, alpha: float, null: float) -> Test:
    """A test of an area or a difference of areas against ``null``, with Hillis' degrees of freedom."""
    if reason or not np.isfinite(variance) or variance <= 0:
        why = reason or "no pairs of readings" * (not np.isfinite(variance)) or "no variance could be estimated"
        return Test(_finite(estimate), None, None, None, None, None, why)
    between = float(by_reader.var(ddof=1)) / len(by_reader)
    df = (len(by_reader) - 1) * (variance / between) ** 2 if between > 0 else np.inf
    return _test(estimate, float(np.sqrt(variance)), df, alpha, null)


@dataclass(frozen=True)
class _Model:
    """Obuchowski and Rockette's model of the areas (t, r), with the jackknife and DeLong covariances of all (K, K)."""

    areas: Floats
    jackknife: Floats
    delong: Floats

    @classmethod
    def of(cls, areas: Floats, pairs: CasePairs) -> "_Model":
        flat = areas.reshape(-1, 1)
        by_positive = pairs.won.by_diseased / pairs.there.by_diseased
        by_negative = pairs.won.by_healthy / pairs.there.by_healthy
        n1, n0 = by_positive.shape[1], by_negative.shape[1]
        without = [(n * flat - part) / (n - 1) for n, part in ((n1, by_positive), (n0, by_negative)) if n > 1]
        left = np.concatenate(without, axis=1) if len(without) == 2 else np.full((len(flat), 1), np.nan)
        off = left - left.mean(axis=1, keepdims=True)
        n = n1 + n0
        jackknife = (n - 1) / n * (off @ off.T)
        delong = sum(
            (dev := part - flat) @ dev.T / (count * max(count - 1, 1))
            for part, count in ((by_positive, n1), (by_negative, n0))
        )
        enough = n1 > 1 and n0 > 1
        return cls(areas, jackknife, delong if enough else np.full_like(jackknife, np.nan))

    def _covariances(self) -> tuple[float, float, float, float]:
        """Mean variance and Cov1 to Cov3; NaN where there is no such pair."""
        t, r = self.areas.shape
        modality, reader = np.divmod(np.arange(t * r), r)
        same = modality[:, None] == modality, reader[:, None] == reader
        kinds = (same[0] & same[1], ~same[0] & same[1], same[0] & ~same[1], ~same[0] & ~same[1])
        found = [float(self.jackknife[k].mean()) if k.any() else np.nan for k in kinds]
        return found[0], found[1], found[2], found[3]

    def _mean_squares(self) -> tuple[float, float]:
        """Of modalities, and of modality by reader; NaN where there is one level."""
        t, r = self.areas.shape
        mean, means, of_reader = self.areas.mean(), self.areas.mean(axis=1), self.areas.mean(axis=0)
        left = self.areas - means[:, None] - of_reader + mean
        modality = r * float(((means - mean) ** 2).sum()) / (t - 1) if t > 1 else np.nan
        interaction = float((left**2).sum()) / ((t - 1) * (r - 1)) if t > 1 and r > 1 else np.nan
        return modality, interaction

    def _random_error(self) -> tuple[float, float]:
        """Denominator of F, and Hillis' degrees of freedom."""
        t, r = self.areas.shape
        _, _, cov2, cov3 = self._covariances()
        interaction = self._mean_squares()[1]
        denominator = interaction + max(r * (cov2 - cov3), 0.0)
        df = denominator**2 * (t - 1) * (r - 1) / interaction**2 if interaction > 0 else np.inf
        return denominator, df

    def components(self) -> Components:
        """Variances, mean squares and the test of all modalities with random readers."""
        t, r = self.areas.shape
        modality, interaction = self._mean_squares()
        f = df = p = None
        if r > 1 and t > 1:
            denominator, freedom = self._random_error()
            if denominator > 0:
                f = modality / denominator
                df = _finite(freedom)
                p = float(special.fdtrc(t - 1, freedom, f) if df is not None else special.chdtrc(t - 1, (t - 1) * f))
        variance, cov1, cov2, cov3 = map(_finite, self._covariances())
        return Components(variance, cov1, cov2, cov3, _finite(modality), _finite(interaction), f, df, p)

    def random(self, i: int, j: int, why_not: str | None, alpha: float) -> Test:
        """Difference of two modalities, readers and cases random.

        Args:
            i: number of the first modality.
            j: number of the other.
            why_not: why readers are not random; None: they are.
            alpha: 0.05 gives 95 % limits.
        """
        difference = float(self.areas[i].mean() - self.areas[j].mean())
        r = self.areas.shape[1]
        if why_not or r < 2:
            return Test(_finite(difference), None, None, None, None, None, why_not or "one reader")
        denominator, df = self._random_error()
        return _or_none(difference, 2 / r * denominator, df, alpha)

    def fixed(self, i: int, j: int, alpha: float) -> Test:
        """Difference of two modalities for these readers, cases random.

        Args:
            i: number of the first modality.
            j: number of the other.
            alpha: 0.05 gives 95 % limits.
        """
        difference = float(self.areas[i].mean() - self.areas[j].mean())
        r = self.areas.shape[1]
        variance, cov1, cov2, cov3 = self._covariances()
        between = (r - 1) * max(cov2 - cov3, 0.0) if r > 1 else 0.0
        return _or_none(difference, 2 / r * (variance - cov1 + between), np.inf, alpha)

    def of_reader(self, i: int, j: int, k: int, alpha: float) -> Test:
        """Difference of one reader between two modalities (DeLong).

        Args:
            i: number of the first modality.
            j: number of the other.
            k: number of the reader.
            alpha: 0.05 gives 95 % limits.
        """
        r = self.areas.shape[1]
        a, b = i * r + k, j * r + k
        variance = float(self.delong[a, a] + self.delong[b, b] - 2 * self.delong[a, b])
        return _or_none(float(self.areas[i, k] - self.areas[j, k]), variance, np.inf, alpha)


def _or_none(difference: float, variance: float, df: float, alpha: float) -> Test:
    if not np.isfinite(variance):
        return Test(_finite(difference), None, None, None, None, None, "fewer than two cases of a class")
    if variance <= 1e-15:  # below rounding: no score differs where it matters
        return Test(_finite(difference), None, None, None, None, None, "no variation between cases")
    return _test(difference, float(np.sqrt(variance)), df, alpha, 0.0)


def _test(estimate: float, se: float, df: float, alpha: float, null: float) -> Test:
    """A two-sided test with t, or the normal distribution where df is infinite."""
    distance = abs(estimate - null) / se
    if np.isfinite(df):
        critical, tail = special.stdtrit(df, 1 - alpha / 2), special.stdtr(df, -distance)
    else:
        critical, tail = special.ndtri(1 - alpha / 2), special.ndtr(-distance)
    half, p = float(critical) * se, float(2 * tail)
    return Test(estimate, se, _finite(df), p, estimate - half, estimate + half, None)


def _none(reason: str) -> Test:
    return Test(None, None, None, None, None, None, reason)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
