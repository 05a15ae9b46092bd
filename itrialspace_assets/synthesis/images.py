"""What an image is called, where it lies, and how it is opened, whichever way it is kept."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.imaging.geometry import Volume, place_of, read_volume
from itrialspace_assets.imaging.members import Members, read_beside, read_members
from itrialspace_assets.synthesis.acquisition import Acquisition
from itrialspace_assets.synthesis.renderers import Renderer


def render_seed(root: int, replicate: int) -> int:
    """Seed of a rendering: the root's own, or another for each further rendering of the same pair."""
    return root if replicate == 0 else int(digest([root, "rendering", replicate], 16), 16) >> 1


def image_uid(
    settings: Settings,
    renderer: Renderer,
    map_sha256: str,
    seed: int,
    acquisition: Acquisition,
    lesions: list[str],
    attenuation: str | None = None,
) -> str:
    """Identity of an image: host, lesion set with placement, their attenuation, renderer, acquisition, render seed."""
    how = [renderer.name, renderer.version, renderer.weights(settings)]
    return digest([map_sha256, sorted(lesions), *how, acquisition.name, seed, attenuation], 32)


def image_path(renderer: str, uid: str, kept: str = "nifti") -> str:
    """Path of an image below the output folder."""
    return f"store/cts/{renderer}/{uid[:2]}/{uid}{'' if kept == 'nifti' else f'.{kept}'}.nii.gz"


def lay_over(part: Volume, whole: Volume) -> Volume:
    """``whole`` with ``part`` laid over it."""
    array = whole.array.copy(order="K")
    array[place_of(part, whole)] = part.array
    return Volume(array, whole.affine)


@lru_cache(maxsize=2)
def _read_twin(path: Path) -> Members:
    return read_members(path)


def open_plane(settings: Settings, row: dict[str, Any], k: int) -> tuple[Volume, int]:
    """A CT that holds slice ``k`` of a row of ``cts``, and the slice's index in it; also where only some slices are
    kept.

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


def open_ct(settings: Settings, row: dict[str, Any]) -> Volume:
    """The CT of a row of ``cts``; a patch is laid over its twin, so later stages never notice.

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
