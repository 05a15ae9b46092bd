"""What a renderer is, and which ones this installation has.

A renderer turns a request into a CT on the host's grid. Readers of its images see HU only; the image's source is a
column of every table.
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
from itrialspace_assets.synthesis.nodmaisi.weights import locked_hash
from itrialspace_assets.synthesis.request import Rendered, RenderRequest


@dataclass(frozen=True)
class Renderer:
    """A way to make CTs.

    Attributes:
        name: source of its images, in keys, tables and paths.
        version: raised when the same request would give another image.
        location: which code location runs it.
        trained_on: datasets that its networks saw.
        render: renders a whole image of a request and its packed lesions.
        patch: of a renderer whose lesions change only their surroundings: renders the part of the host's own CT
            (``request.twin``) that differs, on its own grid. None: lesions may change everything.
        models: whether it follows a trial's acquisition and attenuation; one that does not refuses them.
        weights: hash of its weights and of the settings that change an image with the same weights; None: no weights.
        locked_weights: hash of its weights alone; None: no weights.
        require_weights: raises ConfigError if anything but the device keeps it from rendering.
        require_device: raises ConfigError if the device keeps it from rendering.
        workers: processes that render at once.
        seconds_per_image: seconds that an image of a grid (voxels, mm) takes, where a few slices would not show it;
            None: a few slices are measured.
        gpu_gib: GPU memory (GiB) that a case takes.
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
    locked_weights: Callable[[Settings], str | None]
    require_weights: Callable[[Settings], None]
    require_device: Callable[[Settings], None]
    workers: Callable[[Settings], int]
    seconds_per_image: Callable[[Settings, tuple[int, int, int], npt.NDArray[np.float64]], float] | None = None
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
        name=tissue.NAME,
        version=tissue.VERSION,
        location="cpu",
        trained_on=tissue.TRAINED_ON,
        render=_tissue,
        patch=_tissue_patch,
        models=True,
        weights=lambda settings: None,
        locked_weights=lambda settings: None,
        require_weights=lambda settings: None,
        require_device=lambda settings: None,
        workers=lambda settings: settings.workers,
    ),
    nodmaisi.NAME: Renderer(
        name=nodmaisi.NAME,
        version=nodmaisi.VERSION,
        location="gpu",
        trained_on=nodmaisi.TRAINED_ON,
        render=nodmaisi.render,
        patch=None,
        models=False,
        weights=nodmaisi.weights_hash,
        locked_weights=locked_hash,
        require_weights=nodmaisi.require_weights,
        require_device=nodmaisi.require_device,
        workers=nodmaisi.workers,
        seconds_per_image=nodmaisi.seconds_per_image,
        gpu_gib=nodmaisi.GPU_GIB,
        has_weights=True,
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


def weights_version(settings: Settings, renderer_name: str) -> str | None:
    """Version of a renderer's weights: one hash of the files that its lock names; None: it has no weights.

    Reads the lock alone, so that it costs nothing. Before the first image ``require_weights`` checks that the files
    are those of the lock.

    Raises:
        ConfigError: no such renderer, or its weights are not there or not locked.
    """
    if renderer_name not in RENDERERS:
        raise ConfigError(f"renderer: expected one of {', '.join(RENDERERS)}, got {renderer_name!r}")
    return RENDERERS[renderer_name].locked_weights(settings)
