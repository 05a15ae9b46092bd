"""What a renderer is, and which ones this installation has.

A renderer turns a request into a CT on the host's grid. The reader of its images never learns
anything but HU; where the image came from travels in the tables.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from itrialspace_assets.errors import ConfigError
from itrialspace_assets.fingerprints import digest
from itrialspace_assets.geometry import Volume
from itrialspace_assets.settings import Settings
from itrialspace_assets.synthesis import tissue
from itrialspace_assets.synthesis.tissue import STANDARD, Acquisition
from itrialspace_assets.volumes import Lesion


@dataclass(frozen=True)
class RenderRequest:
    """What to render. Without lesions it asks for the host's lesion-free twin."""

    host: Volume  # nodule-free label map
    host_sha256: str
    root_seed: int
    lesions: list[Lesion] = field(default_factory=list)
    acquisition: Acquisition = STANDARD
    attenuation: str = "solid"  # of every lesion
    twin: Volume | None = None  # the host's own rendered CT, to patch

    @property
    def host_seed(self) -> np.random.SeedSequence:
        """Seed of host and acquisition: shared by every image of this host."""
        return _seed(self.root_seed, "render", self.host_sha256, self.acquisition.name)

    def lesion_seed(self, bits: list[str]) -> np.random.SeedSequence:
        return _seed(self.root_seed, "lesion", self.host_sha256, *sorted(bits))


def _seed(root: int, *identity: str) -> np.random.SeedSequence:
    return np.random.SeedSequence(root, spawn_key=(int(digest(list(identity), 16), 16),))


@dataclass(frozen=True)
class Renderer:
    """A way to make CTs. ``location`` says which code location runs it.

    ``render`` gives a whole image. A renderer whose lesions change nothing but their surroundings has
    ``patch`` as well: the part of the host's own CT (``request.twin``) that differs, on its own grid.
    """

    name: str
    version: str
    location: str
    trained_on: str
    render: Callable[[RenderRequest, list[str]], Volume]
    patch: Callable[[RenderRequest, list[str]], Volume] | None
    weights: Callable[[Settings], str | None]


def _tissue(request: RenderRequest, bits: list[str]) -> Volume:
    if request.lesions:
        raise ValueError("expected a request without lesions: those are patched into the host's own CT")
    return tissue.render_host(request.host, request.host_seed, request.acquisition)


def _tissue_patch(request: RenderRequest, bits: list[str]) -> Volume:
    if request.twin is None:
        raise ValueError("expected the host's own CT to patch, got none")
    return tissue.render_patch(
        request.twin,
        request.host,
        request.lesions,
        request.host_seed,
        request.lesion_seed(bits),
        request.acquisition,
        tissue.NODULES[request.attenuation],
    )


RENDERERS: dict[str, Renderer] = {
    tissue.NAME: Renderer(
        tissue.NAME, tissue.VERSION, "cpu", tissue.TRAINED_ON, _tissue, _tissue_patch, lambda settings: None
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
