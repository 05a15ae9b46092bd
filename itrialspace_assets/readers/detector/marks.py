"""A scan's marks by a detector: onto the network's grid, through it, and its boxes back into the world.

The scan is in RAS+ as the network wants it; no axis is switched. Box coordinates are voxel indices: a whole number is
the middle of a voxel, as in the files that the network was trained on.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.readers.api import Mark
from itrialspace_assets.readers.compute import Precision
from itrialspace_assets.synthesis.devices import turn

if TYPE_CHECKING:
    import torch

#: Voxel size (mm) and HU that become 0 and 1 (docs/facts/readers.md#detector).
SPACING_MM, LOW_HU, HIGH_HU = (0.703125, 0.703125, 1.25), -1024.0, 300.0


def marks_of(detector: Any, ct: Volume, window: Sequence[int], precision: Precision, device: str) -> list[Mark]:
    """The boxes that a detector finds in a scan as marks, best first.

    Args:
        detector: as ``network.detector`` makes it, on the device.
        ct: HU (X, Y, Z), canonical RAS+.
        window: voxels that are read at once; a scan with no more voxels on the network's grid is read as a whole.
        precision: what the network computes in.
        device: ``cuda:<n>`` or ``cpu``.

    Returns:
        Marks: the middle of each box in world mm (RAS), the mean of its edges in mm as diameter, its score.

    Raises:
        CaseRejected: the GPU's memory does not suffice.
    """
    import torch

    half, kind = precision != "float32", device.partition(":")[0]
    try:
        with turn(device), torch.inference_mode():
            image = on_grid(ct, device)
            with torch.autocast(kind, getattr(torch, precision), enabled=half):
                found = detector([image], use_inferer=image.numel() >= math.prod(window))[0]
            boxes, scores = (found[key].float().cpu().numpy() for key in ("box", "label_scores"))
    except torch.OutOfMemoryError as error:
        raise CaseRejected(Reason.OUT_OF_MEMORY, f"detector: {str(error).splitlines()[0]}") from None
    return in_world(boxes, scores, ct, tuple(image.shape[1:]))


def on_grid(ct: Volume, device: str) -> "torch.Tensor":
    """A scan (1, X, Y, Z) on a device: voxels of the network's size, interpolated linearly, and values from 0 to 1.

    The grid covers the same field, so that voxels may differ from the network's by half a voxel over the whole field.
    """
    import torch

    size = [max(1, round(n * s / wanted)) for n, s, wanted in zip(ct.array.shape, ct.spacing, SPACING_MM, strict=True)]
    image = torch.from_numpy(np.ascontiguousarray(ct.array, dtype=np.float32)).to(device)[None, None]
    if size != list(ct.array.shape):
        image = torch.nn.functional.interpolate(image, size=size, mode="trilinear", align_corners=False)
    return image[0].sub_(LOW_HU).div_(HIGH_HU - LOW_HU).clamp_(0, 1)


def in_world(
    boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], ct: Volume, grid: tuple[int, ...]
) -> list[Mark]:
    """Boxes as marks, best first.

    Args:
        boxes: (N, 6) lowest x, y, z and highest x, y, z, in voxels of the network's grid.
        scores: (N,).
        ct: the scan.
        grid: voxels (X, Y, Z) of the network's grid over the scan.
    """
    ratio = np.asarray(ct.array.shape) / np.asarray(grid)
    low, high = (part.astype(np.float64) for part in (boxes[:, :3], boxes[:, 3:]))
    middles = ct.to_world((((low + high) / 2 + 0.5) * ratio - 0.5).reshape(-1, 3))
    diameters = ((high - low) * ratio * ct.spacing).mean(axis=1)
    order = np.argsort(-scores, kind="stable")
    return [
        Mark((x, y, z), diameter, score)
        for (x, y, z), diameter, score in zip(
            middles[order].round(3).tolist(), diameters[order].round(3).tolist(), scores[order].tolist(), strict=True
        )
    ]
