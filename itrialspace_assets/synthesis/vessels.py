"""A tree of vessels in each lung of a host, drawn from its map and a seed alone.

It is no person's anatomy: points spread over the lung are joined to its hilum by paths that bundle, and the width of a
branch follows the lung that it feeds. Knows labels and millimetres; no HU.
"""

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from itrialspace_assets.base.seeds import child
from itrialspace_assets.imaging.anatomy import LEFT_LUNG, RIGHT_LUNG
from itrialspace_assets.imaging.geometry import Box, Volume

Floats = npt.NDArray[np.float64]
#: Lung (mm3) that one end of the tree feeds, and its radius (mm). Ours: ends about 13 mm apart, as far out as CT shows
#: vessels.
FED_MM3, END_MM = 2200.0, 0.45
#: Nearest points that a path may continue to. Ours.
_NEIGHBOURS = 12
#: Exponent of a step's length: above one, a path of short steps through other points costs less than a straight one.
#: Ours.
_BUNDLING = 2.0


def grow(points: Floats, root: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """A tree over points.

    Args:
        points: (n, 3), mm.
        root: index of the point that it grows from.

    Returns:
        Parent of each point (-1: the root's, and of points that no path reaches), and radius (mm) of the branch that
        leads to it: cubes of radii add up at a branching (Murray, Proc Natl Acad Sci 1926;12:207).
    """
    n = len(points)
    distance, other = cKDTree(points).query(points, k=min(_NEIGHBOURS, n - 1) + 1)
    rows = np.repeat(np.arange(n), distance.shape[1] - 1)
    graph = sparse.csr_array((distance[:, 1:].ravel() ** _BUNDLING, (rows, other[:, 1:].ravel())), shape=(n, n))
    cost, parent = dijkstra(graph, directed=False, indices=root, return_predecessors=True)
    parent = np.where(parent < 0, -1, parent).astype(np.int64)
    fed = np.ones(n)
    for i in np.argsort(-cost, kind="stable"):  # ends first; a lung has some thousand points
        if parent[i] >= 0 and np.isfinite(cost[i]):
            fed[parent[i]] += fed[i]
    return parent, END_MM * np.cbrt(fed)


def ends(labels: Volume, lobes: tuple[int, ...], towards: Floats, seed: np.random.SeedSequence) -> tuple[Floats, int]:
    """Points spread over some lobes, and which of them is the hilum.

    Every voxel is as likely as any other, so that the density of points follows the lung's volume whatever the grid.

    Args:
        labels: label map (X, Y, Z).
        lobes: labels of the lobes of a lung; consecutive numbers.
        towards: world mm (3,); the point nearest to it is the hilum.
        seed: draws the points.

    Returns:
        Points (n, 3) in world mm (RAS+), and the index of the hilum.
    """
    flat = labels.array.ravel(order="F")
    inside = np.flatnonzero((flat >= min(lobes)) & (flat <= max(lobes)))
    if not len(inside):
        return np.empty((0, 3)), 0
    wanted = min(len(inside), max(2, round(len(inside) * labels.voxel_mm3 / FED_MM3)))
    rng = np.random.Generator(np.random.SFC64(seed))
    chosen = inside[np.unique((np.arange(wanted) + rng.random(wanted)) * (len(inside) / wanted)).astype(np.int64)]
    at = np.stack(np.unravel_index(chosen, labels.array.shape, order="F"), axis=1) + rng.uniform(
        -0.5, 0.5, (len(chosen), 3)
    )
    points = labels.to_world(at)
    return points, int(np.argmin(((points - towards) ** 2).sum(axis=1)))


def occupancy(labels: Volume, lungs: Box, seed: np.random.SeedSequence) -> npt.NDArray[np.uint8]:
    """Share of each voxel (z, y, x of the lungs' box) that is vessel, 0 to 255.

    Args:
        labels: nodule-free label map.
        lungs: bounding box of its lobes, (z, y, x).
        seed: of the host's anatomy.
    """
    z, y, x = lungs
    low = np.array([x.start, y.start, z.start])
    part = Volume(labels.array[x, y, z], labels.crop((x, y, z)).affine)
    out = np.zeros((z.stop - z.start, y.stop - y.start, x.stop - x.start), np.uint8)
    between = part.to_world((np.array(part.array.shape) - 1) / 2)
    for number, lobes in enumerate((LEFT_LUNG, RIGHT_LUNG)):
        points, root = ends(part, lobes, between, child(seed, number))
        if len(points) > 2:
            parent, radius = grow(points, root)
            _draw(out, labels.to_voxel(points) - low, parent, radius, labels.spacing)
    return out


#: Voxels that are drawn at once, so that memory stays small. Ours.
_AT_ONCE = 1 << 20


def _draw(
    out: npt.NDArray[np.uint8], at: Floats, parent: npt.NDArray[np.int64], radius: Floats, spacing: Floats
) -> None:
    """Draw the branches of a tree: at every voxel along them a ball of their radius.

    A branch thinner than a voxel fills the share of the voxel that its cross section has.

    Args:
        out: image (z, y, x) to draw into, share of each voxel of 255.
        at: points (n, 3) of the tree, voxels (x, y, z) of the image.
        parent: parent of each point; -1: none.
        radius: radius (n,) of the branch that leads to each point, mm.
        spacing: voxel size (x, y, z), mm.
    """
    outer = np.flatnonzero(parent >= 0)
    start, end = at[parent[outer]], at[outer]
    steps = np.maximum(2, np.ceil(np.abs(end - start).max(axis=1)).astype(int) + 1)
    shares = {n: np.linspace(0, 1, n) for n in np.unique(steps).tolist()}
    along = np.concatenate([shares[n] for n in steps.tolist()])[:, None]
    centre = (np.repeat(start, steps, axis=0) * (1 - along) + np.repeat(end, steps, axis=0) * along).astype(np.float32)
    wide = np.repeat(radius[outer], steps).astype(np.float32)
    voxel, unit = np.float32(np.cbrt(np.prod(spacing))), spacing.astype(np.float32)
    reach = np.ceil((wide[:, None] + voxel / 2) / unit).astype(int)
    flat = out.reshape(-1)
    for size in np.unique(reach, axis=0):
        own = np.flatnonzero((reach == size).all(axis=1))
        ball = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in size), indexing="ij"), axis=-1).reshape(-1, 3)
        for some in np.array_split(own, 1 + len(own) * len(ball) // _AT_ONCE):
            base = np.rint(centre[some]).astype(int)
            apart = ball.astype(np.float32)[None] - (centre[some] - base)[:, None]
            distance = np.sqrt(((apart * unit) ** 2).sum(axis=2))
            share = np.clip((wide[some][:, None] - distance) / voxel + 0.5, 0, 1)
            share *= np.minimum(1, np.pi * (wide[some] / voxel) ** 2)[:, None]
            which, offset = np.nonzero(share > 0)
            i, j, k = (base[which] + ball[offset]).T
            there = (
                (np.minimum(np.minimum(i, j), k) >= 0) & (k < out.shape[0]) & (j < out.shape[1]) & (i < out.shape[2])
            )
            index = (k[there] * out.shape[1] + j[there]) * out.shape[2] + i[there]
            np.maximum.at(flat, index, np.rint(share[which, offset][there] * 255).astype(np.uint8))
