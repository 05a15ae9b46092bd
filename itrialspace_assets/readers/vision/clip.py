"""A CLIP model: the score of an option is the scaled similarity of the picture and the option's caption.

Loads open_clip's own classes from a folder, offline. What a picture scores does not depend on what it is read with:
pictures are encoded in batches of one size, filled up with black ones.
"""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.readers.api import Generation, Picture, Read, Request
from itrialspace_assets.readers.compute import Precision, start
from itrialspace_assets.readers.square import pixels_lost, rejected, squared
from itrialspace_assets.readers.vision.captions import captions_in
from itrialspace_assets.synthesis.devices import turn

if TYPE_CHECKING:
    import torch

#: File of a model's configuration, and the folder with the configuration of a text tower that it names by an id.
CONFIG, TEXT_TOWER = "open_clip_config.json", "text_tower"
#: Threads that prepare pictures for a GPU (ours); for the processor one, which the model needs too.
_PREPARERS = 4

Features = npt.NDArray[np.float64]


def text_tower_of(folder: Path) -> str | None:
    """The id by which a model's configuration names its text tower; None: open_clip has the tower itself.

    Raises:
        ConfigError: the file is no configuration of open_clip.
    """
    path = folder / CONFIG
    try:
        name = json.loads(path.read_bytes())["model_cfg"]["text_cfg"].get("hf_model_name")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: expected model_cfg with text_cfg and vision_cfg, got {error!r}") from None
    return None if name is None else str(name)


def load(folder: Path, *, batch: int, precision: Precision, over_slices: Literal["mean", "max"], device: str) -> Read:
    """What reads with the model of a folder.

    Args:
        folder: configuration, weights and tokenizer; where the text tower is named by an id, its configuration too.
        batch: pictures that are encoded at once; halved for good where the GPU's memory does not suffice.
        precision: what images are encoded in; captions are encoded in single precision.
        over_slices: how the scores of a request's slices become one.
        device: ``cuda`` or ``cpu``.

    Raises:
        ConfigError: open_clip cannot load the files.
    """
    towers = Towers(folder, batch, precision, start(device))

    def read(requests: Sequence[Request]) -> list[Generation]:
        lost = [max(map(towers.lost, request.pictures)) for request in requests]
        pictures = {
            id(picture): picture
            for request, n in zip(requests, lost, strict=True)
            if not n
            for picture in request.pictures
        }
        images = dict(zip(pictures, towers.images(list(pictures.values())), strict=True))
        return [
            rejected(n) if n else _scores(towers, request, [images[id(p)] for p in request.pictures], over_slices)
            for request, n in zip(requests, lost, strict=True)
        ]

    return read


def _scores(towers: "Towers", request: Request, images: list[Features], over_slices: str) -> Generation:
    assert request.prompt is not None
    captions = captions_in(request.prompt)
    texts = np.stack([towers.text(captions[option]) for option in request.options])
    each = np.stack([towers.scale * (texts * image).sum(axis=1) + towers.bias for image in images])
    return Generation(option_scores=tuple((each.max(axis=0) if over_slices == "max" else each.mean(axis=0)).tolist()))


class Towers:
    """A loaded model: features of unit length of pictures and captions, and the scale and bias of their products.

    Args:
        folder: of the model.
        batch: pictures that are encoded at once.
        precision: what images are encoded in.
        device: ``cuda:<n>`` or ``cpu``.

    Raises:
        ConfigError: open_clip cannot load the files.
    """

    def __init__(self, folder: Path, batch: int, precision: Precision, device: str) -> None:
        import open_clip  # type: ignore[import-untyped]
        import torch

        self._batch, self._device, self._precision = batch, device, getattr(torch, precision)
        given: dict[str, Any] = {}
        if text_tower_of(folder) is not None:
            text = json.loads((folder / CONFIG).read_bytes())["model_cfg"]["text_cfg"]
            given["text_cfg"] = text | {"hf_model_name": str(folder / TEXT_TOWER), "hf_model_pretrained": False}
        try:
            model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}", device=device, **given)
            self._tokenizer: Any = open_clip.get_tokenizer(f"local-dir:{folder}")
        except Exception as error:  # open_clip, timm and transformers raise many kinds for files that do not fit
            raise ConfigError(
                f"{folder}: expected a CLIP model that open_clip can load, got {type(error).__name__}: "
                f"{str(error).splitlines()[0] if str(error) else ''}"
            ) from None
        self._model: Any = model.eval().requires_grad_(False)
        self._transform: Any = transform
        how = model.visual.preprocess_cfg
        size = how["size"]
        self._size: tuple[int, int] = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
        self._crops = how["resize_mode"] == "shortest"
        self.scale = float(model.logit_scale.exp())
        self.bias = 0.0 if model.logit_bias is None else float(model.logit_bias)
        self._texts: dict[str, Features] = {}
        self._pool = ThreadPoolExecutor(1 if device == "cpu" else _PREPARERS)

    def lost(self, picture: Picture) -> int:
        """Pixels of a picture that the model's own crop would cut off after padding to a square."""
        return pixels_lost(picture.shape, max(self._size), self._size) if self._crops else 0

    def text(self, caption: str) -> Features:
        """Features (D,) of a caption; encoded once."""
        import torch

        if caption not in self._texts:
            with torch.inference_mode(), turn(self._device):
                ids = self._tokenizer([caption]).to(self._device)
                self._texts[caption] = _unit(self._model.encode_text(ids))[0]
        return self._texts[caption]

    def images(self, pictures: Sequence[Picture]) -> list[Features]:
        """Features (D,) of pictures, one each."""
        import torch

        found: list[Features] = []
        while len(found) < len(pictures):
            batch = self._batch
            part = pictures[len(found) : len(found) + batch]
            pixels = torch.zeros(batch, 3, *self._size)
            for i, prepared in enumerate(self._pool.map(self._prepare, part)):
                pixels[i] = prepared
            try:
                found += list(self._encode(pixels)[: len(part)])
            except torch.OutOfMemoryError:
                if batch == 1:
                    raise
                self._batch = batch // 2
        return found

    def _prepare(self, picture: Picture) -> "torch.Tensor":
        prepared: torch.Tensor = self._transform(Image.fromarray(squared(picture)))  # grey becomes three channels last
        return prepared

    def _encode(self, pixels: "torch.Tensor") -> Features:
        """Features (N, D) of prepared pictures (N, 3, H, W)."""
        import torch

        half = self._precision != torch.float32
        kind = self._device.partition(":")[0]
        with turn(self._device), torch.inference_mode(), torch.autocast(kind, self._precision, enabled=half):
            return _unit(self._model.encode_image(pixels.to(self._device)))


def _unit(features: "torch.Tensor") -> Features:
    """Features (N, D) of unit length."""
    wide = np.asarray(features.float().cpu().numpy(), dtype=np.float64)
    return np.asarray(wide / np.sqrt((wide**2).sum(axis=1, keepdims=True)), dtype=np.float64)
