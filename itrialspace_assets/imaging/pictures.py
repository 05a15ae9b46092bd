"""Small pictures and tables for people: slices with outlines as PNG, frames as Markdown.

Radiological view: patient right on the image's left, front on top. Nothing here reads files.
"""

import io

import numpy as np
import numpy.typing as npt
import polars as pl
from PIL import Image

from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.volumes import Lesion

#: Colour of an outline (red, green, blue); ours.
OUTLINE = (255, 50, 50)


def axial(plane: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """An axial plane (X, Y) of a RAS+ volume as image rows and columns: front on top, right on the left."""
    return plane.T[::-1, ::-1]


def png(image: npt.NDArray[np.uint8]) -> bytes:
    """PNG bytes of a grey (H, W) or colour (H, W, 3) image; equal pixels give equal bytes."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(out, format="PNG", compress_level=6)
    return out.getvalue()


def outline(mask: npt.NDArray[np.bool_], gap: int = 0) -> npt.NDArray[np.bool_]:
    """One-pixel ring around a mask (H, W), ``gap`` pixels away from it; boolean (H, W)."""
    from scipy import ndimage

    disc = ndimage.generate_binary_structure(2, 1)
    inner = ndimage.binary_dilation(mask, disc, iterations=gap) if gap else mask
    return np.asarray(ndimage.binary_dilation(inner, disc) & ~inner, dtype=bool)


def lesion_plane(lesion: Lesion) -> int:
    """Index along z of the lesion's largest plane, the lowest of equals."""
    return lesion.offset[2] + int(lesion.mask.sum(axis=(0, 1)).argmax())


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
    return png(axial(grey).astype(np.uint8)) if lesion is None else _outlined(grey, ct, lesion, k)


def _outlined(grey: npt.NDArray[np.uint8], grid: Volume, lesion: Lesion, k: int) -> bytes:
    mask = np.zeros(grid.array.shape[:2], bool)
    mask[lesion.box[0], lesion.box[1]] = lesion.mask[..., k - lesion.offset[2]]
    image = np.repeat(axial(grey)[..., None], 3, axis=2).astype(np.uint8)
    image[axial(outline(mask, 1))] = OUTLINE
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
