"""One image from three networks: noise, steps of a rectified flow, decoding in windows, HU.

Every function depends on its arguments and the seed only; knows no file and no case.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.synthesis.nodmaisi.networks import Networks
from itrialspace_assets.synthesis.nodmaisi.prepare import Prepared, bit_planes
from itrialspace_assets.synthesis.quality import AIR_HU, HIGH_HU, LOW_HU

if TYPE_CHECKING:
    import torch

#: Class label of CT, and the unit of the spacing input: hundredths of a mm (docs/facts/synthesis.md#conditioning).
CT_CLASS, SPACING_UNIT = 1, 100.0
#: Steps of training, and latent voxels of the image that they were not transformed for
#: (docs/facts/synthesis.md#sampling-steps).
TRAIN_STEPS, BASE_VOXELS = 1000, 32**3
#: Overlap of decoding windows, as published (docs/facts/synthesis.md#decoding).
OVERLAP = 0.25


@dataclass(frozen=True)
class Sampled:
    """HU (X, Y, Z) over a prepared map, and the decoding window (latent voxels) that fitted into memory."""

    hu: npt.NDArray[np.float32]
    window: tuple[int, int, int]


def schedule(steps: int, latent_voxels: int, compat: bool) -> list[tuple[float, float]]:
    """(time, step) of each evaluation, time from 1000 down to 0, steps as shares of 1.

    Times are MONAI's, in half precision.

    Args:
        steps: number of evaluations.
        latent_voxels: voxels of the latent; MONAI transforms the times by it.
        compat: step as the original does, to the next time cut to a whole number, so that steps sum to more than 1
            (docs/facts/synthesis.md#sampling-steps); without it they sum to 1.
    """
    from monai.networks.schedulers.rectified_flow import RFlowScheduler

    flow = RFlowScheduler(
        num_train_timesteps=TRAIN_STEPS,
        use_discrete_timesteps=False,
        sample_method="uniform",
        use_timestep_transform=True,
        base_img_size_numel=BASE_VOXELS,
        spatial_dim=3,
    )
    flow.set_timesteps(num_inference_steps=steps, input_img_size_numel=latent_voxels)
    times = [float(t) for t in flow.timesteps]
    following = [*times[1:], 0.0]
    return [(t, (t - (int(n) if compat else n)) / TRAIN_STEPS) for t, n in zip(times, following, strict=True)]


def draw_noise(seed: np.random.SeedSequence, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Standard normal latent of a shape; drawn on the processor, so that the kind of GPU does not matter."""
    return np.random.Generator(np.random.SFC64(seed)).standard_normal(shape, dtype=np.float32)


def sample(networks: Networks, prepared: Prepared, seed: np.random.SeedSequence, compat: bool = False) -> Sampled:
    """A CT of a prepared label map.

    Args:
        networks: with their weights.
        prepared: the map.
        seed: of the host's noise.
        compat: steps of the original, see ``schedule``.

    Raises:
        CaseRejected: the network gives no numbers, or memory does not suffice even for the smallest window.
    """
    import torch

    short = None
    try:
        with torch.inference_mode(), _precision(networks.device):
            image, window = _decode(networks, _denoise(networks, prepared, seed, compat))
    except torch.OutOfMemoryError as error:
        short = str(error).splitlines()[0]
    _release(networks)  # after the handler, where the error no longer holds what was computed; another worker is next
    if short is not None:
        raise CaseRejected(Reason.OUT_OF_MEMORY, f"NodMAISI: {short}")
    if not np.isfinite(image).all():
        raise CaseRejected(Reason.IMPLAUSIBLE_HU, "NodMAISI: expected finite HU, got values that are no number")
    hu = np.clip(image, 0, 1) * (HIGH_HU - LOW_HU) + LOW_HU
    hu[prepared.labels == 0] = AIR_HU
    return Sampled(hu.astype(np.float32), window)


def _precision(device: "torch.device") -> Any:
    import torch

    return torch.autocast(device.type, torch.float16, enabled=device.type == "cuda")


def _denoise(networks: Networks, prepared: Prepared, seed: np.random.SeedSequence, compat: bool) -> "torch.Tensor":
    """Latent (1, C, x, y, z) after all steps."""
    import torch

    device, shrink = networks.device, networks.architecture.shrink
    size = tuple(n // shrink for n in prepared.labels.shape)
    channels = int(networks.architecture.unet["in_channels"])
    latent = torch.from_numpy(draw_noise(seed, (1, channels, *size))).to(device)
    spacing = torch.tensor(prepared.spacing[None] * SPACING_UNIT, dtype=torch.float32, device=device)
    kind = torch.tensor([CT_CLASS], device=device)
    with _embedded(networks, prepared.labels) as embedding:
        for time, step in schedule(networks.architecture.steps, int(np.prod(size)), compat):
            at = torch.tensor([time], dtype=torch.float32, device=device)
            down, middle = networks.controlnet(latent, at, embedding, class_labels=kind)
            velocity = networks.unet(
                latent,
                at,
                class_labels=kind,
                spacing_tensor=spacing,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
            )
            latent = latent + velocity.float() * step
    return latent / networks.scale_factor


@contextmanager
def _embedded(networks: Networks, labels: npt.NDArray[np.uint8]) -> "Iterator[torch.Tensor]":
    """The condition's embedding, computed once: it does not depend on time, while the ControlNet would at each step."""
    import torch

    controlnet: Any = networks.controlnet
    embed = controlnet.controlnet_cond_embedding
    kind = torch.float16 if networks.device.type == "cuda" else torch.float32
    embedding = embed(torch.from_numpy(bit_planes(labels)[None]).to(networks.device, kind))
    controlnet.controlnet_cond_embedding = torch.nn.Identity()
    try:
        yield embedding
    finally:
        controlnet.controlnet_cond_embedding = embed


def _release(networks: Networks) -> None:
    import torch

    if networks.device.type == "cuda":
        torch.cuda.empty_cache()


def _decode(networks: Networks, latent: "torch.Tensor") -> tuple[npt.NDArray[np.float32], tuple[int, int, int]]:
    """Image (X, Y, Z) in 0..1, decoded in the first window that fits into memory, and that window."""
    import torch

    *larger, smallest = networks.architecture.windows
    for window in larger:
        try:
            return _decode_in(networks, latent, window), window
        except torch.OutOfMemoryError:
            pass
        _release(networks)
    return _decode_in(networks, latent, smallest), smallest


def _decode_in(networks: Networks, latent: "torch.Tensor", window: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    """Image (X, Y, Z) in 0..1 (docs/facts/synthesis.md#decoding).

    At once if the latent has no more voxels than the window, else window by window. A window is never longer than the
    latent: the inferer would pad it, and padding changes the norms of the decoder.

    Args:
        networks: with their weights.
        latent: (1, C, x, y, z).
        window: latent voxels that are decoded at once.
    """
    from monai.inferers.inferer import SlidingWindowInferer

    decode: Any = networks.autoencoder.decode_stage_2_outputs
    size = tuple(latent.shape[2:])
    if math.prod(size) <= math.prod(window):
        image = decode(latent)
    else:
        roi = tuple(min(w, n) for w, n in zip(window, size, strict=True))
        infer = SlidingWindowInferer(
            roi_size=roi, sw_batch_size=1, overlap=OVERLAP, mode="gaussian", sw_device=networks.device, device="cpu"
        )
        image = infer(inputs=latent, network=decode)
    return np.asarray(image[0, 0].float().cpu().numpy(), dtype=np.float32)
