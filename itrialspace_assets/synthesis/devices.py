"""Where networks compute: how many workers a machine's GPUs take, which of them a worker has, and whose turn it is.

Workers of one GPU take turns: while one computes, another prepares what comes next or writes what came last. torch is
imported inside functions only.
"""

import contextlib
import multiprocessing
import os
import tempfile
from pathlib import Path

from filelock import FileLock

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings


def require(device: str, otherwise: str) -> None:
    """Refuse to begin without the device that is asked for.

    Args:
        device: ``cuda`` or ``cpu``.
        otherwise: what ITRIALSPACE_DEVICE=cpu would mean, for the message.

    Raises:
        ConfigError: there is no GPU.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "ITRIALSPACE_DEVICE=cuda: expected a GPU that torch can use, found none (CUDA_VISIBLE_DEVICES="
            f"{os.environ.get('CUDA_VISIBLE_DEVICES', '')!r}); ITRIALSPACE_DEVICE=cpu {otherwise}"
        )


def workers(settings: Settings) -> int:
    """Worker processes of this machine's GPUs: ``per_gpu`` on each that CUDA_VISIBLE_DEVICES leaves."""
    import torch

    return max(1, torch.cuda.device_count() * settings.per_gpu)


def assigned(device: str) -> str:
    """The device of this worker: of ``cuda`` the visible GPUs in turn (``cuda:0``, ``cuda:1``, …), else ``cpu``."""
    if device == "cpu":
        return "cpu"
    import torch

    identity = multiprocessing.current_process()._identity  # empty in the main process
    return f"cuda:{(identity[-1] - 1 if identity else 0) % torch.cuda.device_count()}"


def turn(device: str) -> contextlib.AbstractContextManager[object]:
    """What a worker holds while it computes on its GPU; nothing for the processor, which is shared by the system."""
    return contextlib.nullcontext() if device == "cpu" else FileLock(turn_file(device))


def turn_file(device: str) -> Path:
    """The file of a GPU's turns; by the physical device, whatever is visible to whom."""
    index = int(device.partition(":")[2] or 0)
    visible = [d for d in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if d]
    name = visible[index] if index < len(visible) else str(index)
    return (
        Path(tempfile.gettempdir())
        / f"itrialspace-{os.getuid()}-{device.partition(':')[0]}-{name.replace('/', '_')}.lock"
    )
