"""MONAI's lung-nodule RetinaNet with the configuration of its published bundle (docs/facts/readers.md#detector).

Builds the network and its detector; knows neither scans nor files of scans.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from itrialspace_assets.base.errors import ConfigError

if TYPE_CHECKING:
    import torch

#: Base anchors (voxels) and their scale at each level (docs/facts/readers.md#detector).
ANCHORS, SCALES = ((6, 8, 4), (8, 6, 5), (10, 10, 6)), (1, 2, 4)
#: Feature maps of the ResNet that the pyramid takes, and what sizes must be divisible by
#: (docs/facts/readers.md#detector).
LAYERS, DIVISIBLE = (1, 2), (16, 16, 8)
#: Which boxes are kept: least score, most a level, overlap from which the weaker goes, most in all
#: (docs/facts/readers.md#detector).
LEAST_SCORE, MOST_A_LEVEL, OVERLAP, MOST = 0.02, 1000, 0.22, 300
#: Larger images are read in windows (voxels) that overlap by a share (docs/facts/readers.md#detector).
WINDOW, WINDOW_OVERLAP = (512, 512, 192), 0.25


def build(device: str) -> "torch.nn.Module":
    """The network with random weights on a device."""
    import torch
    from monai.apps.detection.networks.retinanet_network import RetinaNet, resnet_fpn_feature_extractor
    from monai.networks.nets.resnet import resnet50

    with torch.device(device):
        backbone = resnet50(spatial_dims=3, n_input_channels=1, conv1_t_stride=[2, 2, 1], conv1_t_size=[7, 7, 7])
        return RetinaNet(
            spatial_dims=3,
            num_classes=1,
            num_anchors=len(ANCHORS),
            feature_extractor=resnet_fpn_feature_extractor(backbone, 3, False, LAYERS, None),
            size_divisible=DIVISIBLE,
        )


def load(path: Path, window: tuple[int, int, int], device: str) -> Any:
    """The detector with the weights of a checkpoint, ready to read.

    Args:
        path: the checkpoint.
        window: voxels that are read at once of a larger image.
        device: ``cuda:<n>`` or ``cpu``.

    Raises:
        ConfigError: the file is no checkpoint, or its tensors are not those of the network; names the first.
    """
    import torch

    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is no checkpoint
        raise ConfigError(
            f"{path}: expected a PyTorch checkpoint of tensors only, got {type(error).__name__}: "
            f"{str(error).splitlines()[0]}"
        ) from None
    network = build(device)
    own = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    got = {key: tuple(getattr(value, "shape", ())) for key, value in state.items()} if isinstance(state, dict) else {}
    if wrong := sorted(key for key in own.keys() | got.keys() if own.get(key) != got.get(key)):
        first = "; ".join(f"{key}: expected {own.get(key)}, got {got.get(key)}" for key in wrong[:4])
        raise ConfigError(f"{path}: expected the weights of the published RetinaNet: {len(wrong)} differ: {first}")
    network.load_state_dict(state)
    return detector(network, window)


def detector(network: "torch.nn.Module", window: tuple[int, int, int] = WINDOW) -> Any:
    """What finds boxes with a network, its thresholds as published.

    Scores and boxes are kept in single precision: in half precision a box at voxel 500 would move by half a voxel.

    Args:
        network: gives maps of scores and boxes.
        window: voxels that are read at once of a larger image.
    """
    from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
    from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape

    network.register_forward_hook(
        lambda _, __, maps: {key: [level.float() for level in levels] for key, levels in maps.items()}
    )
    made = RetinaNetDetector(network, AnchorGeneratorWithAnchorShape(SCALES, ANCHORS))
    made.set_target_keys(box_key="box", label_key="label")
    made.set_box_selector_parameters(
        score_thresh=LEAST_SCORE,
        topk_candidates_per_level=MOST_A_LEVEL,
        nms_thresh=OVERLAP,
        detections_per_img=MOST,
    )
    made.set_sliding_window_inferer(
        roi_size=window, overlap=WINDOW_OVERLAP, sw_batch_size=1, mode="constant", device="cpu"
    )
    return made.eval().requires_grad_(False)
