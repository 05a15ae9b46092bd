"""Reduces features to the few numbers of a layout: PCA, UMAP, t-SNE. Seeded; in one process equal input, equal output.

PCA needs numpy alone. UMAP and t-SNE come with the extra ``maps``.
"""

from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.explorer.layouts.features import Features, Singles
from itrialspace_assets.explorer.layouts.presets import ITERATIONS, NEIGHBOURS, SEED, Preset

#: Fewest nodules of a layout by neighbours; ours.
FEWEST = 5
#: Rows that are held in double precision at once; ours.
_ROWS = 1 << 16
#: Bytes that these take in single and in double precision, of the larger feature set; ours.
BLOCKS = 64 * 2**20
_NEEDS = {"pca": (), "umap": ("umap", "sklearn"), "tsne": ("sklearn",)}


def lacks(chosen: Preset) -> str:
    """What is not installed that a layout needs, with the command that installs it; empty if nothing."""
    if all(find_spec(name) is not None for name in _NEEDS[chosen.algorithm]):
        return ""
    return (
        f"{chosen.name}: needs the extra maps (umap-learn, scikit-learn), which is not installed; install it with "
        "`pip install 'itrialspace-assets[maps]'`"
    )


def reduce(matrix: Singles | Features, chosen: Preset, verbose: bool = False) -> Singles:
    """Coordinates (n, d) of each row, without a unit.

    Args:
        matrix: features (n, f).
        chosen: the layout. PCA gives no more numbers than there are features or rows, and at least two.
        verbose: print progress of UMAP and t-SNE, which take minutes for many rows.

    Raises:
        ConfigError: the extra ``maps`` is not installed, or there are too few rows.
    """
    if chosen.algorithm == "pca":
        return principal(matrix, chosen.dims)
    if missing := lacks(chosen):
        raise ConfigError(missing)
    if len(matrix) < max(FEWEST, chosen.dims + 2):
        raise ConfigError(
            f"{chosen.name}: expected {max(FEWEST, chosen.dims + 2)} nodules or more, got {len(matrix)}; use PCA_2D"
        )
    if chosen.algorithm == "umap":
        from umap import UMAP

        made = UMAP(
            n_components=chosen.dims,
            n_neighbors=min(NEIGHBOURS, len(matrix) - 1),
            min_dist=chosen.min_dist,
            metric="euclidean",
            random_state=SEED,
            n_jobs=1,
            verbose=verbose,
        ).fit_transform(matrix[:])
    else:
        from sklearn.manifold import TSNE

        made = TSNE(
            n_components=chosen.dims,
            perplexity=min(NEIGHBOURS, (len(matrix) - 1) / 3),
            learning_rate="auto",
            max_iter=ITERATIONS,
            init="pca",
            random_state=SEED,
            n_jobs=1,
            verbose=2 if verbose else 0,
        ).fit_transform(matrix[:])
    return np.ascontiguousarray(made, dtype=np.float32)


def principal(matrix: Singles | Features, dims: int) -> Singles:
    """Principal components (n, d), largest first; the sign of each is fixed by its largest weight.

    Args:
        matrix: features (n, f); rows of zeros where there are no more features than components.
        dims: how many are wanted; d is that, or f or n where that is less, and at least 2.
    """
    kept = max(2, min(dims, *matrix.shape))
    points = np.zeros((len(matrix), kept), np.float32)
    if 0 in matrix.shape:
        return points
    mean = np.zeros(matrix.shape[1])
    for some in _blocks(matrix):
        mean += some.sum(axis=0)
    mean /= len(matrix)
    products = np.zeros((matrix.shape[1], matrix.shape[1]))
    for some in _blocks(matrix):
        some -= mean
        products += some.T @ some
    axes = np.linalg.eigh(products)[1]  # of f×f, whatever the number of rows; the largest come last
    axes = axes[:, ::-1][:, :kept]
    largest = np.abs(axes).argmax(axis=0)
    axes = axes * np.sign(axes[largest, np.arange(axes.shape[1])])
    first = 0
    for some in _blocks(matrix):
        some -= mean
        points[first : first + len(some), : axes.shape[1]] = np.round(some @ axes, 6)
        first += len(some)
    return points


def _blocks(matrix: Singles | Features) -> Iterator[npt.NDArray[np.float64]]:
    """The rows in double precision, some at a time: all at once would take 400 MiB of a million nodules."""
    return (matrix[first : first + _ROWS].astype(np.float64) for first in range(0, len(matrix), _ROWS))
