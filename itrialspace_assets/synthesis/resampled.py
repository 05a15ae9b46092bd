"""A Fréchet distance at equal numbers of images, how far two halves of the real set lie apart, and limits by scan.

A distance grows as images get fewer, so sets are compared at one number of images a side, and the yardstick is the
distance of two halves of the real set at the same number. Knows features and scans; no table and no volume.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from itrialspace_assets.synthesis.fidelity import Floats

#: Draws of halves, and of scans; of features of many dimensions, whose eigenvalues take seconds, fewer (ours).
DRAWS, FEW_DRAWS, MANY_DIMENSIONS = 200, 10, 256
#: Fewer images a side have no covariance that could be halved and drawn again (ours).
LEAST_IMAGES = 2
#: Numbers of sums of squares that are held at once (ours): 64 MiB.
_AT_ONCE = 1 << 23
Features = npt.NDArray[np.floating]


@dataclass(frozen=True)
class ImageSet:
    """Images with the scan that each is of, and by plane the features (n, d) of the slices of each image."""

    scans: tuple[str, ...]
    planes: tuple[tuple[Features, ...], ...]


@dataclass(frozen=True)
class MatchedDistance:
    """A distance at ``images`` a side, in each plane and then their mean (P + 1,); NaN: see ``flag``.

    Attributes:
        images: of each side.
        dimensions: of a feature vector.
        matched: mean over draws of so many images of both sets.
        low: lower limit, from resampled scans.
        high: upper limit.
        floor: median distance of two halves of the real set, of so many images each.
        floor_low: lower end of 95 of 100 such distances.
        floor_high: upper end.
        flag: why there is no value, or why it should not be trusted.
    """

    images: int
    dimensions: int
    matched: Floats
    low: Floats
    high: Floats
    floor: Floats
    floor_low: Floats
    floor_high: Floats
    flag: str | None


def matched(reference: ImageSet, compared: ImageSet, seed: np.random.SeedSequence) -> MatchedDistance:
    """Compare two sets at the number of images of the smaller, at most half of the reference.

    Args:
        reference: the real set.
        compared: the other one.
        seed: of the draws.
    """
    sizes = len(reference.scans), len(compared.scans)
    images = min(sizes[0] // 2, sizes[1])
    first = reference.planes[0][0]
    dimensions = first.shape[1]
    none = np.full(len(reference.planes) + 1, np.nan)
    if images < LEAST_IMAGES:
        few = f"{sizes[0]} and {sizes[1]} images: too few for halves of {LEAST_IMAGES} or more"
        return MatchedDistance(images, dimensions, none, none, none, none, none, none, few)
    draws = DRAWS if dimensions <= MANY_DIMENSIONS else FEW_DRAWS
    rng = np.random.default_rng(seed)
    halves = rng.permuted(np.tile(np.arange(sizes[0]), (draws, 1)), axis=1)
    others = rng.permuted(np.tile(np.arange(sizes[1]), (draws, 1)), axis=1)
    first_half, second_half = (_chosen(h, sizes[0]) for h in (halves[:, :images], halves[:, images : 2 * images]))
    other = _chosen(others[:, :images], sizes[1])
    again = _by_scan(reference.scans, draws, rng), _by_scan(compared.scans, draws, rng)
    values, floors, drawn = [], [], []
    for real, made in zip(reference.planes, compared.planes, strict=True):
        centre = real[0].mean(axis=0, dtype=np.float64)  # sums of squares about a common centre lose no digits
        of_real = _moments(real, np.concatenate([first_half, second_half, again[0]]), centre)
        of_made = _moments(made, np.concatenate([other, again[1]]), centre)
        a, b, c = (slice(i * draws, (i + 1) * draws) for i in range(3))
        values.append(_distances(of_real, a, of_made, a))
        floors.append(_distances(of_real, a, of_real, b))
        drawn.append(_distances(of_real, c, of_made, b))
    value, floor, resampled = (np.stack([*x, np.mean(x, axis=0)]) for x in (values, floors, drawn))
    low, middle, high = np.quantile(resampled, [0.025, 0.5, 0.975], axis=1)
    floor_low, floor_middle, floor_high = np.quantile(floor, [0.025, 0.5, 0.975], axis=1)
    mean = value.mean(axis=1)
    slices = images * len(first)
    singular = (
        f"{slices} slices a side, no more than the {dimensions} dimensions of a feature: covariances are singular"
    )
    # a resample holds scans twice, which by itself moves distances: so limits are its spread about its own middle
    return MatchedDistance(
        images,
        dimensions,
        mean,
        np.maximum(mean + low - middle, 0.0),
        mean + high - middle,
        floor_middle,
        floor_low,
        floor_high,
        singular if slices <= dimensions else None,
    )


def _chosen(places: npt.NDArray[np.int64], size: int) -> Floats:
    """How often each image is drawn (R, images)."""
    out = np.zeros((len(places), size))
    np.put_along_axis(out, places, 1.0, axis=1)
    return out


def _by_scan(scans: Sequence[str], draws: int, rng: np.random.Generator) -> Floats:
    """How often each image is drawn (R, images) if as many scans as there are are drawn, with replacement."""
    names, of = np.unique(np.asarray(scans), return_inverse=True)
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    return np.asarray(times[:, of], dtype=np.float64)


def _moments(features: Sequence[Features], weights: Floats, centre: Floats) -> tuple[Floats, Floats]:
    """Mean (R, d) and covariance (R, d, d) of images taken so often.

    Args:
        features: of each image (n, d).
        weights: how often each is taken (R, images).
        centre: about which squares are summed (d,).
    """
    parts = [np.asarray(f, dtype=np.float64) - centre for f in features]
    d, count = len(centre), weights @ np.array([len(p) for p in parts], dtype=np.float64)
    mean = weights @ np.stack([p.sum(axis=0) for p in parts]) / count[:, None]
    squares, step = np.empty((len(weights), d, d)), max(1, _AT_ONCE // (len(parts) * d))
    for first in range(0, d, step):
        some = slice(first, first + step)
        squares[:, some] = np.tensordot(weights, np.stack([p[:, some].T @ p for p in parts]), 1)
    squares -= mean[:, :, None] * mean[:, None, :] * count[:, None, None]
    return mean + centre, squares / np.maximum(count - 1, 1)[:, None, None]


def _distances(a: tuple[Floats, Floats], at: slice, b: tuple[Floats, Floats], there: slice) -> Floats:
    """Fréchet distance of each draw (R,), see ``fidelity.frechet_distance``."""
    (mean_a, cov_a), (mean_b, cov_b) = (a[0][at], a[1][at]), (b[0][there], b[1][there])
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))[:, None, :]) @ vectors.swapaxes(1, 2)
    both = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0)).sum(axis=1)
    trace = np.trace(cov_a, axis1=1, axis2=2) + np.trace(cov_b, axis1=1, axis2=2)
    return np.asarray(np.maximum(((mean_a - mean_b) ** 2).sum(axis=1) + trace - 2 * both, 0.0))
