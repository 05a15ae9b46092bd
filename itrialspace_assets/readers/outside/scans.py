"""A scan as files that a program outside reads, and its marks as the program returns them, checked. Runs nothing."""

import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.readers.api import Mark
from itrialspace_assets.readers.outside.messages import GrandChallengePoints, ScanRequest, ScanResult, parse
from itrialspace_assets.readers.outside.options import ContainerOptions

#: Files of our own interface.
REQUEST, RESULT, CT = "request.json", "result.json", "ct.nii.gz"


def result_of(options: ContainerOptions) -> str:
    """Name of the file that a program leaves in its output folder for a scan."""
    return options.output_path if options.interface == "grand_challenge" else RESULT


def write_scan(folder: Path, ct: Volume, options: ContainerOptions) -> None:
    """Write a CT (HU, RAS+) into the input folder, by the program's interface, as whole numbers.

    Args:
        folder: input folder.
        ct: the scan.
        options: of the program.
    """
    rounded = np.rint(ct.array)
    short = np.iinfo(np.int16)
    fits = bool(rounded.min() >= short.min and rounded.max() <= short.max)
    whole = Volume(rounded.astype(np.int16 if fits else np.int32), ct.affine)
    if options.interface == "own":
        write_volume(folder / CT, whole)
        (folder / REQUEST).write_text(ScanRequest(ct=CT).model_dump_json())
        return
    image = folder / options.input_path / f"{_name(whole)}.mha"
    image.parent.mkdir(parents=True)
    write_mha(image, whole)
    (folder / "inputs.json").write_text(json.dumps(_inputs(options, image.name)))


def _name(ct: Volume) -> uuid.UUID:
    """A name as grand-challenge gives one; of the grid alone, so that it tells nothing of a case."""
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{ct.array.shape} {ct.affine.tolist()}")


def _inputs(options: ContainerOptions, name: str) -> list[dict[str, Any]]:
    """``inputs.json``; the socket is there under its name of today and under the earlier one, ``interface``."""
    socket = {
        "title": "CT Image",
        "slug": options.input_slug,
        "kind": "Image",
        "super_kind": "Image",
        "relative_path": options.input_path,
    }
    return [{"socket": socket, "interface": socket, "image": {"name": name}, "file": None, "value": None}]


def write_mha(path: Path, ct: Volume) -> None:
    """Write a RAS+ volume as MetaImage, whose axes run to the left, the back and the head (LPS).

    Args:
        path: file to write.
        ct: HU (X, Y, Z).
    """
    import SimpleITK as sitk

    turned = ct.array[::-1, ::-1, :]
    image = sitk.GetImageFromArray(np.ascontiguousarray(turned.T))
    first = ct.to_world([ct.array.shape[0] - 1, ct.array.shape[1] - 1, 0])
    image.SetOrigin([-float(first[0]), -float(first[1]), float(first[2])])
    image.SetSpacing([float(s) for s in ct.spacing])
    sitk.WriteImage(image, str(path))


def read_marks(data: bytes, ct: Volume, options: ContainerOptions) -> list[Mark]:
    """Marks that a program returned, best first.

    Args:
        data: bytes of its result.
        ct: the scan that it read.
        options: of the program.

    Raises:
        ValueError: the result breaks its format, a mark has no score, or lies outside of the scan.
    """
    where = result_of(options)
    if options.interface == "own":
        marks = [Mark(m.point_mm, m.diameter_mm, m.score) for m in parse(ScanResult, data, where).marks]
    else:
        marks = []
        for number, point in enumerate(parse(GrandChallengePoints, data, where).points):
            if point.probability is None:
                raise ValueError(f"{where}: points.{number}: expected a probability, got none; FROC ranks marks by it")
            x, y, z = point.point
            marks.append(Mark((-x, -y, z), None, point.probability))
    _require_inside(np.asarray([m.world for m in marks], dtype=np.float64).reshape(-1, 3), ct, where)
    return sorted(marks, key=lambda m: (-m.score, m.world))


def _require_inside(points: npt.NDArray[np.float64], ct: Volume, where: str) -> None:
    """
    Raises:
        ValueError: a point (mm, RAS), shape (n, 3), is more than half a voxel outside of the voxels' centres.
    """
    at = ct.to_voxel(points)
    out = np.flatnonzero(((at < -0.5) | (at > np.asarray(ct.array.shape) - 0.5)).any(axis=1))
    if len(out):
        low, high = ct.to_world([-0.5] * 3), ct.to_world(np.asarray(ct.array.shape) - 0.5)
        raise ValueError(
            f"{where}: expected marks between {_mm(low)} and {_mm(high)} mm (RAS), got {_mm(points[out[0]])} as number "
            f"{out[0]}"
        )


def _mm(point: Sequence[float] | npt.NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{v:.1f}" for v in point) + ")"
