"""Distances at equal numbers of images: against drawing sets by hand, with a floor that two real halves make."""

import numpy as np
import pytest

from itrialspace_assets.synthesis.fidelity import Moments, frechet_distance, moments
from itrialspace_assets.synthesis.resampled import ImageSet, _distances, _moments, matched

SEED = np.random.SeedSequence(4)


def images(seed: int, count: int, shift: float = 0.0, slices: int = 12, d: int = 5, between: float = 0.3) -> ImageSet:
    """Images whose slices share what is their own; a scan has one image."""
    rng = np.random.default_rng(seed)
    own = rng.normal(0, between, (3, count, 1, d))
    features = rng.normal(0, 1, (3, count, slices, d)) + own + shift
    return ImageSet(tuple(f"s{seed}/{i}" for i in range(count)), tuple(tuple(plane) for plane in features))


def test_stacked_distances_are_those_of_one_pair_after_the_other() -> None:
    a, b = images(1, 6).planes[0], images(2, 7, shift=0.5).planes[0]
    weights = np.array([[1, 1, 0, 2, 0, 1], [1, 1, 1, 1, 1, 1]], float)
    other = np.array([[0, 1, 1, 0, 3, 0, 1], [1, 1, 1, 1, 1, 1, 1]], float)
    centre = a[0].mean(axis=0)
    found = _distances(_moments(a, weights, centre), slice(0, 2), _moments(b, other, centre), slice(0, 2))
    for at in range(2):
        left, right = (
            moments(f for f, w in zip(fs, ws[at], strict=True) for _ in range(int(w)))
            for fs, ws in ((a, weights), (b, other))
        )
        assert found[at] == pytest.approx(frechet_distance(left, right))


def test_sets_are_compared_at_one_number_of_images_beside_halves_of_the_real_set() -> None:
    """The floor against 400 random halves by hand; an equal set lies within it, a shifted one above."""
    real, equal, shifted = images(1, 40), images(2, 12), images(3, 12, shift=1.0)
    found, apart = matched(real, equal, SEED), matched(real, shifted, SEED)
    assert (found.images, found.dimensions, found.flag) == (12, 5, None)
    rng, halves = np.random.default_rng(0), []
    for _ in range(400):
        order = rng.permutation(40)
        one, other = (
            Moments.of(np.concatenate([real.planes[0][i] for i in some])) for some in (order[:12], order[12:24])
        )
        halves.append(frechet_distance(one, other))
    low, middle, high = np.quantile(halves, [0.025, 0.5, 0.975])
    assert found.floor[0] == pytest.approx(middle, rel=0.1)
    assert (found.floor_low[0], found.floor_high[0]) == (pytest.approx(low, rel=0.25), pytest.approx(high, rel=0.25))
    assert found.matched[-1] == pytest.approx(found.matched[:3].mean())
    assert found.floor_low[-1] < found.matched[-1] < found.floor_high[-1]
    assert apart.low[-1] > apart.floor_high[-1] and apart.low[-1] < apart.matched[-1] < apart.high[-1]
    assert apart.matched[-1] == pytest.approx(5.0, abs=1.2), "five dimensions, each moved by one"
    again = matched(real, equal, np.random.SeedSequence(4))
    assert all((getattr(again, n) == getattr(found, n)).all() for n in ("matched", "low", "high", "floor"))


def test_images_of_one_scan_are_drawn_together() -> None:
    """The same images named by a few scans: their limits are wider, because scans differ."""
    real, many = images(1, 40), images(2, 20, between=1.0)
    copies = tuple(tuple(plane[i // 5] for i in range(20)) for plane in many.planes)
    alone = matched(real, ImageSet(many.scans, copies), SEED)
    together = matched(real, ImageSet(tuple(f"s{i // 5}" for i in range(20)), copies), SEED)
    assert together.matched == pytest.approx(alone.matched)
    assert (together.high - together.low)[-1] > 1.5 * (alone.high - alone.low)[-1]


def test_too_few_images_and_too_few_slices_are_said() -> None:
    none = matched(images(1, 3), images(2, 3), SEED)
    assert np.isnan(none.matched).all() and none.flag == "3 and 3 images: too few for halves of 2 or more"
    flat = matched(images(1, 4, slices=2), images(2, 4, slices=2), SEED)
    assert flat.flag is not None and flat.flag.startswith("4 slices a side, no more than the 5 dimensions")
    assert np.isfinite(flat.matched).all()
