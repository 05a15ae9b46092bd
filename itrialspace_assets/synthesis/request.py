"""What a renderer is asked for, and what it gives back."""

from dataclasses import dataclass, field

import numpy as np

from itrialspace_assets.base.seeds import named
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.lesions import Lesion
from itrialspace_assets.synthesis.acquisition import STANDARD, ScanAcquisition


@dataclass(frozen=True)
class RenderRequest:
    """What to render. Without lesions it asks for the host's lesion-free twin.

    Attributes:
        host: nodule-free label map (X, Y, Z), canonical RAS+.
        host_sha256: hash of the map.
        root_seed: root of every draw.
        lesions: voxels in the host's grid.
        acquisition: how the scan is taken.
        attenuation: how dense every lesion is, a key of ``attenuation.NODULES``.
        twin: the host's own rendered CT (HU, same grid), to patch.
    """

    host: Volume
    host_sha256: str
    root_seed: int
    lesions: list[Lesion] = field(default_factory=list)
    acquisition: ScanAcquisition = STANDARD
    attenuation: str = "solid"
    twin: Volume | None = None

    @property
    def anatomy_seed(self) -> np.random.SeedSequence:
        """Seed of the host's texture and vessels: shared by all its images, under any acquisition."""
        return named(self.root_seed, "anatomy", self.host_sha256)

    @property
    def noise_seed(self) -> np.random.SeedSequence:
        """Seed of host and acquisition: shared by every image of this host with this acquisition."""
        return named(self.root_seed, "noise", self.host_sha256, self.acquisition.name)

    def lesion_seed(self, bits: list[str]) -> np.random.SeedSequence:
        """Seed of the inner texture of packed lesions, whatever their order."""
        return named(self.root_seed, "lesion", self.host_sha256, *sorted(bits))


@dataclass(frozen=True)
class Rendered:
    """What a renderer gives back.

    Attributes:
        ct: HU on the host's grid.
        decoding: latent voxels that were decoded at once; None: not decoded.
        measured: what it took, by name; for metadata alone.
    """

    ct: Volume
    decoding: str | None = None
    measured: dict[str, float] = field(default_factory=dict)
