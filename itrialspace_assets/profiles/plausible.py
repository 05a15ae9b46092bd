"""Whether a CT holds Hounsfield units and a label map the anatomy of a chest: what contradicts them, in words.

Numbers of an organ map mean nothing by themselves: version 1 of a program read as version 2 moves every lobe to
another one. So a map is taken only if its lobes lie, and hold air, as lobes do. Limits are ours unless a source
stands beside them; all are far outside what a patient shows, since a gate that doubts patients is of no use.
"""

from dataclasses import dataclass

import cc3d
import numpy as np
import numpy.typing as npt

from itrialspace_assets.imaging.anatomy import LABEL_NAMES, LEFT_LUNG, LOBE_LABELS, LUNG, RIGHT_LUNG, TRACHEA, lung_mask
from itrialspace_assets.imaging.geometry import Volume

#: HU of aerated lung with partial volume, and of soft tissue and fat; a CT of a chest holds some of both.
LUNG_HU, TISSUE_HU = (-1000, -500), (-150, 150)
#: Least share of the voxels of a CT in either range. Lungs of 1 L in a field of 500 x 500 x 1000 mm are 0.4 %.
LEAST_SHARE = 0.002
#: Median HU of the lungs and of a lobe above which it holds no air; a collapsed lobe is an exception to be stated.
AIRLESS_HU = -400
#: Median HU of what a map calls neither lung nor airway.
BODY_MEDIAN_HU = (-150, 150)
#: HU that are air or padding: what lies outside the body is below.
OUTSIDE_HU = -500
#: What DICOM CTs are stored above their HU (the usual RescaleIntercept is -1024).
STORED_OFFSET = 1024
#: Volume (L) of both lungs, from below a newborn's to above the largest adult's.
LUNGS_L = (0.05, 15.0)
#: Least share of the lungs that a lobe takes; the middle lobe takes about 8 %.
LEAST_LOBE = 0.005
#: Axes longer than twice this many voxels are thinned for the checks.
THINNED = 128
_SPINE = tuple(range(33, 57))
_LIVER, _SPLEEN = 1, 3


