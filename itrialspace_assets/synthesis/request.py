"""What a renderer is asked for, and what it gives back."""

from dataclasses import dataclass, field

import numpy as np

from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.volumes import Lesion
from itrialspace_assets.synthesis.acquisition import STANDARD, Acquisition


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
    def anatomy_seed(self) -> np.random.SeedSequence:
        """Seed of what a host is drawn with beyond its map: shared by all its images, under any acquisition."""
        return _seed(self.root_seed, "anatomy", self.host_sha256)

    @property
    def noise_seed(self) -> np.random.SeedSequence:
        """Seed of host and acquisition: shared by every image of this host that is taken alike."""
        return _seed(self.root_seed, "noise", self.host_sha256, self.acquisition.name)

    def lesion_seed(self, bits: list[str]) -> np.random.SeedSequence:
        return _seed(self.root_seed, "lesion", self.host_sha256, *sorted(bits))


def _seed(root: int, *identity: str) -> np.random.SeedSequence:
    return np.random.SeedSequence(root, spawn_key=(int(digest(list(identity), 16), 16),))


@dataclass(frozen=True)
class Rendered:
    """A whole CT (HU, on the host's grid), what the renderer decoded it in, and what it took (for metadata alone)."""

    ct: Volume
    decoding: str | None = None
    measured: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Rate:
    """What a voxel of a host takes: seconds to render, check and pack it, seconds to write it, bytes on disk."""

    render: float
    write: float
    size: float
