"""The picture of a slice as a reader was shown it, by its id."""

import io

import duckdb
import numpy as np
from PIL import Image

from itrialspace_assets.base.errors import NotFound, TableError
from itrialspace_assets.base.fingerprints import sha256_bytes
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.imaging.pictures import png


def slice_picture(settings: Settings, db: duckdb.DuckDBPyConnection, slice_uid: str, condition: str) -> bytes:
    """PNG of a slice under a guidance.

    Args:
        settings: output folder with the pictures.
        db: the catalog.
        slice_uid: of the slice.
        condition: guidance drawn on it.

    Raises:
        NotFound: there is no such slice, or its picture is gone.
    """
    found = db.execute(
        "SELECT path FROM slices WHERE slice_uid = ? AND condition = ? AND control = 'none' LIMIT 1",
        [slice_uid, condition],
    ).fetchall()
    if not found:
        raise NotFound(f"slice {slice_uid}: expected one under {condition}, found none")
    return plain_png(settings, found[0][0])


def plain_png(settings: Settings, path: str, sha256: str | None = None) -> bytes:
    """Pixels of a picture as a PNG that holds nothing else.

    Args:
        settings: output folder.
        path: of a PNG, or of a uint8 array (H, W) or (H, W, 3), below it.
        sha256: of the file, where it must still be the same.

    Raises:
        NotFound: it is gone.
        TableError: it is another file now.
    """
    try:
        data = (settings.output / path).read_bytes()
    except FileNotFoundError:
        raise NotFound("picture: the file of the slice is gone; run the stage slice again") from None
    if sha256 is not None and sha256_bytes(data) != sha256:
        raise TableError("picture: the slice was cut anew since the session began; begin another session")
    pixels = np.load(io.BytesIO(data), allow_pickle=False) if path.endswith(".npy") else Image.open(io.BytesIO(data))
    return png(np.asarray(pixels, np.uint8))
