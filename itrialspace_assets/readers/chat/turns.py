"""What a language model is told: one turn with the pictures and, after the last of them, the question."""

from typing import Any

from PIL import Image

from itrialspace_assets.readers.api import Picture, Request
from itrialspace_assets.readers.square import coloured, squared

#: What follows each picture where there are several; they are counted from 1 (docs/facts/readers.md#medgemma).
TAG = "SLICE {number}"


def image_of(picture: Picture) -> Image.Image:
    """A picture as processors take it: three channels, padded to a square so that none of them cuts anything off."""
    return Image.fromarray(squared(coloured(picture)))


def turn(request: Request) -> list[dict[str, Any]]:
    """The conversation of a request, as the chat templates of transformers take it.

    Pictures come first, in z order, each followed by its running number where there are several; the question comes
    after the last one, so that all tasks share what goes before it.
    """
    parts: list[dict[str, Any]] = []
    for number, picture in enumerate(request.pictures, 1):
        parts.append({"type": "image", "image": image_of(picture)})
        if len(request.pictures) > 1:
            parts.append({"type": "text", "text": TAG.format(number=number)})
    assert request.prompt is not None  # every task of a language model has words
    return [{"role": "user", "content": [*parts, {"type": "text", "text": request.prompt}]}]
