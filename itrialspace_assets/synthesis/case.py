"""What the rendering of one case reads: host map, lesions, acquisition, attenuation, seed. Reads no table, no image."""

from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.synthesis.acquisition import ScanAcquisition


class RenderCase(StrictModel):
    """A case of rendering; it asks for an image with the case's lesions, if it has any, and its lesion-free twin.

    Attributes:
        case_uid: the case.
        source: name of the renderer.
        mode: trial mode.
        dataset: dataset of the host.
        map_sha256: hash of the host's nodule-free label map in the store.
        lesions: packed voxels of each lesion in the host's grid, primary nodule first, see ``volumes.pack_bits``.
        anatomy: real or procedural.
        attenuation: how dense every lesion is, a key of ``attenuation.NODULES``.
        acquisition: how the scan is taken.
        seed: root seed of the rendering.
    """

    case_uid: str
    source: str
    mode: str
    dataset: str
    map_sha256: str
    lesions: tuple[str, ...]
    anatomy: str
    attenuation: str
    acquisition: ScanAcquisition
    seed: int
