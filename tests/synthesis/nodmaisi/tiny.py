"""NodMAISI in miniature: MONAI's own classes with a few thousand random weights, written as checkpoints and locked."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.synthesis.nodmaisi.networks import Architecture, build
from itrialspace_assets.synthesis.nodmaisi.prepare import Legal
from itrialspace_assets.synthesis.nodmaisi.weights import ARCHITECTURE, FILES, lock

TINY = Architecture(
    autoencoder={
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 1,
        "latent_channels": 4,
        "num_channels": [8, 8, 8],
        "num_res_blocks": [1, 1, 1],
        "attention_levels": [False] * 3,
        "with_encoder_nonlocal_attn": False,
        "with_decoder_nonlocal_attn": False,
        "norm_num_groups": 4,
        "norm_float16": True,
        "num_splits": 1,
        "dim_split": 1,
    },
    unet={
        "spatial_dims": 3,
        "in_channels": 4,
        "out_channels": 4,
        "num_channels": [8, 16],
        "num_res_blocks": 1,
        "attention_levels": [False, True],
        "num_head_channels": [0, 8],
        "norm_num_groups": 4,
        "include_spacing_input": True,
        "num_class_embeds": 4,
        "resblock_updown": True,
        "include_fc": True,
        "use_flash_attention": True,
    },
    controlnet={
        "spatial_dims": 3,
        "in_channels": 4,
        "num_channels": [8, 16],
        "num_res_blocks": 1,
        "attention_levels": [False, True],
        "num_head_channels": [0, 8],
        "norm_num_groups": 4,
        "conditioning_embedding_in_channels": 8,
        "conditioning_embedding_num_channels": [4, 4, 8],
        "num_class_embeds": 4,
        "resblock_updown": True,
        "include_fc": True,
        "use_checkpointing": False,
        "use_flash_attention": True,
    },
    legal=Legal((48, 64, 128), (32, 48, 80), 0.0),
    steps=2,
    windows=((32, 32, 20), (8, 8, 8), (8, 8, 4)),
)
SCALE = 1.03


def tiny_weights(folder: Path, seed: int = 0, **changes: Any) -> Settings:
    """Checkpoints of the published names and shape of content in ``folder``; settings that find them, on the processor.

    The last layer is set so that images lie between air and bone; nothing else is meant by them.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    autoencoder, unet, controlnet = build(TINY, "cpu")
    for network in (autoencoder, unet, controlnet):
        for parameter in network.parameters():
            parameter.data.normal_(0, 0.2)
    for parameter in controlnet.controlnet_cond_embedding.parameters():
        parameter.data.mul_(4)  # the map must show
    last = [m for m in autoencoder.decoder.modules() if isinstance(m, torch.nn.Conv3d)][-1]
    last.weight.data.mul_(0.5)
    last.bias.data.fill_(0.5)
    torch.save(autoencoder.state_dict(), folder / FILES["autoencoder"][0])
    torch.save(
        {"unet_state_dict": unet.state_dict(), "scale_factor": torch.tensor(SCALE)}, folder / FILES["diffusion_unet"][0]
    )
    torch.save(
        {"controlnet_state_dict": controlnet.state_dict(), "epoch": 1, "loss": 0.5}, folder / FILES["controlnet"][0]
    )
    (folder / ARCHITECTURE).write_text(json.dumps(asdict(TINY)))
    settings = settings_for(folder, **changes)
    lock(settings)
    return settings


def settings_for(folder: Path, **changes: Any) -> Settings:
    given = {
        "data_dir": folder / "data",
        "output_dir": folder / "out",
        "device": "cpu",
        "workers": 1,
        "renderers": "nodmaisi",
    }
    return load_settings(**(given | changes), nodmaisi_models_dir=folder)