@dataclass(frozen=True)
class Faults:
    """What contradicts a map: ``wrong`` no patient shows; ``unusual`` some do (a lobe removed or collapsed)."""

    wrong: tuple[str, ...] = ()
    unusual: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All of them, joined."""
        return "; ".join((*self.wrong, *self.unusual))


def hu_fault(ct: npt.NDArray[np.int16]) -> str | None:
    """Why a CT (X, Y, Z) does not hold HU of a chest; None if it may."""
    if not (_share(ct, LUNG_HU) >= LEAST_SHARE and _share(ct, TISSUE_HU) >= LEAST_SHARE):
        for shift in (-STORED_OFFSET, STORED_OFFSET):
            if min(_share(ct, LUNG_HU, shift), _share(ct, TISSUE_HU, shift)) >= LEAST_SHARE:
                return f"values that are HU after {shift:+d}: the rescale intercept was {_WHY[shift]}"
        return (
            f"{100 * _share(ct, LUNG_HU):.1f} % of voxels with HU of lung ({LUNG_HU[0]} to {LUNG_HU[1]}) and "
            f"{100 * _share(ct, TISSUE_HU):.1f} % of soft tissue ({TISSUE_HU[0]} to {TISSUE_HU[1]}), "
            f"values from {ct.min()} to {ct.max()}"
        )
    corners = ct[:: max(1, ct.shape[0] - 1), :: max(1, ct.shape[1] - 1)]
    if corners.min() == corners.max() > OUTSIDE_HU:
        return f"{corners.min()} HU in every corner of every slice: the padding outside the field of view is no air"
    return None


_WHY = {-STORED_OFFSET: "not applied", STORED_OFFSET: "applied twice"}


def _share(ct: npt.NDArray[np.int16], limits: tuple[int, int], shift: int = 0) -> float:
    low, high = limits
    return float(np.count_nonzero((ct >= low - shift) & (ct <= high - shift))) / ct.size


def anatomy_faults(labels: Volume, ct: Volume) -> Faults:
    """What contradicts the anatomy of a chest in an organ map under this platform's labels.

    Args:
        labels: organ map (X, Y, Z), RAS+; body as 200.
        ct: its CT in HU, on its grid.
    """
    labels, ct = _thinned(labels), _thinned(ct)
    counts, at = _centres(labels)
    lobes = [label for label in LUNG if label in at]
    if not lobes:
        return Faults(("no lung lobe",))
    total = sum(counts[label] for label in lobes)
    litres = total * labels.voxel_mm3 / 1e6
    wrong: list[str] = []
    unusual: list[str] = []
    lost = [name for name, label in LOBE_LABELS.items() if counts[label] < LEAST_LOBE * total]
    if not LUNGS_L[0] <= litres <= LUNGS_L[1]:
        some = unusual if lost and litres < LUNGS_L[0] else wrong
        some.append(f"lungs of {litres:.3g} L, expected {LUNGS_L[0]:g} to {LUNGS_L[1]:g} L")
    if lost:
        unusual.append(f"no {' and no '.join(lost)}")
    hu = {label: float(np.median(ct.array[labels.array == label])) for label in lobes}
    lungs = float(np.median(ct.array[lung_mask(labels.array)]))
    if lungs > AIRLESS_HU:
        wrong.append(f"lungs with a median of {lungs:.0f} HU, expected air (below {AIRLESS_HU})")
    elif airless := [label for label in lobes if hu[label] > AIRLESS_HU]:
        unusual += [f"{LABEL_NAMES[label]} with a median of {hu[label]:.0f} HU, expected air" for label in airless]
    return Faults((*wrong, *_body(labels, ct), *_places(at), *_sides(counts, at)), tuple(unusual))


def place_faults(labels: Volume) -> list[str]:
    """What contradicts anatomy in where the structures of an organ map (X, Y, Z; RAS+) lie; without a CT."""
    return _places(_centres(_thinned(labels))[1])


def _thinned(volume: Volume) -> Volume:
    """A volume with fewer voxels along long axes: enough for medians, centres and shares."""
    step = [max(1, n // THINNED) for n in volume.array.shape]
    affine = volume.affine @ np.diag([*step, 1.0])
    return Volume(np.asfortranarray(volume.array[:: step[0], :: step[1], :: step[2]]), affine)


def _centres(labels: Volume) -> tuple[npt.NDArray[np.int64], dict[int, npt.NDArray[np.float64]]]:
    """Voxels of each label, by label, and centre (world mm) of each structure that occurs."""
    stats = cc3d.statistics(labels.array)
    counts = np.zeros(256, np.int64)
    counts[: len(stats["voxel_counts"])] = stats["voxel_counts"]
    return counts, {
        label: labels.to_world(stats["centroids"][label]) for label in np.flatnonzero(counts).tolist() if label
    }


def _body(labels: Volume, ct: Volume) -> list[str]:
    """What contradicts a body of soft tissue, with air outside."""
    found = []
    outside = ct.array[labels.array == 0]
    if len(outside) > 0.01 * labels.array.size and (median := float(np.median(outside))) > OUTSIDE_HU:
        found.append(f"a median of {median:.0f} HU outside the body, expected air (below {OUTSIDE_HU})")
    solid = (labels.array != 0) & ~lung_mask(labels.array) & (labels.array != TRACHEA)
    low, high = BODY_MEDIAN_HU
    if solid.any() and not low <= (median := float(np.median(ct.array[solid]))) <= high:
        found.append(f"a body with a median of {median:.0f} HU, expected {low} to {high}")
    return found


def _places(at: dict[int, npt.NDArray[np.float64]]) -> list[str]:
    """Pairs of structures whose centres (world mm, RAS) lie the wrong way round."""
    rules = [(LEFT_LUNG, RIGHT_LUNG, 0, "left of"), ((28,), (29,), 2, "above"), ((30,), (32,), 2, "above")]
    rules += [((31,), (32,), 1, "in front of"), ((30,), (31,), 2, "above"), ((TRACHEA,), LUNG, 2, "above")]
    rules += [(LUNG, _SPINE, 1, "in front of"), ((_SPLEEN,), (_LIVER,), 0, "left of")]
    found = []
    for first, second, axis, word in rules:
        one, other = ([at[label][axis] for label in group if label in at] for group in (first, second))
        if not one or not other:
            continue
        if not (max(one) < min(other) if word == "left of" else np.mean(one) > np.mean(other)):
            found.append(f"{_group(first)} not {word} {_group(second)}")
    return found


def _sides(counts: npt.NDArray[np.int64], at: dict[int, npt.NDArray[np.float64]]) -> list[str]:
    """Where a map has lobes of one lung alone: that it lies on the wrong side of the body."""
    middle = sum(int(counts[label]) * float(point[0]) for label, point in at.items()) / int(counts[1:].sum())
    found = []
    for lung, opposite, sign, word in ((LEFT_LUNG, RIGHT_LUNG, -1, "left"), (RIGHT_LUNG, LEFT_LUNG, 1, "right")):
        mine = [sign * (at[label][0] - middle) for label in lung if label in at]
        if mine and min(mine) < 0 and not any(label in at for label in opposite):
            found.append(f"{_group(lung)} not {word} of the middle of the body")
    return found


def _group(labels: tuple[int, ...]) -> str:
    known = {LEFT_LUNG: "the left lobes", RIGHT_LUNG: "the right lobes", LUNG: "the lungs", _SPINE: "the spine"}
    return known.get(labels, LABEL_NAMES[labels[0]])
