"""Renders the CTs of one case, and opens them again whichever way they are kept."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import edt
import numpy as np
from filelock import FileLock

from itrialspace_assets.casework import Output
from itrialspace_assets.errors import CaseRejected, Reason
from itrialspace_assets.fingerprints import digest, hash_file, replace_file
from itrialspace_assets.geometry import (
    Box,
    Packed,
    Volume,
    pack_volume,
    paste,
    place_of,
    read_volume,
    repack,
    write_packed,
    write_volume,
)
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.pictures import ct_slice
from itrialspace_assets.settings import Settings
from itrialspace_assets.synthesis.acquisition import Acquisition
from itrialspace_assets.synthesis.quality import (
    PAIRED_HU,
    paired_difference,
    require_contrast,
    require_known,
    require_plausible,
)
from itrialspace_assets.synthesis.renderers import RENDERERS, Renderer
from itrialspace_assets.synthesis.request import Rendered, RenderRequest
from itrialspace_assets.volumes import Lesion, lesion_box, unpack_bits


def render_seed(root: int, replicate: int) -> int:
    """Seed of a rendering: the root's own, or another for each further rendering of the same pair."""
    return root if replicate == 0 else int(digest([root, "rendering", replicate], 16), 16) >> 1


def image_uid(settings: Settings, renderer: Renderer, map_sha256: str, seed: int, acquisition: Acquisition, lesions: list[str], attenuation: str | None = None) -> str:  # fmt: skip
    """Identity of an image: host, lesion set with placement, their attenuation, renderer, acquisition, render seed."""
    how = [renderer.name, renderer.version, renderer.weights(settings)]
    return digest([map_sha256, sorted(lesions), *how, acquisition.name, seed, attenuation], 32)


def image_path(renderer: str, uid: str, kept: str = "nifti") -> str:
    """Path of an image below the output folder."""
    return f"store/cts/{renderer}/{uid[:2]}/{uid}{'' if kept == 'nifti' else f'.{kept}'}.nii.gz"


def _kept(settings: Settings, how: Renderer) -> str:
    """What is kept of an image with lesions."""
    if how.patch is not None:
        return "nifti" if settings.cts == "nifti" else "patch"
    return "planes" if settings.cts == "slices" else "nifti"


def _planes(ct: Volume, lesions: list[Lesion]) -> Volume:
    """The slices of a CT that hold lesions, from the first to the last."""
    levels = lesion_box(lesions, ct.array.shape, (0, 0, 0))[2]
    return ct.crop((slice(0, ct.array.shape[0]), slice(0, ct.array.shape[1]), levels))


def _note(renderer: str, anatomy: str) -> str:
    return f"rendered by {renderer}; {anatomy} anatomy; not a clinical image"


@dataclass(frozen=True)
class _Twin:
    """A host's lesion-free CT, the parts of its file, the file's hash, the least and greatest HU of each part."""

    ct: Volume
    packed: Packed
    sha256: str
    low: list[float]
    high: list[float]
    made: Rendered


def _twin(settings: Settings, how: Renderer, request: RenderRequest, uid: str, anatomy: str) -> _Twin:
    """The lesion-free CT that a request without lesions asks for; rendered once, then shared by the host's cases."""
    path = settings.output / image_path(how.name, uid)
    if isinstance(_TWINS.get(path), _Twin) and not path.exists():
        _TWINS.clear()  # somebody removed it since
    if path not in _TWINS:
        _TWINS.clear()
        try:
            lock = settings.output / "work" / "locks" / f"{uid}.lock"
            lock.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(lock):  # of workers that want one host's twin, one renders it and the others read it
                _TWINS[path] = _make_twin(settings, how, request, path, _note(how.name, anatomy))
        except CaseRejected as error:
            _TWINS[path] = error
    twin = _TWINS[path]
    if isinstance(twin, CaseRejected):
        raise twin
    return twin


#: The twin of the last host, or why there is none: cases come host by host, and none renders it again.
_TWINS: dict[Path, _Twin | CaseRejected] = {}


