"""Identity, path and opening of a rendered image, whether it is kept whole, as a patch or as slices."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.seeds import case_seed
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.imaging.geometry import Box, Volume, place_of, read_volume
from itrialspace_assets.imaging.members import Members, read_beside, read_members
from itrialspace_assets.synthesis.acquisition import ScanAcquisition
from itrialspace_assets.synthesis.renderers import Renderer


def render_seed(root: int, replicate: int) -> int:
    """Seed of a rendering: the root seed, or a seed of its own for each further rendering of the same pair."""
    return root if replicate == 0 else case_seed(root, "rendering", replicate)


def image_uid(
    settings: Settings,
    renderer: Renderer,
    map_sha256: str,
    seed: int,
    acquisition: ScanAcquisition,
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


#: Slices that are kept beside those with lesions: the neighbours that evaluation slices may ask for.
PLANES_BESIDE = 1
#: What the name of an image's file says of what it holds; of planes also how many are kept beside those with lesions.
_SUFFIX = {"nifti": "", "patch": ".patch", "planes": f".planes{PLANES_BESIDE}"}


def how_kept(settings: Settings) -> str:
    """How images are kept, as it enters code versions and input hashes."""
    return f"slices and {PLANES_BESIDE} beside" if settings.cts == "slices" else settings.cts


def image_path(renderer: str, uid: str, kept: str = "nifti") -> str:
    """Path of an image below the output folder.

    Args:
        renderer: its source.
        uid: its ``image_uid``.
        kept: nifti, patch or planes, as the column ``kept`` of ``cts``.
    """
    return f"store/cts/{renderer}/{uid[:2]}/{uid}{_SUFFIX[kept]}.nii.gz"


def lay_over(part: Volume, whole: Volume) -> Volume:
    """``whole`` with ``part`` laid over it."""
    array = whole.array.copy(order="K")
    array[place_of(part, whole)] = part.array
    return Volume(array, whole.affine)


@lru_cache(maxsize=2)
def _read_twin(path: Path) -> Members:
    return read_members(path)


def open_planes(settings: Settings, row: Mapping[str, Any], levels: slice) -> tuple[Volume, int]:
    """Some levels along z of an image (HU), and the index of the first; also where only slices are kept.

    Args:
        settings: gives the store.
        row: a row of ``cts``.
        levels: bounds along z on the host's grid; cut at its ends.

    Raises:
        CaseRejected: a file is missing or damaged, or a level was not kept.
    """
    twin = _read_twin(settings.output / image_path(row["source"], row["twin_uid"]))
    x, y, z = twin.volume.array.shape
    levels = slice(max(0, levels.start), min(z, levels.stop))
    box = slice(0, x), slice(0, y), levels
    if row["is_lesion_free"]:
        return twin.volume.crop(box), levels.start
    if row["kept"] == "nifti":
        return read_beside(settings.output / row["path"], twin, levels), levels.start
    part = read_volume(settings.output / row["path"])
    place = place_of(part, twin.volume)
    if row["kept"] == "patch":
        return _laid_over(part, twin.volume.crop(box), place, levels), levels.start
    first = place[2].start
    if levels.start < first or levels.stop > first + part.array.shape[2]:
        raise CaseRejected(
            Reason.NOT_KEPT,
            f"{row['path']}: expected slices {levels.start} to {levels.stop - 1}, got {first} to "
            f"{first + part.array.shape[2] - 1} (ITRIALSPACE_CTS=slices keeps those with lesions and one beside)",
        )
    return part.crop((box[0], box[1], slice(levels.start - first, levels.stop - first))), levels.start


def _laid_over(part: Volume, whole: Volume, place: Box, levels: slice) -> Volume:
    """Levels of a volume with what a patch holds of them laid over.

    Args:
        part: the patch.
        whole: the levels.
        place: box of the patch in the volume that the levels were taken of.
        levels: their bounds along z in it.
    """
    low, high = max(place[2].start, levels.start), min(place[2].stop, levels.stop)
    array = whole.array.copy(order="F")
    if low < high:
        x, y, z = place
        array[x, y, low - levels.start : high - levels.start] = part.array[..., low - z.start : high - z.start]
    return Volume(array, whole.affine)


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
