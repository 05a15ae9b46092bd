"""Puts a request into the messages of chat completions: pictures first, the question last. Sends nothing."""

import base64
from collections.abc import Sequence
from typing import Any

from itrialspace_assets.imaging.pictures import png
from itrialspace_assets.readers.api import Picture
from itrialspace_assets.readers.square import squared

#: What follows each picture where there are several; they are counted from 1 (docs/facts/readers.md#endpoint).
TAG = "SLICE {number}"


def data_url(picture: Picture) -> str:
    """A picture (H, W) or (H, W, 3), padded to a square so that no processor cuts it, as a PNG inside a URL."""
    return "data:image/png;base64," + base64.b64encode(png(squared(picture))).decode("ascii")


def messages(pictures: Sequence[str], text: str) -> list[dict[str, Any]]:
    """One turn of the user; all tasks about a picture share what stands before the question.

    Args:
        pictures: data URLs, in z order.
        text: the question.
    """
    parts: list[dict[str, Any]] = []
    for number, url in enumerate(pictures, 1):
        parts.append({"type": "image_url", "image_url": {"url": url}})
        if len(pictures) > 1:
            parts.append({"type": "text", "text": TAG.format(number=number)})
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]