def _make_twin(settings: Settings, how: Renderer, request: RenderRequest, path: Path, note: str) -> _Twin:
    if path.exists():
        try:
            ct = read_volume(path)  # passed the gates before it was written
            return _packed_twin(Rendered(ct), pack_volume(ct, note), hash_file(path))
        except CaseRejected:
            path.unlink()  # damaged: made anew below, to the same bytes
    require_known(request.host)
    made = how.render(settings, request, [])
    with _pictured(settings, f"{how.name}/{path.name.partition('.')[0]}", [], lambda: made.ct):
        require_plausible(made.ct, request.host)
    packed = pack_volume(made.ct, note)
    return _packed_twin(made, packed, write_packed(path, packed))


def _packed_twin(made: Rendered, packed: Packed, sha256: str) -> _Twin:
    ct = made.ct
    slabs = [ct.array[..., k : k + packed.depth] for k in range(0, ct.array.shape[2], packed.depth)]
    return _Twin(ct, packed, sha256, [float(s.min()) for s in slabs], [float(s.max()) for s in slabs], made)


def render_case(payload: dict[str, Any], settings: Settings) -> Output:
    """Rows of ``cts`` for one case (lesion image and lesion-free twin; of a clean case the twin alone) and their files.

    Raises:
        CaseRejected: the host map cannot be read, or an image does not pass the gates of ``quality``.
    """
    how, sha_map, seed = RENDERERS[payload["source"]], payload["map_sha256"], payload["seed"]
    acquisition = Acquisition(**payload["acquisition"])
    request = RenderRequest(load_host_map(settings.output, sha_map), sha_map, seed, acquisition=acquisition)
    twin_uid = image_uid(settings, how, sha_map, seed, acquisition, [])
    twin = _twin(settings, how, request, twin_uid, payload["anatomy"])
    twin_path = image_path(how.name, twin_uid)
    base = {
        "case_uid": payload["case_uid"], "source": how.name, "mode": payload["mode"], "dataset": payload["dataset"], "twin_uid": twin_uid,
        "weights_sha256": how.weights(settings), "acquisition": acquisition.name, **payload["acquisition"], "attenuation": None,
        "trained_on": how.trained_on, "anatomy": payload["anatomy"],
    }  # fmt: skip
    free = base | {
        "is_lesion_free": True, "image_uid": twin_uid, "path": twin_path, "sha256": twin.sha256, "kept": "nifti", "lesion_hu": None,
        "background_hu": None, "low_hu": min(twin.low), "high_hu": max(twin.high), "twin_difference_hu": None, "paired": None, "decoding": None,
    }  # fmt: skip
    bits = payload["lesions"]
    if not bits:
        return Output({"cts": [free]}, {twin_path: twin.sha256}, measured=twin.made.measured)
    put = replace(request, lesions=[unpack_bits(b) for b in bits], attenuation=payload["attenuation"], twin=twin.ct)
    image, measured = _lesion_image(settings, how, put, bits, twin, payload["anatomy"])
    rows = [base | image | {"attenuation": put.attenuation}, free]
    return Output({"cts": rows}, {image["path"]: image["sha256"], twin_path: twin.sha256}, measured=twin.made.measured | measured)  # fmt: skip


def _lesion_image(
    settings: Settings, how: Renderer, request: RenderRequest, bits: list[str], twin: _Twin, anatomy: str
) -> tuple[dict[str, Any], dict[str, float]]:
    """Columns of the image with lesions, and what it took. A patch renderer's file is packed anew only where it changed."""
    uid = image_uid(settings, how, request.host_sha256, request.root_seed, request.acquisition, bits, request.attenuation)  # fmt: skip
    note = _note(how.name, anatomy)
    kept = _kept(settings, how)
    path = image_path(how.name, uid, kept)
    if how.patch is None:
        made = how.render(settings, request, bits)
        part, decoding, measured = made.ct, made.decoding, made.measured
        with _pictured(settings, f"{how.name}/{uid}", request.lesions, lambda: part):
            require_plausible(part, request.host)
        low, high = float(part.array.min()), float(part.array.max())
        apart = paired_difference(part, twin.ct, request.host, request.lesions)
        slabs = None
    else:
        part, decoding, measured = how.patch(request, bits), None, {}
        slabs = paste(twin.packed, twin.ct, part.array, place_of(part, twin.ct))
        low = min(float(s.min()) if (s := slabs.get(i)) is not None else v for i, v in enumerate(twin.low))
        high = max(float(s.max()) if (s := slabs.get(i)) is not None else v for i, v in enumerate(twin.high))
        apart = 0.0  # nothing but the patch differs
    inside, around, without = _contrast(part, request.lesions, twin.ct)
    with _pictured(settings, f"{how.name}/{uid}", request.lesions, lambda: _laid(part, twin.ct)):
        require_contrast(inside, without)
    if slabs is None or kept == "patch":
        sha = write_volume(settings.output / path, _planes(part, request.lesions) if kept == "planes" else part, note)
    else:
        sha = write_packed(settings.output / path, repack(twin.packed, twin.ct, note, slabs))
    return {
        "is_lesion_free": False, "image_uid": uid, "path": path, "sha256": sha, "kept": kept, "lesion_hu": inside, "background_hu": around,
        "low_hu": low, "high_hu": high, "twin_difference_hu": apart, "paired": apart <= PAIRED_HU, "decoding": decoding,
    }, measured  # fmt: skip


