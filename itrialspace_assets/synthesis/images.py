"""Renders the CTs of one case, and opens them again whichever way they are kept."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from itrialspace_assets.casework import Output
from itrialspace_assets.errors import CaseRejected
from itrialspace_assets.fingerprints import digest, hash_file
from itrialspace_assets.geometry import (
    Packed,
    Volume,
    pack_volume,
    paste,
    read_volume,
    repack,
    write_packed,
    write_volume,
)
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.settings import Settings
from itrialspace_assets.synthesis.quality import require_contrast, require_plausible
from itrialspace_assets.synthesis.renderers import RENDERERS, Renderer, RenderRequest
from itrialspace_assets.synthesis.tissue import STANDARD, patch_box
from itrialspace_assets.volumes import Lesion, unpack_bits


def render_seed(root: int, replicate: int) -> int:
    """Seed of a rendering: the root's own, or another for each further rendering of the same pair."""
    return root if replicate == 0 else int(digest([root, "rendering", replicate], 16), 16) >> 1


def image_uid(
    settings: Settings, renderer: Renderer, map_sha256: str, lesions: list[str], seed: int, attenuation: str | None = None
) -> str:  # fmt: skip
    """Identity of an image: host, lesion set with placement, their attenuation, renderer, acquisition, render seed."""
    return digest(
        [
            map_sha256,
            sorted(lesions),
            renderer.name,
            renderer.version,
            renderer.weights(settings),
            STANDARD.name,
            seed,
            attenuation,
        ],
        32,
    )


def image_path(renderer: str, uid: str, patch: bool = False) -> str:
    """Path of an image below the output folder."""
    return f"store/cts/{renderer}/{uid[:2]}/{uid}{'.patch' if patch else ''}.nii.gz"


def _note(renderer: str, anatomy: str) -> str:
    return f"rendered by {renderer}; {anatomy} anatomy; not a clinical image"


@dataclass(frozen=True)
class _Twin:
    """A host's lesion-free CT, the parts of its file, the file's hash, and the least and greatest HU of each part."""

    ct: Volume
    packed: Packed
    sha256: str
    low: list[float]
    high: list[float]


def _twin(settings: Settings, renderer: str, map_sha256: str, anatomy: str, seed: int) -> _Twin:
    """The lesion-free CT of a host; rendered once, then shared by its cases."""
    path = settings.output / image_path(renderer, image_uid(settings, RENDERERS[renderer], map_sha256, [], seed))
    if not path.exists():
        _make_twin.cache_clear()  # somebody removed it since
    return _make_twin(settings, renderer, map_sha256, anatomy, seed, path)


@lru_cache(maxsize=1)
def _make_twin(settings: Settings, renderer: str, map_sha256: str, anatomy: str, seed: int, path: Path) -> _Twin:
    how, note = RENDERERS[renderer], _note(renderer, anatomy)
    if path.exists():
        try:
            ct = read_volume(path)  # passed the gates before it was written
            return _packed_twin(ct, pack_volume(ct, note), hash_file(path))
        except CaseRejected:
            path.unlink()  # damaged: made anew below, to the same bytes
    host = load_host_map(settings.output, map_sha256)
    ct = how.render(RenderRequest(host, map_sha256, seed), [])
    require_plausible(ct, host)
    packed = pack_volume(ct, note)
    return _packed_twin(ct, packed, write_packed(path, packed))


def _packed_twin(ct: Volume, packed: Packed, sha256: str) -> _Twin:
    slabs = [ct.array[..., k : k + packed.depth] for k in range(0, ct.array.shape[2], packed.depth)]
    return _Twin(ct, packed, sha256, [float(s.min()) for s in slabs], [float(s.max()) for s in slabs])


