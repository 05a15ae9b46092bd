"""What a renderer is, and which ones this installation has.

A renderer turns a request into a CT on the host's grid. The reader of its images never learns
anything but HU; where the image came from travels in the tables.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.synthesis import tissue
from itrialspace_assets.synthesis.attenuation import NODULES
from itrialspace_assets.synthesis.nodmaisi import render as nodmaisi
from itrialspace_assets.synthesis.request import Rendered, RenderRequest


@dataclass(frozen=True)
class Renderer:
    """A way to make CTs.

    Attributes:
        location: which code location runs it.
        trained_on: datasets that its networks saw.
        render: a whole image.
        patch: of a renderer whose lesions change nothing but their surroundings: the part of the host's own CT
            (``request.twin``) that differs, on its own grid.
        models: whether it follows a trial's acquisition and attenuation; one that does not refuses them.
        weights: hash of what it was trained to.
        require_weights: raises ConfigError if anything but the device keeps it from rendering.
        require_device: raises ConfigError if the device does.
        workers: processes that render at once.
        estimate: seconds that an image of a grid (voxels, mm) takes, where measuring a few slices would not tell; None:
            measure.
        gpu_gib: GPU memory that a case takes.
        has_weights: whether its images depend on files of weights.
    """

    name: str
    version: str
    location: str
    trained_on: str
    render: Callable[[Settings, RenderRequest, list[str]], Rendered]
    patch: Callable[[RenderRequest, list[str]], Volume] | None
    models: bool
    weights: Callable[[Settings], str | None]
    require_weights: Callable[[Settings], None]
    require_device: Callable[[Settings], None]
    workers: Callable[[Settings], int]
    estimate: Callable[[Settings, tuple[int, int, int], npt.NDArray[np.float64]], float] | None = None
    gpu_gib: float = 0.0
    has_weights: bool = False


def _tissue(settings: Settings, request: RenderRequest, bits: list[str]) -> Rendered:
    if request.lesions:
        raise ValueError("expected a request without lesions: those are patched into the host's own CT")
    return Rendered(tissue.render_host(request.host, request.anatomy_seed, request.noise_seed, request.acquisition))


def _tissue_patch(request: RenderRequest, bits: list[str]) -> Volume:
    if request.twin is None:
        raise ValueError("expected the host's own CT to patch, got none")
    return tissue.render_patch(
        request.twin,
        request.host,
        request.lesions,
        request.noise_seed,
        request.lesion_seed(bits),
        request.acquisition,
        NODULES[request.attenuation],
    )


RENDERERS: dict[str, Renderer] = {
    tissue.NAME: Renderer(
        tissue.NAME,
        tissue.VERSION,
        "cpu",
        tissue.TRAINED_ON,
        _tissue,
        _tissue_patch,
        True,
        lambda settings: None,
        lambda settings: None,
        lambda settings: None,
        lambda settings: settings.workers,
    ),
    nodmaisi.NAME: Renderer(
        nodmaisi.NAME,
        nodmaisi.VERSION,
        "gpu",
        nodmaisi.TRAINED_ON,
        nodmaisi.render,
        None,
        False,
        nodmaisi.weights_hash,
        nodmaisi.require_weights,
        nodmaisi.require_device,
        nodmaisi.workers,
        nodmaisi.estimate,
        nodmaisi.GPU_GIB,
        True,
    ),
}


def enabled(settings: Settings) -> list[Renderer]:
    """The enabled renderers.

    Raises:
        ConfigError: a name is not one of this installation's.
    """
    unknown = [n for n in settings.renderer_names if n not in RENDERERS]
    if unknown:
        raise ConfigError(
            f"ITRIALSPACE_RENDERERS: expected names out of {', '.join(RENDERERS)}, got {', '.join(unknown)}"
        )
    return [RENDERERS[n] for n in settings.renderer_names]
