"""What readers with networks share: the device and precision they compute in, and batches of texts of similar length.

torch is imported inside functions only.
"""

import importlib.util
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment
from itrialspace_assets.synthesis import devices

#: Precisions that an entry may ask for.
Precision = Literal["float32", "bfloat16", "float16"]


def device_of(entry: ReaderEntry, place: ReaderEnvironment) -> str:
    """Where an entry's network computes: ``cuda`` where its location is ``gpu`` and ITRIALSPACE_DEVICE says so."""
    return place.device if entry.location == "gpu" else "cpu"


def attention_of(device: str, precision: Precision) -> str:
    """The implementation of attention to ask transformers for.

    Flash attention takes half precision on a GPU and a package of its own; ``sdpa`` is torch's own, which uses the same
    kind of kernel where it can.
    """
    flash = device != "cpu" and precision != "float32" and importlib.util.find_spec("flash_attn") is not None
    return "flash_attention_2" if flash else "sdpa"


def batches(lengths: Sequence[int], most: int, tokens: int) -> list[npt.NDArray[np.int64]]:
    """Batches of texts of similar length, the longest first: little is padded, and memory fails at once or never.

    Args:
        lengths: tokens of each text.
        most: most texts of a batch.
        tokens: most tokens of a batch after padding to its longest text; a longer text is a batch by itself.

    Returns:
        Indices into ``lengths``, an array of shape (texts of the batch,) each; every one in one batch.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    found, start = [], 0
    while start < len(order):
        longest = max(1, lengths[order[start]])
        size = max(1, min(most, tokens // longest))
        found.append(order[start : start + size])
        start += size
    return found


def start(device: str) -> str:
    """The device of this worker (``cuda:0``, …, or ``cpu``), ready to compute.

    On the processor a worker computes with one thread: workers share the cores, and sums depend on how many threads
    share them.

    Raises:
        ConfigError: there is no GPU.
    """
    require_device(device)
    if device == "cpu":
        import torch

        torch.set_num_threads(1)
    return devices.assigned(device)


def require_device(device: str) -> None:
    """Refuse to begin without the device that is asked for.

    Raises:
        ConfigError: there is no GPU.
    """
    devices.require(device, "reads on the processor, where a large model takes minutes a slice")


def at_once(settings: Settings, device: str | None) -> int:
    """How many workers of readers with such a device compute at once: of each GPU one, because they take turns."""
    return settings.workers if device != "cuda" else max(1, devices.workers(settings) // settings.per_gpu)
