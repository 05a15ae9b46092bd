"""Identity, path and opening of a rendered image, whether it is kept whole, as a patch or as slices."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.seeds import case_seed
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.imaging.geometry import Volume, place_of, read_volume
from itrialspace_assets.imaging.members import Members, read_beside, read_members
from itrialspace_assets.synthesis.acquisition import Acquisition
from itrialspace_assets.synthesis.renderers import Renderer


def render_seed(root: int, replicate: int) -> int:
    """Seed of a rendering: the root seed, or a seed of its own for each further rendering of the same pair."""
    return root if replicate == 0 else case_seed(root, "rendering", replicate)


def image_uid(
    settings: Settings,
    renderer: Renderer,
    map_sha256: str,
    seed: int,
    acquisition: Acquisition,
    lesions: list[str],
    attenuation: str | None = None,
) -> str:
    """Identity of an image: 32 hexadecimal digits; equal requests have equal ones in every mode.

    Args:
        settings: gives the renderer's weights.
        renderer: what renders.
        map_sha256: hash of the host's label map.
        seed: root seed of the rendering.
        acquisition: how the scan is taken.
        lesions: packed voxels of the lesions in the host's grid, in any order; empty: the lesion-free twin.
        attenuation: how dense the lesions are; None: the lesion-free twin.
    """
    how = [renderer.name, renderer.version, renderer.weights(settings)]
    return digest([map_sha256, sorted(lesions), *how, acquisition.name, seed, attenuation], 32)


def image_path(renderer: str, uid: str, kept: str = "nifti") -> str:
    """Path of an image below the output folder.

    Args:
        renderer: its source.
        uid: its ``image_uid``.
        kept: nifti, patch or planes, as the column ``kept`` of ``cts``.
    """
    return f"store/cts/{renderer}/{uid[:2]}/{uid}{'' if kept == 'nifti' else f'.{kept}'}.nii.gz"


def lay_over(part: Volume, whole: Volume) -> Volume:
    """``whole`` with ``part`` laid over it."""
    array = whole.array.copy(order="K")
    array[place_of(part, whole)] = part.array
    return Volume(array, whole.affine)


@lru_cache(maxsize=2)
def _read_twin(path: Path) -> Members:
    return read_members(path)


def open_plane(settings: Settings, row: Mapping[str, Any], k: int) -> tuple[Volume, int]:
    """A CT (HU) that holds a slice of an image, and the slice's index in it; also where only some slices are kept.

    Args:
        settings: gives the store.
        row: a row of ``cts``.
        k: index of the slice along z on the host's grid.

    Raises:
        CaseRejected: a file is missing or damaged, or the slice was not kept.
    """
    if row["kept"] != "planes":
        return open_ct(settings, row), k
    ct = read_volume(settings.output / row["path"])
    host = _read_twin(settings.output / image_path(row["source"], row["twin_uid"])).volume
    at = k - place_of(ct, host)[2].start
    if not 0 <= at < ct.array.shape[2]:
        raise CaseRejected(
            Reason.NOT_KEPT, f"{row['path']}: slice {k} was not kept (ITRIALSPACE_CTS=slices keeps those with lesions)"
        )
    return ct, at


def open_ct(settings: Settings, row: Mapping[str, Any]) -> Volume:
    """The whole CT (HU, canonical RAS+) of a row of ``cts``; a patch is laid over its twin.

    Raises:
        CaseRejected: a file is missing or damaged, or only some slices were kept.
    """
    if row["kept"] == "planes":
        raise CaseRejected(Reason.NOT_KEPT, f"{row['path']}: the whole CT was not kept (ITRIALSPACE_CTS=slices)")
    twin = _read_twin(settings.output / image_path(row["source"], row["twin_uid"]))
    if row["is_lesion_free"]:
        return twin.volume
    if row["kept"] == "nifti":
        return read_beside(settings.output / row["path"], twin)
    return lay_over(read_volume(settings.output / row["path"]), twin.volume)