@contextmanager
def _pictured(settings: Settings, name: str, lesions: list[Lesion], image: Callable[[], Volume]) -> Iterator[None]:
    """Keep a picture of an image that a gate refuses and say where it is; the volume itself is not kept."""
    try:
        yield
    except CaseRejected as error:
        path = f"store/refused/{name}.png"
        replace_file(settings.output / path, ct_slice(image(), lesions[0] if lesions else None))
        raise CaseRejected(error.reason, f"{error.detail}; see {path}") from None


def _laid(part: Volume, whole: Volume) -> Volume:
    """``whole`` with ``part`` laid over it."""
    array = whole.array.copy(order="K")
    array[place_of(part, whole)] = part.array
    return Volume(array, whole.affine)


#: Voxels around a lesion that its background is taken from.
_SHELL = 3


def _contrast(part: Volume, lesions: list[Lesion], twin: Volume) -> tuple[float, float, float]:
    """Mean HU over the lesions, over a shell of three voxels around them, and over the same voxels as the lesions in the twin.

    ``part`` is laid over the twin.
    """
    box = lesion_box(lesions, twin.array.shape, (_SHELL + 1,) * 3)
    at = place_of(part, twin)
    own = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(at, box, strict=True))
    before = twin.array[box]
    hu = before.copy(order="K")
    hu[_from(own, box)] = part.array[_from(own, at)]
    mask = np.zeros(hu.shape, bool, order="F")
    for lesion in lesions:
        mask[_from(lesion.box, box)] |= lesion.mask
    shell = (edt.edt(~mask) <= _SHELL) & ~mask
    return tuple(round(float(v.mean(dtype=np.float64)), 3) for v in (hu[mask], hu[shell], before[mask]))  # type: ignore[return-value]


def _from(box: tuple[slice, ...], start: Box) -> tuple[slice, ...]:
    """``box`` counted from the corner of another."""
    return tuple(slice(s.start - t.start, s.stop - t.start) for s, t in zip(box, start, strict=True))


@lru_cache(maxsize=2)
def _read_ct(path: Path) -> Volume:
    return read_volume(path)


def open_plane(settings: Settings, row: dict[str, Any], k: int) -> tuple[Volume, int]:
    """A CT that holds slice ``k`` of a row of ``cts``, and the slice's index in it; also where only some slices are kept.

    Raises:
        CaseRejected: a file is missing or damaged, or the slice was not kept.
    """
    if row["kept"] != "planes":
        return open_ct(settings, row), k
    ct = read_volume(settings.output / row["path"])
    host = _read_ct(settings.output / image_path(row["source"], row["twin_uid"]))
    at = k - place_of(ct, host)[2].start
    if not 0 <= at < ct.array.shape[2]:
        raise CaseRejected(Reason.NOT_KEPT, f"{row['path']}: slice {k} was not kept (ITRIALSPACE_CTS=slices keeps those with lesions)")  # fmt: skip
    return ct, at


def open_ct(settings: Settings, row: dict[str, Any]) -> Volume:
    """The CT of a row of ``cts``; a patch is laid over its twin, so later stages never notice.

    Raises:
        CaseRejected: a file is missing or damaged, or only some slices were kept.
    """
    if row["kept"] == "planes":
        raise CaseRejected(Reason.NOT_KEPT, f"{row['path']}: the whole CT was not kept (ITRIALSPACE_CTS=slices)")
    whole = _read_ct(settings.output / image_path(row["source"], row["twin_uid"]))
    if row["is_lesion_free"]:
        return whole
    stored = read_volume(settings.output / row["path"])
    if row["kept"] == "nifti":
        return stored
    return _laid(stored, whole)