def render_case(payload: dict[str, Any], settings: Settings) -> Output:
    """Rows of ``cts`` for one case (lesion image and lesion-free twin; of a clean case the twin alone) and their files.

    Raises:
        CaseRejected: the host map cannot be read, or an image does not pass the gates of ``quality``.
    """
    how = RENDERERS[payload["source"]]
    sha_map, bits, seed = payload["map_sha256"], payload["lesions"], payload["seed"]
    twin = _twin(settings, how.name, sha_map, payload["anatomy"], seed)
    twin_uid = image_uid(settings, how, sha_map, [], seed)
    twin_path = image_path(how.name, twin_uid)
    base = {
        "case_uid": payload["case_uid"], "source": how.name, "mode": payload["mode"], "dataset": payload["dataset"], "twin_uid": twin_uid,
        "weights_sha256": how.weights(settings), "acquisition": STANDARD.name, "attenuation": None, "trained_on": how.trained_on, "anatomy": payload["anatomy"],
    }  # fmt: skip
    free = base | {
        "is_lesion_free": True, "image_uid": twin_uid, "path": twin_path, "sha256": twin.sha256, "kept": "nifti", "lesion_hu": None,
        "background_hu": None, "low_hu": min(twin.low), "high_hu": max(twin.high),
    }  # fmt: skip
    if not bits:
        return Output({"cts": [free]}, {twin_path: twin.sha256})
    how_dense = payload["attenuation"]
    request = RenderRequest(
        load_host_map(settings.output, sha_map), sha_map, seed, [unpack_bits(b) for b in bits], attenuation=how_dense, twin=twin.ct
    )  # fmt: skip
    image, path, sha = _lesion_image(settings, how, request, bits, twin, payload["anatomy"])
    return Output({"cts": [base | image | {"attenuation": how_dense}, free]}, {path: sha, twin_path: twin.sha256})


def _lesion_image(
    settings: Settings, how: Renderer, request: RenderRequest, bits: list[str], twin: _Twin, anatomy: str
) -> tuple[dict[str, Any], str, str]:
    """Columns of the image with lesions, its path and its hash. A patch renderer's file is packed anew only where it changed."""
    uid = image_uid(settings, how, request.host_sha256, bits, request.root_seed, request.attenuation)
    note = _note(how.name, anatomy)
    kept = "patch" if settings.cts == "delta" and how.patch else "nifti"
    path = image_path(how.name, uid, kept == "patch")
    if how.patch is None:
        ct = how.render(request, bits)
        require_plausible(ct, request.host)
        sha = write_volume(settings.output / path, ct, note)
        low, high = float(ct.array.min()), float(ct.array.max())
        inside, around = _contrast(ct, request.lesions)
    else:
        part = how.patch(request, bits)
        slabs = paste(twin.packed, twin.ct, part.array, patch_box(request.lesions, twin.ct.array.shape))
        low = min(float(s.min()) if (s := slabs.get(i)) is not None else v for i, v in enumerate(twin.low))
        high = max(float(s.max()) if (s := slabs.get(i)) is not None else v for i, v in enumerate(twin.high))
        if kept == "patch":
            sha = write_volume(settings.output / path, part, note)
        else:
            sha = write_packed(settings.output / path, repack(twin.packed, twin.ct, note, slabs))
        inside, around = _contrast(part, request.lesions, twin.ct)
    require_contrast(inside, _contrast(twin.ct, request.lesions)[0])
    return {
        "is_lesion_free": False, "image_uid": uid, "path": path, "sha256": sha, "kept": kept, "lesion_hu": inside,
        "background_hu": around, "low_hu": low, "high_hu": high,
    }, path, sha  # fmt: skip


def _contrast(ct: Volume, lesions: list[Lesion], whole: Volume | None = None) -> tuple[float, float]:
    """Mean HU over the lesions and over a shell of three voxels around them; ``ct`` may be their patch of ``whole``."""
    box = patch_box(lesions, (whole or ct).array.shape)
    mask = np.zeros([s.stop - s.start for s in box], bool)
    for lesion in lesions:
        mask[tuple(np.moveaxis(lesion.indices - [s.start for s in box], 1, 0))] = True
    shell = ndimage.binary_dilation(mask, iterations=3) & ~mask
    part = ct.array[box] if whole is None else ct.array
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
    array = whole.array.copy(order="K")
    array[tuple(slice(int(a), int(a) + n) for a, n in zip(low, stored.array.shape, strict=True))] = stored.array
    return Volume(array, whole.affine)
