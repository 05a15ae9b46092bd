"""Gates of a rendered CT: each is passed by a good image and closed by the fault it is for."""

import numpy as np
import pytest

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.demo.phantom import draw_anatomy, draw_body
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.synthesis.quality import (
    BANDS,
    LEAST_CONTRAST_HU,
    medians,
    require_contrast,
    require_known,
    require_plausible,
)
from itrialspace_assets.synthesis.tissue import render_host


@pytest.fixture(scope="module")
def pair() -> tuple[Volume, Volume]:
    rng = np.random.default_rng(3)
    host = draw_anatomy(draw_body(rng), rng, np.array([2.8, 2.8, 3.6]))
    return host, render_host(host, np.random.SeedSequence(1), np.random.SeedSequence(2))


def test_a_rendered_host_passes_and_medians_are_those_of_numpy(pair: tuple[Volume, Volume]) -> None:
    host, ct = pair
    require_plausible(ct, host)
    for order in ("C", "F"):
        found = medians(np.array(ct.array, order=order), host.array)
        for name, median in found.items():
            values = ct.array[np.isin(host.array, BANDS[name][0])]
            assert median == np.sort(values)[(len(values) - 1) // 2], name
        assert {"liver", "spleen", "kidney", "lung", "bone"} <= set(found)


def test_each_fault_is_refused_with_its_reason(pair: tuple[Volume, Volume]) -> None:
    host, ct = pair

    def spoiled(where: np.ndarray, value: float, dtype: type = np.int16) -> Volume:
        array: np.ndarray = ct.array.astype(dtype)
        array[where] = value
        return Volume(array, ct.affine)

    one = np.zeros(host.array.shape, bool)
    one[tuple(np.argwhere(host.array == 28)[0])] = True
    outside = np.zeros_like(one)
    outside[0, 0, 0] = True
    moved = ct.affine.copy()
    moved[0, 3] += 5
    for bad, reason, told in (
        (spoiled(one, 1500), Reason.IMPLAUSIBLE_HU, "got -1000 to 1500"),
        (spoiled(one, -1001), Reason.IMPLAUSIBLE_HU, "got -1001"),
        (spoiled(one, np.nan, np.float32), Reason.IMPLAUSIBLE_HU, "no number"),
        (spoiled(outside, -990), Reason.IMPLAUSIBLE_HU, "outside the body"),
        (spoiled(host.array == 1, 400), Reason.IMPLAUSIBLE_HU, "liver: expected a median of -21.6 to 162 HU, got 400"),
        (spoiled(np.isin(host.array, BANDS["lung"][0]), 0), Reason.IMPLAUSIBLE_HU, "lung"),
        (Volume(ct.array, moved), Reason.GRID_MISMATCH, "grid of its host"),
        (Volume(ct.array[:-1], ct.affine), Reason.GRID_MISMATCH, "grid of its host"),
    ):
        with pytest.raises(CaseRejected) as refused:
            require_plausible(bad, host)
        assert refused.value.reason is reason
        assert told in refused.value.detail


def test_a_lesion_that_does_not_show_is_refused() -> None:
    require_contrast(30.0, -800.0, LEAST_CONTRAST_HU)
    require_contrast(-900.0, -800.0, LEAST_CONTRAST_HU)
    for inside, around in ((-790.0, -800.0), (float("nan"), -800.0)):
        with pytest.raises(CaseRejected) as refused:
            require_contrast(inside, around, LEAST_CONTRAST_HU)
        assert refused.value.reason is Reason.NO_CONTRAST


def test_a_label_that_means_nothing_is_named(pair: tuple[Volume, Volume]) -> None:
    host, _ = pair
    require_known(host)
    labels = host.array.copy()
    labels[3, 3, 3], labels[4, 4, 4] = 251, 2
    with pytest.raises(CaseRejected, match=r"expected labels of the MAISI space, got \[2, 251\]") as refused:
        require_known(Volume(labels, host.affine))
    assert refused.value.reason is Reason.NOT_A_LABEL_MAP
