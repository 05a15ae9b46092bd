"""NodMAISI as the platform calls it: a request in, a CT on the host's grid out; one set of networks for each worker.

Workers of one GPU take turns: while one computes, another prepares the next map or packs and writes the last image.
"""

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.errors import CaseRejected, ConfigError, Reason
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.lesions import stamp
from itrialspace_assets.synthesis import devices
from itrialspace_assets.synthesis.nodmaisi import networks as net
from itrialspace_assets.synthesis.nodmaisi import sample as sampling
from itrialspace_assets.synthesis.nodmaisi import weights as files
from itrialspace_assets.synthesis.nodmaisi.prepare import legal_grid, prepare, restore
from itrialspace_assets.synthesis.quality import AIR_HU
from itrialspace_assets.synthesis.request import Rendered, RenderRequest

NAME = "nodmaisi"
VERSION = "2"
#: Data that MAISI and NodMAISI's ControlNet were trained on are only partly published.
TRAINED_ON = "unknown (MAISI's own sets; ControlNet on DLCS24 and others)"
#: Logged for 512 x 512 x 256 voxels and 30 steps on a card of 48 GB (docs/facts/synthesis.md#memory-and-time):
#: denoising 12.3 s, decoding 15.2 s.
SECONDS_PER_VOXEL = (12.3 + 15.2) / (512 * 512 * 256)
#: Documented peak of GPU memory (GiB) of a case in the largest window (docs/facts/synthesis.md#memory-and-time).
GPU_GIB = 20.0


def require_weights(settings: Settings) -> None:
    """Refuse to begin without all that a rendering needs but the device: planning may run where there is no GPU.

    Raises:
        ConfigError: torch or MONAI is not installed, or the weights are not there, not locked, not those that were
            locked, or do not fit their architecture.
    """
    try:
        import monai  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"renderer nodmaisi: {error}; install with `pip install 'itrialspace-assets[nodmaisi]'`"
        ) from None
    _check(files.find(settings))


@lru_cache(maxsize=1)
def _check(weights: files.NodmaisiWeights) -> None:
    net.check(weights)


def require_device(settings: Settings) -> None:
    """Refuse to begin without the device that is asked for.

    Raises:
        ConfigError: there is no GPU.
    """
    devices.require(settings.device, "renders on the processor, for hours a case")


def weights_hash(settings: Settings) -> str:
    """Hash of weights and architecture, and of what else changes an image: the steps, and the device's precision."""
    how = ["compat"] if settings.nodmaisi_schedule == "compat" else []
    how += ["cpu"] if settings.device == "cpu" else []
    return "+".join([files.locked_hash(settings), *how])


def workers(settings: Settings) -> int:
    """Worker processes: those of the GPUs; one on the processor, which a network fills."""
    return 1 if settings.device == "cpu" else devices.workers(settings)


@lru_cache(maxsize=1)
def _networks(settings: Settings, sha256: str, device: str) -> net.Networks:
    return net.load(files.find(settings), device)


def render(settings: Settings, request: RenderRequest, bits: list[str]) -> Rendered:
    """A CT of a host with its lesions, int16 HU on the host's grid, and the window in which it was decoded.

    The noise depends on the host, not on its lesions, so an image with lesions and its lesion-free twin start from the
    same noise.

    Args:
        settings: device, folder of the weights, schedule of the steps.
        request: host map (X, Y, Z; canonical RAS+), lesions in its grid, and seeds.
        bits: the lesions, packed; not used, because the network draws their texture.

    Raises:
        CaseRejected: the map cannot be brought to a legal grid, memory does not suffice, or values are no numbers.
        ConfigError: the weights are missing, or are not those that were locked.
    """
    import torch

    labels = stamp(request.host, request.lesions) if request.lesions else request.host
    device = devices.assigned(settings.device)
    networks = _networks(settings, weights_hash(settings), device)
    prepared = prepare(labels, networks.architecture.legal)
    with devices.turn(device):
        if device != "cpu":
            torch.cuda.reset_peak_memory_stats(device)
        made = sampling.sample(networks, prepared, request.noise_seed, settings.nodmaisi_schedule == "compat")
        peak = torch.cuda.max_memory_allocated(device) / 2**30 if device != "cpu" else 0.0
    hu = restore(made.hu, prepared, request.host)
    if not np.isfinite(hu).all():
        raise CaseRejected(Reason.IMPLAUSIBLE_HU, "NodMAISI: expected finite HU after sampling back to the host's grid")
    hu[request.host.array == 0] = AIR_HU
    ct = Volume(np.asfortranarray(np.rint(hu).astype(np.int16)), request.host.affine)
    return Rendered(ct, "x".join(map(str, made.window)), {"peak_gpu_gib": round(peak, 3)} if peak else {})


def seconds_per_image(settings: Settings, shape: tuple[int, int, int], spacing: npt.NDArray[np.float64]) -> float:
    """Seconds of GPU for an image of a host, from the published run; the padding is computed too and counts.

    Args:
        settings: folder of the weights, which may name another architecture with other legal grids.
        shape: voxels (X, Y, Z) of the host.
        spacing: voxel size (x, y, z) of the host, mm.

    Returns:
        Seconds; 0 for a host that no legal grid holds, because its cases will be rejected.

    Raises:
        ConfigError: the weights are missing or are not those that were locked, or the file of the architecture holds
            none.
    """
    legal = net.read_architecture(files.find(settings).architecture).legal
    try:
        return SECONDS_PER_VOXEL * math.prod(legal_grid(shape, spacing, legal)[2])
    except CaseRejected:
        return 0.0
