"""How alike two sets of CTs are: features of their slices, the Fréchet distance of two sets, the overlap of histograms.

The protocol is the published 2.5-D one (docs/facts/synthesis.md#fid-protocol), except that the images of a set are
drawn over its datasets instead of being the first by name. With an extractor whose weights lie on disk the distance is
called FID. Without, features are a stated descriptor of a few slices, and the distance is called a descriptor distance,
never FID. Knows volumes and arrays; no table and no case.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import hash_file
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.synthesis.quality import AIR_HU, HIGH_HU, LOW_HU

Floats = npt.NDArray[np.float64]
#: Planes by the axis that is cut along.
PLANES = {"XY": 2, "YZ": 0, "ZX": 1}
#: Channel means that are subtracted after the order of the channels was reversed
#: (docs/facts/synthesis.md#fid-protocol).
CHANNEL_MEANS = (0.406, 0.456, 0.485)
#: Share by which histograms of host and synthetic CT should overlap (docs/facts/synthesis.md#histogram-overlap; the
#: definition of overlap is ours).
LEAST_OVERLAP = 0.80
#: Edges of bins of 10 HU over the published range. The width is ours.
_HISTOGRAM = np.arange(LOW_HU, HIGH_HU + 1, 10.0)


@dataclass(frozen=True)
class Protocol:
    """What is compared; by default as published.

    Attributes:
        shape: voxels (X, Y, Z) to which an image is padded with air or cut, about its middle.
        centre: middle share of the slices of each plane that is used; the padding counts as slices.
        slices: most slices of these whose features are taken, evenly spread; None: all.
        images: most images of a set.
    """

    shape: tuple[int, int, int] = (512, 512, 512)
    centre: float = 0.4
    slices: int | None = None
    images: int = 100

    @property
    def text(self) -> dict[str, object]:
        """Its fields by name, as the column ``protocol`` holds them."""
        return asdict(self)


#: For the descriptor, which is never called FID: a few slices are enough. Ours.
FEW_SLICES = Protocol(slices=16)


@dataclass(frozen=True)
class Extractor:
    """Features of slices.

    Attributes:
        metric: what a distance of its features is called: fid or descriptor_distance.
        name: file name of the weights, or of the descriptor.
        sha256: of the weights.
        features: slices (n, H, W) in 0..1 to features (n, d).
    """

    metric: str
    name: str
    sha256: str | None
    features: Callable[[npt.NDArray[np.float32]], Floats]


def extractor(weights: Path | None) -> Extractor:
    """The extractor in a TorchScript file, or the descriptor that needs no weights.

    Raises:
        ConfigError: the file is missing or no TorchScript module.
    """
    if weights is None:
        return Extractor("descriptor_distance", "descriptor-1", None, describe)
    if not weights.is_file():
        raise ConfigError(
            f"ITRIALSPACE_FID_WEIGHTS={weights}: expected a TorchScript file of the extractor, found none"
        )
    state = weights.stat()
    sha256 = _hash(weights, state.st_size, state.st_mtime_ns)
    _script(weights, sha256)
    return Extractor("fid", weights.name, sha256, lambda planes: _run_script(weights, sha256, planes))


@lru_cache(maxsize=1)
def _hash(weights: Path, size: int, changed: int) -> str:
    """Hash of a file of some hundred MB; remembered, so that it is not computed for every image."""
    return hash_file(weights)


@lru_cache(maxsize=1)
def _script(weights: Path, sha256: str):  # type: ignore[no-untyped-def]
    try:
        import torch

        return torch.jit.load(str(weights), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except ImportError as error:
        raise ConfigError(
            f"ITRIALSPACE_FID_WEIGHTS: {error}; install with `pip install 'itrialspace-assets[nodmaisi]'`"
        ) from None
    except RuntimeError as error:
        raise ConfigError(
            f"ITRIALSPACE_FID_WEIGHTS={weights}: expected a TorchScript file, got {str(error).splitlines()[0]}"
        ) from None


#: Slices that go through an extractor at once; in its evaluation mode the number changes nothing but memory.
_BATCH = 16


def _run_script(weights: Path, sha256: str, planes: npt.NDArray[np.float32]) -> Floats:
    """Spatial mean of the last feature map of each slice."""
    import torch

    found = []
    with torch.inference_mode():
        for first in range(0, len(planes), _BATCH):
            part = torch.from_numpy(planes[first : first + _BATCH])[:, None].repeat(1, 3, 1, 1)
            features = _script(weights, sha256)(part - torch.tensor(CHANNEL_MEANS)[None, :, None, None])
            found.append(features.flatten(2).mean(2) if features.ndim > 2 else features)
    return np.asarray(torch.cat(found), dtype=np.float64)


#: Widths (pixels) of the Gaussians between which the descriptor measures structure.
_SCALES = (0.7, 1.4, 2.8, 5.6)
_GREYS = np.linspace(0, 1, 13)


def describe(planes: npt.NDArray[np.float32]) -> Floats:
    """The descriptor (n, 19) of slices (n, H, W) in 0..1.

    Shares of twelve grey levels; at three scales, amount and peakedness of structure; contrast. Amounts are logarithms,
    so that no dimension outweighs the others by its unit alone.
    """
    rows = []
    for plane in planes:
        levels = np.histogram(plane, _GREYS)[0] / plane.size
        smooth = [ndimage.gaussian_filter(plane, s) for s in _SCALES]
        bands = [a - b for a, b in pairwise(smooth)]
        energy = [np.log(1e-4 + float(np.sqrt(np.mean(b**2)))) for b in bands]
        peaks = [float(np.mean(np.abs(b)) / (np.sqrt(np.mean(b**2)) + 1e-6)) for b in bands]
        rows.append([*levels, *energy, *peaks, float(plane.std())])
    return np.asarray(rows, dtype=np.float64)


def slices_of(ct: Volume, axis: int, protocol: Protocol) -> npt.NDArray[np.float32]:
    """Slices (n, H, W) of a CT, padded or cut, clipped, and scaled to 0..1 over all of its middle slices.

    Args:
        ct: HU (X, Y, Z).
        axis: the axis that is cut along.
        protocol: which slices.
    """
    order = [axis, *(a for a in range(3) if a != axis)]
    middle = _middle(ct.array.transpose(order), tuple(protocol.shape[a] for a in order), protocol.centre)
    hu = np.clip(middle, LOW_HU, HIGH_HU)
    low, high = float(hu.min()), float(hu.max())
    if protocol.slices is not None and len(hu) > protocol.slices:
        hu = hu[np.linspace(0, len(hu) - 1, protocol.slices).round().astype(int)]
    return (hu - low) / (high - low) if high > low else np.zeros_like(hu)


def _middle(array: npt.NDArray[Any], shape: tuple[int, ...], centre: float) -> npt.NDArray[np.float32]:
    """Middle share of the slices along the first axis of an array, after it is padded with air or cut.

    Args:
        array: HU, the cut axis first.
        shape: what it is padded or cut to.
        centre: share of the slices.
    """
    kept = max(1, round(shape[0] * centre))
    wanted = (kept, *shape[1:])
    out = np.full(wanted, AIR_HU, dtype=np.float32)
    source, target = [], []
    for own, size in zip(array.shape, wanted, strict=True):
        both = min(own, size)
        source.append(slice((own - both) // 2, (own - both) // 2 + both))
        target.append(slice((size - both) // 2, (size - both) // 2 + both))
    out[tuple(target)] = array[tuple(source)]
    return out


@dataclass(frozen=True)
class Moments:
    """Number, mean (d,) and sum of squared deviations (d, d) of feature vectors."""

    n: int
    mean: Floats
    deviations: Floats

    @classmethod
    def of(cls, features: Floats) -> "Moments":
        mean = features.mean(axis=0)
        centred = features - mean
        return cls(len(features), mean, centred.T @ centred)

    def __add__(self, other: "Moments") -> "Moments":
        """Both together (Chan, Golub & LeVeque 1983): exact but for rounding, whatever the parts."""
        n = self.n + other.n
        apart = other.mean - self.mean
        mean = self.mean + apart * other.n / n
        return Moments(n, mean, self.deviations + other.deviations + np.outer(apart, apart) * self.n * other.n / n)

    @property
    def covariance(self) -> Floats:
        return self.deviations / max(1, self.n - 1)


def moments(parts: Iterable[Floats]) -> Moments:
    """Moments of features that come in parts, one in memory at a time.

    Raises:
        ValueError: there is no part.
    """
    whole: Moments | None = None
    for part in parts:
        whole = Moments.of(part) if whole is None else whole + Moments.of(part)
    if whole is None:
        raise ValueError("expected features of at least one image, got none")
    return whole


def frechet_distance(a: Moments, b: Moments) -> float:
    """|mean a - mean b|^2 + tr(A + B - 2 (A B)^1/2) of two Gaussians with the moments given; never below zero."""
    values, vectors = np.linalg.eigh(a.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ b.covariance @ root)
    both = float(np.sqrt(np.maximum(product, 0)).sum())
    apart = float(((a.mean - b.mean) ** 2).sum())
    return max(0.0, apart + float(np.trace(a.covariance) + np.trace(b.covariance)) - 2 * both)


def overlap(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic], where: npt.NDArray[np.bool_]) -> float:
    """Shared area of the HU histograms of two CTs over the same voxels, 0 to 1; NaN without a voxel.

    Args:
        a: HU (X, Y, Z).
        b: HU of the same shape.
        where: the voxels that count, of the same shape.
    """
    if not where.any():
        return math.nan
    shares = []
    for array in (a, b):
        counts = np.histogram(np.clip(array[where], LOW_HU, HIGH_HU), _HISTOGRAM)[0]
        shares.append(counts / counts.sum())
    return float(np.minimum(*shares).sum())
