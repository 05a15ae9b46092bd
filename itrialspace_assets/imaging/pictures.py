"""Small pictures and tables for people: slices with outlines as PNG, frames as Markdown.

Radiological view: patient right on the image's left, front (or head) on top. Nothing here reads files.
"""

import struct
import zlib

import numpy as np
import numpy.typing as npt
import polars as pl
from isal import isal_zlib

from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.lesions import Lesion

#: Colour of an outline (red, green, blue); ours.
OUTLINE = (255, 50, 50)
#: Level of ISA-L's deflate in a PNG, of 0 to 3; ours: a tenth of the time of zlib's level 6 at about its size.
PNG_LEVEL = 1


def radiological(plane: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """A plane of a RAS+ volume as image rows and columns: (X, Y) axial, (X, Z) coronal or (Y, Z) sagittal.

    Front or head on top; the patient's right, or of a sagittal plane the front, on the left.
    """
    return plane.T[::-1, ::-1]


def png(image: npt.NDArray[np.uint8]) -> bytes:
    """PNG bytes of a grey (H, W) or colour (H, W, 3) image; equal pixels give equal bytes.

    Each row is stored as its difference to the row above (PNG filter 2), at ``PNG_LEVEL``.
    """
    height, width = image.shape[:2]
    rows = image.reshape(height, -1)
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = 2
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if image.ndim == 3 else 0, 0, 0, 0)
    data = isal_zlib.compress(filtered, PNG_LEVEL)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    )


def outline(mask: npt.NDArray[np.bool_], gap: int = 0) -> npt.NDArray[np.bool_]:
    """One-pixel ring around a mask (H, W), more than ``gap`` pixels (straight line) away from it; boolean (H, W)."""
    from scipy import ndimage

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    ring = np.zeros(mask.shape, bool)
    if len(rows):  # distances are worked out near the mask alone
        part = tuple(slice(max(0, int(hit[0]) - gap - 1), int(hit[-1]) + gap + 2) for hit in (rows, columns))
        away = ndimage.distance_transform_edt(~mask[part])
        ring[part] = (away > gap) & (away <= gap + 1)
    return ring


def lesion_plane(lesion: Lesion, axis: int = 2) -> int:
    """Index along an axis (z if not said) of the lesion's largest plane, the lowest of equals."""
    across = tuple(a for a in range(3) if a != axis)
    return lesion.offset[axis] + int(lesion.mask.sum(axis=across).argmax())


def label_grey(plane: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Grey values (same shape) that differ between neighbouring labels; label 0 is black."""
    wide = plane.astype(np.uint16)
    return np.asarray(((wide * 37) % 120 + 60) * (wide > 0), dtype=np.uint8)


def label_slice(labels: Volume, lesion: Lesion) -> bytes:
    """PNG of the label map at a lesion's largest plane with the lesion outlined."""
    k = lesion_plane(lesion)
    return _outlined(label_grey(labels.array[..., k]), labels, lesion, k)


def lung_grey(hu: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """HU (any shape) in the lung window, -1350 to 150, as grey 0-255; values that are no numbers are black."""
    return np.asarray(np.clip((np.nan_to_num(hu.astype(np.float32), nan=-1350) + 1350) / 1500 * 255, 0, 255), np.uint8)


def ct_slice(ct: Volume, lesion: Lesion | None) -> bytes:
    """PNG of a CT (HU) in the lung window at a lesion's largest plane, outlined; without a lesion, of its middle."""
    k = ct.array.shape[2] // 2 if lesion is None else lesion_plane(lesion)
    grey = lung_grey(ct.array[..., k])
    return png(radiological(grey).astype(np.uint8)) if lesion is None else _outlined(grey, ct, lesion, k)


def _outlined(grey: npt.NDArray[np.uint8], grid: Volume, lesion: Lesion, k: int) -> bytes:
    mask = np.zeros(grid.array.shape[:2], bool)
    mask[lesion.box[0], lesion.box[1]] = lesion.mask[..., k - lesion.offset[2]]
    image = np.repeat(radiological(grey)[..., None], 3, axis=2).astype(np.uint8)
    image[radiological(outline(mask, 1))] = OUTLINE
    return png(image)


def markdown(frame: pl.DataFrame) -> str:
    """A frame as a Markdown table, all rows and columns."""
    with pl.Config(
        tbl_formatting="ASCII_MARKDOWN",
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
        tbl_cols=-1,
        tbl_rows=-1,
        fmt_str_lengths=80,
        float_precision=3,
        tbl_width_chars=400,
    ):
        return str(frame)
