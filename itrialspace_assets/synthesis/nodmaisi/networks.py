"""MONAI's MAISI networks as NodMAISI uses them, and their weights.

Hyper-parameters are those of the published model (docs/facts/synthesis.md#networks); another architecture is a JSON
file beside the weights. Every key of a checkpoint must fit: nothing is filled with random values.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.synthesis.nodmaisi.prepare import Legal
from itrialspace_assets.synthesis.nodmaisi.weights import NodmaisiWeights

if TYPE_CHECKING:
    import torch

_AUTOENCODER = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 1,
    "latent_channels": 4,
    "num_channels": [64, 128, 256],
    "num_res_blocks": [2, 2, 2],
    "attention_levels": [False, False, False],
    "with_encoder_nonlocal_attn": False,
    "with_decoder_nonlocal_attn": False,
    "norm_num_groups": 32,
    "norm_eps": 1e-6,
    "norm_float16": True,
    "use_checkpointing": False,
    "use_convtranspose": False,
    "num_splits": 4,
    "dim_split": 1,
}
_UNET = {
    "spatial_dims": 3,
    "in_channels": 4,
    "out_channels": 4,
    "num_channels": [64, 128, 256, 512],
    "num_res_blocks": 2,
    "attention_levels": [False, False, True, True],
    "num_head_channels": [0, 0, 32, 32],
    "use_flash_attention": True,
    "include_spacing_input": True,
    "include_top_region_index_input": False,
    "include_bottom_region_index_input": False,
    "num_class_embeds": 128,
    "resblock_updown": True,
    "include_fc": True,
}
_CONTROLNET = {
    "spatial_dims": 3,
    "in_channels": 4,
    "num_channels": [64, 128, 256, 512],
    "num_res_blocks": 2,
    "attention_levels": [False, False, True, True],
    "num_head_channels": [0, 0, 32, 32],
    "use_flash_attention": True,
    "conditioning_embedding_in_channels": 8,
    "conditioning_embedding_num_channels": [8, 32, 64],
    "num_class_embeds": 128,
    "resblock_updown": True,
    "include_fc": True,
    "use_checkpointing": False,
}


@dataclass(frozen=True)
class Architecture:
    """The three networks and how they are used; by default as published (docs/facts/synthesis.md#networks).

    Attributes:
        autoencoder: its constructor arguments.
        unet: its constructor arguments.
        controlnet: its constructor arguments.
        legal: grids that they take.
        steps: steps of the sampler.
        windows: decoding windows (latent voxels), tried in order until memory suffices: the published one, the
            published fallback, then ours.
    """

    autoencoder: dict[str, Any] = field(default_factory=lambda: dict(_AUTOENCODER))
    unet: dict[str, Any] = field(default_factory=lambda: dict(_UNET))
    controlnet: dict[str, Any] = field(default_factory=lambda: dict(_CONTROLNET))
    legal: Legal = field(default_factory=Legal)
    steps: int = 30
    windows: tuple[tuple[int, int, int], ...] = ((80, 80, 64), (64, 64, 48), (48, 48, 32))

    @property
    def shrink(self) -> int:
        """Voxels of the image along one edge of a latent voxel."""
        return int(2 ** (len(self.autoencoder["num_channels"]) - 1))


def read_architecture(path: Path | None) -> Architecture:
    """The published architecture, or the one in a file.

    Raises:
        ConfigError: the file does not hold an architecture.
    """
    if path is None:
        return Architecture()
    try:
        content = json.loads(path.read_text())
        sizes = content.pop("legal")
        legal = Legal(tuple(map(int, sizes["xy"])), tuple(map(int, sizes["z"])), float(sizes["field_mm"]))
        windows = tuple(tuple(int(n) for n in w) for w in content.pop("windows"))
        return Architecture(legal=legal, windows=windows, **content)  # type: ignore[arg-type]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"{path}: expected autoencoder, unet, controlnet, legal, steps and windows, got {error!r}"
        ) from None


@dataclass(frozen=True)
class Networks:
    """The three networks with their weights on a device.

    Attributes:
        autoencoder: decodes latents.
        unet: gives the velocity of a latent.
        controlnet: conditions the UNet on a label map.
        scale_factor: what latents were multiplied by in training.
        architecture: what they were built from.
        device: where they are.
    """

    autoencoder: "torch.nn.Module"
    unet: "torch.nn.Module"
    controlnet: "torch.nn.Module"
    scale_factor: float
    architecture: Architecture
    device: "torch.device"


def build(architecture: Architecture, device: str) -> "tuple[torch.nn.Module, torch.nn.Module, torch.nn.Module]":
    """Autoencoder, UNet and ControlNet with random weights.

    Args:
        architecture: constructor arguments.
        device: cuda, cpu or meta; without cuda, flash attention and norms in half precision are switched off, which
            changes no parameter.

    Raises:
        ConfigError: an argument is not one of MONAI's.
    """
    import torch
    from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
    from monai.apps.generation.maisi.networks.controlnet_maisi import ControlNetMaisi
    from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi

    autoencoder, unet, controlnet = architecture.autoencoder, architecture.unet, architecture.controlnet
    if not device.startswith("cuda"):
        autoencoder = autoencoder | {"norm_float16": False}
        unet, controlnet = unet | {"use_flash_attention": False}, controlnet | {"use_flash_attention": False}
    try:
        with torch.device(device):
            return AutoencoderKlMaisi(**autoencoder), DiffusionModelUNetMaisi(**unet), ControlNetMaisi(**controlnet)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"NodMAISI architecture: {error}") from None


def parameters(architecture: Architecture) -> dict[str, int]:
    """How many parameters each network has; built on the meta device, so that it takes no memory."""
    return {
        name: sum(p.numel() for p in network.parameters())
        for name, network in zip(
            ("autoencoder", "diffusion_unet", "controlnet"), build(architecture, "meta"), strict=True
        )
    }


def check(weights: NodmaisiWeights) -> None:
    """Compare every key and shape of the checkpoints with the architecture; reads no values.

    Raises:
        ConfigError: as of ``load``.
    """
    _filled(weights, "meta")


def load(weights: NodmaisiWeights, device: str) -> Networks:
    """The networks with their weights, ready to sample.

    Raises:
        ConfigError: a checkpoint cannot be read, or does not fit; lists the keys.
    """
    import torch

    made, scale, architecture = _filled(weights, device)
    for network in made:
        network.eval().requires_grad_(False)
    return Networks(*made, scale, architecture, torch.device(device))


def _filled(
    weights: NodmaisiWeights, device: str
) -> "tuple[tuple[torch.nn.Module, torch.nn.Module, torch.nn.Module], float, Architecture]":
    """The networks with their weights on a device (on ``meta`` without values), scale of latents, architecture."""
    architecture = read_architecture(weights.architecture)
    autoencoder, unet, controlnet = build(architecture, device)
    values = device != "meta"
    _fill(autoencoder, _read(weights.autoencoder, values), weights.autoencoder)
    checkpoint = _read(weights.diffusion_unet, values)
    _fill(unet, _part(checkpoint, "unet_state_dict", weights.diffusion_unet), weights.diffusion_unet)
    scale = checkpoint.get("scale_factor")
    if scale is None or (values and not float(scale) > 0):
        raise ConfigError(f"{weights.diffusion_unet}: expected a positive scale_factor, got {scale!r}")
    _fill(
        controlnet,
        _part(_read(weights.controlnet, values), "controlnet_state_dict", weights.controlnet),
        weights.controlnet,
    )
    return (autoencoder, unet, controlnet), float(scale) if values else 1.0, architecture


def _read(path: Path, values: bool) -> dict[str, Any]:
    import torch

    try:
        content = torch.load(path, map_location="cpu" if values else "meta", weights_only=True, mmap=True)
    except Exception as error:  # torch raises many kinds for a file that is no checkpoint
        raise ConfigError(
            f"{path}: expected a PyTorch checkpoint of tensors only, got {type(error).__name__}: "
            f"{str(error).splitlines()[0]}"
        ) from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a dictionary of tensors, got {type(content).__name__}")
    return content


def _part(content: dict[str, Any], key: str, path: Path) -> dict[str, Any]:
    if not isinstance(content.get(key), dict):
        raise ConfigError(f"{path}: expected {key} in the checkpoint, got {', '.join(sorted(map(str, content))[:8])}")
    return dict(content[key])


#: Faults of a checkpoint that a message names. Ours.
_SHOWN = 8


def _fill(network: "torch.nn.Module", state: dict[str, Any], path: Path) -> None:
    """Load a state dictionary whose keys and shapes are exactly those of the network.

    Raises:
        ConfigError: they are not; names the first faults.
    """
    own = network.state_dict()
    faults = [f"missing {k}" for k in own if k not in state] + [f"unknown {k}" for k in state if k not in own]
    for key in own.keys() & state.keys():
        got = getattr(state[key], "shape", None)
        if got != own[key].shape:
            faults.append(f"{key}: expected {tuple(own[key].shape)}, got {None if got is None else tuple(got)}")
    if faults:
        more = f", and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise ConfigError(
            f"{path}: the checkpoint does not fit the architecture: {'; '.join(sorted(faults)[:_SHOWN])}{more}"
        )
    if not any(v.is_meta for v in own.values()):
        network.load_state_dict(state)
