"""The pixels of a picture that is read, and nothing else of its file."""

import io

import numpy as np
from PIL import Image

from itrialspace_assets.base.errors import NotFound, TableError
from itrialspace_assets.base.fingerprints import sha256_bytes
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.reading.model import SessionPicture
from itrialspace_assets.imaging.pictures import png


def pixels(settings: Settings, picture: SessionPicture) -> bytes:
    """A picture as a PNG that holds its pixels alone.

    Raises:
        NotFound: its file is gone.
        TableError: its file is another one than when the session began.
    """
    try:
        data = (settings.output / picture.path).read_bytes()
    except FileNotFoundError:
        raise NotFound("picture: the file of the slice is gone; run the stage slice again") from None
    if sha256_bytes(data) != picture.sha256:
        raise TableError("picture: the slice was cut again since the session began; begin another session")
    array = picture.path.endswith(".npy")
    image = np.load(io.BytesIO(data), allow_pickle=False) if array else Image.open(io.BytesIO(data))
    return png(np.asarray(image, np.uint8))
