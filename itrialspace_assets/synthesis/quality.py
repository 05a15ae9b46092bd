"""Checks that a rendered CT must pass before it is counted: a case whose image fails is rejected.

Works on HU and labels (X, Y, Z); knows no renderer.
"""

import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.imaging.anatomy import BONES, LABEL_NAMES, LUNG
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.lesions import Lesion, lesion_box

#: Range of the published synthetic CTs (HU), and air (docs/facts/synthesis.md#hu-bands).
LOW_HU, HIGH_HU = -1000.0, 1000.0
AIR_HU = -1000.0
#: Structure -> labels, and the band (HU) that its median must lie in, as published with MAISI
#: (docs/facts/synthesis.md#hu-bands).
BANDS: dict[str, tuple[tuple[int, ...], float, float]] = {
    "liver": ((1,), -21.60, 162.00),
    "spleen": ((3,), -43.13, 184.08),
    "pancreas": ((4,), -56.59, 149.51),
    "kidney": ((5, 14), -130.56, 267.28),
    "lung": (LUNG, -1088.56, -366.95),
    "bone": (BONES, 71.40, 1000.0),
    "brain": ((22,), -951.00, 369.51),
}
#: Below this many voxels a structure counts as a speck of the segmentation. Ours: specks have 4 to 30 voxels
#: (docs/facts/synthesis.md#specks).
LEAST_VOXELS = 100
#: A lesion must differ from what its twin has there by this much (HU); ours: twice the noise of a standard scan.
LEAST_CONTRAST_HU = 50.0


def require_known(host: Volume) -> None:
    """Refuse a label map with labels that have no meaning: a renderer would have to guess.

    Raises:
        CaseRejected: lists the labels.
    """
    seen = np.zeros(256, bool)
    for k in range(host.array.shape[2]):
        seen[host.array[..., k]] = True
    if unknown := [int(v) for v in np.flatnonzero(seen) if int(v) not in LABEL_NAMES]:
        raise CaseRejected(Reason.NOT_A_LABEL_MAP, f"label map: expected labels of the MAISI space, got {unknown}")


#: Slices looked at together, so that memory stays small.
_SLAB = 16
_BINS = 4096  # of one HU, from -1024


def medians(ct: npt.NDArray[np.generic], labels: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Median of the rounded HU of each structure of ``BANDS`` that occurs, by name.

    Args:
        ct: HU (X, Y, Z).
        labels: label map of the same shape.
    """
    group = np.zeros(256, np.uint8)
    for number, (members, _, _) in enumerate(BANDS.values(), start=1):
        group[list(members)] = number
    counts = np.zeros((len(BANDS) + 1) * _BINS, np.int64)
    for first in range(0, labels.shape[2], _SLAB):
        of = group[labels[..., first : first + _SLAB]]
        there = of > 0
        values = np.rint(ct[..., first : first + _SLAB][there]).astype(np.int32) + 1024
        index = of[there].astype(np.int32) * _BINS + np.clip(values, 0, _BINS - 1)
        counts += np.bincount(index, minlength=len(counts))
    found = {}
    for number, name in enumerate(BANDS, start=1):
        own = np.cumsum(counts[number * _BINS : (number + 1) * _BINS])
        if own[-1] >= LEAST_VOXELS:
            found[name] = float(np.searchsorted(own, (own[-1] + 1) // 2) - 1024)
    return found


def require_plausible(ct: Volume, host: Volume) -> None:
    """Refuse an image that cannot be a scan of this host.

    Args:
        ct: HU (X, Y, Z).
        host: the label map that it was rendered from.

    Raises:
        CaseRejected: another grid, a value that is no number or out of range, another HU than air outside the body,
            or an organ whose median lies outside its band; says which, what was expected and what was got.
    """
    if not ct.same_grid(host):
        raise CaseRejected(
            Reason.GRID_MISMATCH, f"CT: expected the grid of its host {host.array.shape}, got {ct.array.shape}"
        )
    if ct.array.dtype.kind == "f" and not np.isfinite(ct.array).all():
        raise CaseRejected(Reason.IMPLAUSIBLE_HU, "CT: expected finite HU, got values that are no number")
    low, high = float(ct.array.min()), float(ct.array.max())
    if low < LOW_HU or high > HIGH_HU:
        raise CaseRejected(
            Reason.IMPLAUSIBLE_HU, f"CT: expected HU from {LOW_HU:g} to {HIGH_HU:g}, got {low:g} to {high:g}"
        )
    for first in range(0, ct.array.shape[2], _SLAB):
        part = slice(first, first + _SLAB)
        wrong = (host.array[..., part] == 0) & (ct.array[..., part] != AIR_HU)
        if wrong.any():
            raise CaseRejected(
                Reason.IMPLAUSIBLE_HU,
                f"CT: expected {AIR_HU:g} HU outside the body, got {float(ct.array[..., part][wrong].max()):g}",
            )
    for name, median in medians(ct.array, host.array).items():
        _, least, most = BANDS[name]
        if not least <= median <= most:
            raise CaseRejected(
                Reason.IMPLAUSIBLE_HU, f"CT: {name}: expected a median of {least:g} to {most:g} HU, got {median:g}"
            )


#: Distance (mm) from every lesion beyond which an image and its lesion-free twin should agree. Ours.
APART_MM = 10.0
#: Median difference there (HU) above which the two are not compared as a pair. Ours: about a standard scan's noise.
PAIRED_HU = 20.0


def paired_difference(ct: Volume, twin: Volume, host: Volume, lesions: list[Lesion]) -> float:
    """Median absolute difference (HU) of an image and its lesion-free twin, in the body beyond ``APART_MM``.

    The distance is to the lesions' boxes, so a little more than needed is left out.

    Args:
        ct: the image, whole HU.
        twin: its lesion-free twin on the same grid.
        host: the host's label map on the same grid.
        lesions: in that grid.
    """
    far = host.array > 0
    pad = tuple(int(np.ceil(APART_MM / s)) for s in host.spacing)
    for lesion in lesions:
        far[lesion_box([lesion], host.array.shape, (pad[0], pad[1], pad[2]))] = False
    counts = np.zeros(int(HIGH_HU - LOW_HU) + 1, np.int64)
    for first in range(0, host.array.shape[2], _SLAB):
        part = np.s_[..., first : first + _SLAB]
        apart = np.abs(ct.array[part].astype(np.int32) - twin.array[part])[far[part]]
        counts += np.bincount(np.minimum(apart, len(counts) - 1), minlength=len(counts))
    below = np.cumsum(counts)
    return float(np.searchsorted(below, (below[-1] + 1) // 2)) if below[-1] else 0.0


def require_contrast(lesion_hu: float, twin_hu: float, least_hu: float) -> None:
    """Refuse an image that does not show its lesion.

    Args:
        lesion_hu: mean over the lesion.
        twin_hu: mean over the same voxels of the lesion-free twin.
        least_hu: difference that is required.

    Raises:
        CaseRejected: they differ by less.
    """
    if not abs(lesion_hu - twin_hu) >= least_hu:
        raise CaseRejected(
            Reason.NO_CONTRAST,
            f"CT: expected a lesion at least {least_hu:.3g} HU from the lesion-free twin, got {lesion_hu:g} "
            f"instead of {twin_hu:g}",
        )
