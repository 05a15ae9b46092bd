"""Renders the CTs of one case, and opens them again whichever way they are kept."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from itrialspace_assets.casework import Output
from itrialspace_assets.errors import CaseRejected
from itrialspace_assets.fingerprints import digest, hash_file
from itrialspace_assets.geometry import Volume, read_volume, write_volume
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.settings import Settings
from itrialspace_assets.synthesis.renderers import RENDERERS, Renderer, RenderRequest
from itrialspace_assets.synthesis.tissue import STANDARD, patch_box
from itrialspace_assets.volumes import unpack_bits


def render_seed(root: int, replicate: int) -> int:
    """Seed of a rendering: the root's own, or another for each further rendering of the same pair."""
    return root if replicate == 0 else int(digest([root, "rendering", replicate], 16), 16) >> 1


def image_uid(settings: Settings, renderer: Renderer, map_sha256: str, lesions: list[str], seed: int) -> str:
    """Identity of an image: host, lesion set with placement, renderer, acquisition, render seed."""
    return digest(
        [
            map_sha256,
            sorted(lesions),
            renderer.name,
            renderer.version,
            renderer.weights(settings),
            STANDARD.name,
            seed,
        ],
        32,
    )


def image_path(renderer: str, uid: str, patch: bool = False) -> str:
    """Path of an image below the output folder."""
    return f"store/cts/{renderer}/{uid[:2]}/{uid}{'.patch' if patch else ''}.nii.gz"


def _note(renderer: str, anatomy: str) -> str:
    return f"rendered by {renderer}; {anatomy} anatomy; not a clinical image"


def _twin(settings: Settings, renderer: str, map_sha256: str, anatomy: str, seed: int) -> tuple[Volume, str]:
    """The lesion-free CT of a host and its file's hash; rendered once, then shared by its cases."""
    path = settings.output / image_path(renderer, image_uid(settings, RENDERERS[renderer], map_sha256, [], seed))
    if not path.exists():
        _make_twin.cache_clear()  # somebody removed it since
    return _make_twin(settings, renderer, map_sha256, anatomy, seed, path)


@lru_cache(maxsize=2)
def _make_twin(
    settings: Settings, renderer: str, map_sha256: str, anatomy: str, seed: int, path: Path
) -> tuple[Volume, str]:
    how = RENDERERS[renderer]
    if path.exists():
        try:
            return read_volume(path), hash_file(path)
        except CaseRejected:
            path.unlink()  # damaged: made anew below, to the same bytes
    host = load_host_map(settings.output, map_sha256)
    twin = how.render(RenderRequest(host, map_sha256, seed), [])
    sha = write_volume(path, twin, _note(renderer, anatomy))
    return twin, sha


def render_case(payload: dict[str, Any], settings: Settings) -> Output:
    """Rows of ``cts`` for one case (lesion image and lesion-free twin; of a clean case the twin alone) and their files.

    Raises:
        CaseRejected: the host map cannot be read.
    """
    how = RENDERERS[payload["source"]]
    sha_map, bits, seed = payload["map_sha256"], payload["lesions"], payload["seed"]
    twin, twin_sha = _twin(settings, how.name, sha_map, payload["anatomy"], seed)
    twin_uid = image_uid(settings, how, sha_map, [], seed)
    twin_path = image_path(how.name, twin_uid)
    base = {
        "case_uid": payload["case_uid"], "source": how.name, "mode": payload["mode"], "dataset": payload["dataset"], "twin_uid": twin_uid,
        "weights_sha256": how.weights(settings), "acquisition": STANDARD.name, "trained_on": how.trained_on, "anatomy": payload["anatomy"],
    }  # fmt: skip
    free = base | {
        "is_lesion_free": True, "image_uid": twin_uid, "path": twin_path, "sha256": twin_sha, "kept": "nifti", "lesion_hu": None,
        "background_hu": None, "low_hu": float(twin.array.min()), "high_hu": float(twin.array.max()),
    }  # fmt: skip
    if not bits:
        return Output({"cts": [free]}, {twin_path: twin_sha})
    host = load_host_map(settings.output, sha_map)
    lesions = [unpack_bits(b) for b in bits]
    ct = how.render(RenderRequest(host, sha_map, seed, lesions, twin=twin), bits)
    uid = image_uid(settings, how, sha_map, bits, seed)
    kept = "patch" if settings.cts == "delta" and how.patches else "nifti"
    path = image_path(how.name, uid, kept == "patch")
    stored = ct.crop(patch_box(lesions, ct.array.shape)) if kept == "patch" else ct
    sha = write_volume(settings.output / path, stored, _note(how.name, payload["anatomy"]))
    inside, around = _contrast(ct, lesions)
    image = base | {
        "is_lesion_free": False, "image_uid": uid, "path": path, "sha256": sha, "kept": kept, "lesion_hu": inside,
        "background_hu": around, "low_hu": float(ct.array.min()), "high_hu": float(ct.array.max()),
    }  # fmt: skip
    return Output({"cts": [image, free]}, {path: sha, twin_path: twin_sha})


def _contrast(ct: Volume, lesions: list[Any]) -> tuple[float, float]:
    """Mean HU over the lesions and over a shell of three voxels around them."""
    box = patch_box(lesions, ct.array.shape)
    mask = np.zeros([s.stop - s.start for s in box], bool)
    for lesion in lesions:
        mask[tuple(np.moveaxis(lesion.indices - [s.start for s in box], 1, 0))] = True
    shell = ndimage.binary_dilation(mask, iterations=3) & ~mask
    part = ct.array[box]
    return round(float(part[mask].mean()), 3), round(float(part[shell].mean()), 3)


@lru_cache(maxsize=2)
def _read_ct(path: Path) -> Volume:
    return read_volume(path)


def open_ct(settings: Settings, row: dict[str, Any]) -> Volume:
    """The CT of a row of ``cts``; a patch is laid over its twin, so later stages never notice.

    Raises:
        CaseRejected: a file is missing or damaged.
    """
    whole = _read_ct(settings.output / image_path(row["source"], row["twin_uid"]))
    if row["is_lesion_free"]:
        return whole
    stored = read_volume(settings.output / row["path"])
    if row["kept"] == "nifti":
        return stored
    low = np.rint(whole.to_voxel(stored.affine[:3, 3])).astype(int)
    array = whole.array.copy()
    array[tuple(slice(int(a), int(a) + n) for a, n in zip(low, stored.array.shape, strict=True))] = stored.array
    return Volume(array, whole.affine)
