"""Closes a label map for rendering: gaps inside the body are given to the nearest tissue, specks beside it are dropped.

Segmentations leave voxels without a label between structures; rendered as they are, they show as black lines
(docs/facts/synthesis.md#gaps). The map in the store stays as it is. Knows labels and millimetres; no HU, no file.
"""

from dataclasses import dataclass

import cc3d
import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from itrialspace_assets.imaging.geometry import Volume, bounding_box

#: Tissue apart from the rest and smaller than this (mm3) is a speck, not a part of the body such as an arm. Ours.
SPECK_MM3 = 1000.0
_STEPS = np.concatenate([np.eye(3, dtype=np.int64), -np.eye(3, dtype=np.int64)])


@dataclass(frozen=True)
class Closed:
    """A label map as it is rendered.

    Attributes:
        labels: the map (X, Y, Z), without gaps and specks.
        filled: voxels of gaps that were given a label.
        dropped: voxels of specks that lost theirs.
    """

    labels: Volume
    filled: int
    dropped: int


def close_map(labels: Volume) -> Closed:
    """A label map without gaps inside the body and specks outside it; the same volume if it has neither.

    A gap is a set of unlabelled voxels, joined by faces, that reaches no side of the image along x or y: the first and
    last slice cut the body, so a gap may end there. Each of its voxels takes the label of the nearest one that has one.
    A speck is tissue that is joined to the rest by no face, and smaller than ``SPECK_MM3``.

    Args:
        labels: canonical label map (X, Y, Z), uint8; not changed.
    """
    body = labels.array > 0
    if not body.any():
        return Closed(labels, 0, 0)
    x, y, _ = bounding_box(body, pad=1)
    part = labels.array[x, y]
    gaps = _gaps(np.asfortranarray(~body[x, y]))
    whole = part.copy(order="F")
    if len(gaps):
        whole[tuple(gaps.T)] = _nearest(part, gaps, labels.spacing)
    dropped = _drop_specks(whole, SPECK_MM3 / labels.voxel_mm3)
    if not len(gaps) and not dropped:
        return Closed(labels, 0, 0)
    out = labels.array.copy(order="F")
    out[x, y] = whole
    out.setflags(write=False)
    return Closed(Volume(out, labels.affine), len(gaps), dropped)


def _gaps(empty: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Indices (n, 3) of the empty voxels that no path of empty ones joins to a side of the image along x or y."""
    pieces = cc3d.connected_components(empty, connectivity=6)
    inside = np.ones(int(pieces.max()) + 1, bool)
    inside[0] = False  # what is not empty
    for side in (pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]):
        inside[side] = False
    at = np.flatnonzero(inside[pieces].ravel(order="F"))
    return np.stack(np.unravel_index(at, empty.shape, order="F"), axis=1)


def _nearest(
    labels: npt.NDArray[np.uint8], gaps: npt.NDArray[np.int64], spacing: npt.NDArray[np.float64]
) -> npt.NDArray[np.uint8]:
    """Label of the voxel nearest to each voxel of the gaps; it borders a gap, since what lies before it is nearer.

    Args:
        labels: the map (X, Y, Z).
        gaps: indices (n, 3).
        spacing: voxel size (x, y, z), mm.
    """
    border = np.zeros(labels.shape, bool, order="F")
    for step in _STEPS:
        beside = gaps + step
        beside = beside[(beside[:, 2] >= 0) & (beside[:, 2] < labels.shape[2])]  # a gap reaches no other side
        border[tuple(beside.T)] = True
    border &= labels > 0
    at = np.flatnonzero(border.ravel(order="F"))
    sources = np.stack(np.unravel_index(at, labels.shape, order="F"), axis=1)
    _, found = KDTree(sources * spacing, balanced_tree=False).query(gaps * spacing)
    return np.asarray(labels[tuple(sources[found].T)], dtype=np.uint8)


def _drop_specks(labels: npt.NDArray[np.uint8], least: float) -> int:
    """Set specks to 0 in place; how many voxels. The greatest piece stays whatever its size.

    Args:
        labels: the map (X, Y, Z).
        least: voxels of a piece that is no speck.
    """
    pieces, count = cc3d.connected_components(labels > 0, connectivity=6, return_N=True)
    if count <= 1:
        return 0
    small = np.bincount(pieces.ravel(order="K")) < least
    small[0] = False  # what is not tissue
    if small[1:].all():
        greatest = cc3d.largest_k(labels > 0, k=1, connectivity=6) > 0
        small[pieces[greatest][:1]] = False
    if not small.any():
        return 0
    specks = small[pieces]
    labels[specks] = 0
    return int(specks.sum())
