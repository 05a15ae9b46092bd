"""The lung depth that is measured about a place is that of the whole lungs, as far as it was asked to be exact."""

import numpy as np
import pytest

from itrialspace_assets.hosts.depth import DEPTH_STEPS, LungDepth, lung_depth
from itrialspace_assets.imaging.geometry import Box

from ..insertion.shapes import chest_with_specks

LUNGS: Box = (slice(5, 37), slice(8, 32), slice(4, 28))


@pytest.mark.parametrize("reach_mm", [2.0, 8.0, 64.0])
def test_a_part_is_as_deep_as_the_whole_says(reach_mm: float) -> None:
    chest = chest_with_specks()
    whole = LungDepth(chest, LUNGS, lung_depth(chest, LUNGS))
    rng, deep = np.random.default_rng(0), 0
    for _ in range(40):
        low = rng.integers(-4, 30, 3)
        high = low + rng.integers(1, 14, 3)
        want = whole.over(low, high, reach_mm).astype(int)
        got = LungDepth(chest, LUNGS, measured=-(10**9)).over(low, high, reach_mm)
        np.testing.assert_array_equal(got[want <= reach_mm * DEPTH_STEPS], want[want <= reach_mm * DEPTH_STEPS])
        assert (got >= want).all()
        deep += int((want > 0).sum())
    assert deep > 1000
    assert int(whole.over([5, 8, 4], [37, 32, 28], reach_mm).max()) > 2 * DEPTH_STEPS


def test_after_many_parts_the_whole_is_measured_and_says_the_same() -> None:
    chest = chest_with_specks()
    depth = LungDepth(chest, LUNGS)
    first = depth.over([10, 10, 10], [11, 11, 11], 0.5)
    assert depth.whole is None, "one small part: nothing else is measured"
    again = [depth.over([10, 10, 10], [11, 11, 11], 0.5) for _ in range(200)]
    assert depth.whole is not None
    assert all((np.minimum(x, 2) == np.minimum(first, 2)).all() for x in again), "equal as far as half a mm"
