"""Renders the CTs of one case: the host's lesion-free twin, once, and the image with lesions."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import edt
import numpy as np
from filelock import FileLock

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.base.fingerprints import hash_file, replace_file
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.cases import Output
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.imaging.geometry import (
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
from itrialspace_assets.imaging.pictures import ct_slice
from itrialspace_assets.imaging.volumes import Lesion, lesion_box, unpack_bits
from itrialspace_assets.synthesis import quality
from itrialspace_assets.synthesis.acquisition import Acquisition
from itrialspace_assets.synthesis.images import image_path, image_uid, lay_over
from itrialspace_assets.synthesis.quality import paired_difference, require_contrast, require_known, require_plausible
from itrialspace_assets.synthesis.renderers import RENDERERS, Renderer
from itrialspace_assets.synthesis.request import Rendered, RenderRequest


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
            with _one_at_a_time(settings, uid):
                _TWINS[path] = _make_twin(settings, how, request, path, _note(how.name, anatomy))
        except CaseRejected as error:
            _TWINS[path] = error.reason, error.detail  # not the error: it would hold on to all that was computed
    twin = _TWINS[path]
    if isinstance(twin, tuple):
        raise CaseRejected(*twin)
    return twin


#: The twin of the last host, or why there is none: cases come host by host, and none renders it again.
_TWINS: dict[Path, _Twin | tuple[Reason, str]] = {}


def _one_at_a_time(settings: Settings, uid: str) -> FileLock:
    """Held while an image is made: of workers and modes that share it, one renders it and the others read it."""
    lock = settings.output / "work" / "locks" / f"{uid[:2]}.lock"  # few files; two images of one lock wait in vain
    lock.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(lock)


def _make_twin(settings: Settings, how: Renderer, request: RenderRequest, path: Path, note: str) -> _Twin:
    if path.exists():
        try:
            ct = read_volume(path)  # passed the gates before it was written
            decoding = json.loads(_memory(path).read_text())["decoding"] if how.patch is None else None
            return _packed_twin(Rendered(ct, decoding), pack_volume(ct, note), hash_file(path))
        except (CaseRejected, FileNotFoundError, ValueError, KeyError):
            path.unlink()  # damaged: made anew below
    require_known(request.host)
    made = how.render(settings, request, [])
    with _pictured(settings, f"{how.name}/{path.name.partition('.')[0]}", [], lambda: made.ct):
        require_plausible(made.ct, request.host)
    if how.patch is None:
        replace_file(_memory(path), json.dumps({"decoding": made.decoding}).encode())
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
        "weights_sha256": how.weights(settings), **_taken(how, acquisition, request.host), "attenuation": None,
        "trained_on": how.trained_on, "anatomy": payload["anatomy"],
    }  # fmt: skip
    free = base | {
        "is_lesion_free": True, "image_uid": twin_uid, "path": twin_path, "sha256": twin.sha256, "kept": "nifti", "lesion_hu": None,
        "background_hu": None, "low_hu": min(twin.low), "high_hu": max(twin.high), "twin_difference_hu": None, "paired": None, "decoding": twin.made.decoding,
    }  # fmt: skip
    bits = payload["lesions"]
    if not bits:
        return Output({"cts": [free]}, {twin_path: twin.sha256}, measured=twin.made.measured)
    put = replace(request, lesions=[unpack_bits(b) for b in bits], attenuation=payload["attenuation"], twin=twin.ct)
    image, measured = _lesion_image(settings, how, put, bits, twin, payload["anatomy"])
    rows = [base | image | {"attenuation": put.attenuation if how.models else None}, free]
    return Output({"cts": rows}, {image["path"]: image["sha256"], twin_path: twin.sha256}, measured=twin.made.measured | measured)  # fmt: skip


def _taken(how: Renderer, acquisition: Acquisition, host: Volume) -> dict[str, Any]:
    """Columns that say how the scan is taken; nulls of a renderer that does not follow it."""
    if not how.models:
        return {"acquisition": "not modelled"} | dict.fromkeys(
            ("mtf50_per_mm", "shown_mtf50_per_mm", "dose", "slice_mm")
        )
    shown = round(acquisition.shown_mtf50(host.spacing), 6)
    return {"acquisition": acquisition.name, "shown_mtf50_per_mm": shown, **asdict(acquisition)}


def _lesion_image(
    settings: Settings, how: Renderer, request: RenderRequest, bits: list[str], twin: _Twin, anatomy: str
) -> tuple[dict[str, Any], dict[str, float]]:
    """Columns of the image with lesions, and what it took."""
    uid = image_uid(settings, how, request.host_sha256, request.root_seed, request.acquisition, bits, request.attenuation)  # fmt: skip
    note = _note(how.name, anatomy)
    if how.patch is not None:
        return _patched(settings, how, request, bits, twin, uid, note)
    path = image_path(how.name, uid, _kept(settings, how))
    with _one_at_a_time(settings, uid):
        if (found := _remembered(settings, path)) is not None:
            return found, {}
        image, measured = _whole(settings, how, request, bits, twin, uid, note)
        replace_file(_memory(settings.output / path), json.dumps(image, allow_nan=False).encode())
        return image, measured


def _memory(path: Path) -> Path:
    """Where it is kept how an image was made, for the next mode that shows it."""
    return path.with_name(path.name.removesuffix(".nii.gz") + ".json")


def _remembered(settings: Settings, path: str) -> dict[str, Any] | None:
    """Columns of an image that is there, as it was made; None if it is not or is damaged."""
    try:
        image: dict[str, Any] = json.loads(_memory(settings.output / path).read_text())
        return image if hash_file(settings.output / path) == image["sha256"] else None
    except (FileNotFoundError, ValueError, KeyError):
        return None


def _whole(
    settings: Settings, how: Renderer, request: RenderRequest, bits: list[str], twin: _Twin, uid: str, note: str
) -> tuple[dict[str, Any], dict[str, float]]:
    """An image rendered as a whole: every voxel may differ from the twin's."""
    made = how.render(settings, request, bits)
    ct = made.ct
    with _pictured(settings, f"{how.name}/{uid}", request.lesions, lambda: ct):
        require_plausible(ct, request.host)
        inside, around, without = _contrast(ct, request.lesions, twin.ct)
        require_contrast(inside, without, quality.LEAST_CONTRAST_HU)
    apart = paired_difference(ct, twin.ct, request.host, request.lesions)
    alike = made.decoding == twin.made.decoding  # windows blend into slightly different images
    kept = _kept(settings, how)
    path = image_path(how.name, uid, kept)
    sha = write_volume(settings.output / path, _planes(ct, request.lesions) if kept == "planes" else ct, note)
    return {
        "is_lesion_free": False, "image_uid": uid, "path": path, "sha256": sha, "kept": kept, "lesion_hu": inside, "background_hu": around,
        "low_hu": float(ct.array.min()), "high_hu": float(ct.array.max()), "twin_difference_hu": apart, "paired": apart <= quality.PAIRED_HU and alike, "decoding": made.decoding,
    }, made.measured  # fmt: skip


def _patched(
    settings: Settings, how: Renderer, request: RenderRequest, bits: list[str], twin: _Twin, uid: str, note: str
) -> tuple[dict[str, Any], dict[str, float]]:
    """An image that differs from its twin around the lesions alone; its file is packed anew only there."""
    assert how.patch is not None
    part = how.patch(request, bits)
    slabs = paste(twin.packed, twin.ct, part.array, place_of(part, twin.ct))
    low = min(float(s.min()) if (s := slabs.get(i)) is not None else v for i, v in enumerate(twin.low))
    high = max(float(s.max()) if (s := slabs.get(i)) is not None else v for i, v in enumerate(twin.high))
    inside, around, without = _contrast(part, request.lesions, twin.ct)
    with _pictured(settings, f"{how.name}/{uid}", request.lesions, lambda: lay_over(part, twin.ct)):
        require_contrast(inside, without, quality.LEAST_CONTRAST_HU * _shown(request))
    kept = _kept(settings, how)
    path = image_path(how.name, uid, kept)
    if kept == "patch":
        sha = write_volume(settings.output / path, part, note)
    else:
        sha = write_packed(settings.output / path, repack(twin.packed, twin.ct, note, slabs))
    return {
        "is_lesion_free": False, "image_uid": uid, "path": path, "sha256": sha, "kept": kept, "lesion_hu": inside, "background_hu": around,
        "low_hu": low, "high_hu": high, "twin_difference_hu": 0.0, "paired": True, "decoding": None,
    }, {}  # fmt: skip


def _shown(request: RenderRequest) -> float:
    """Share of the lesions' attenuation that the asked scan leaves inside them: little of a small one in a thick slice."""
    shape, spacing = request.host.array.shape, request.host.spacing
    box = lesion_box(request.lesions, shape, request.acquisition.reach(spacing))
    mask = np.zeros([s.stop - s.start for s in box], np.float32)
    for lesion in request.lesions:
        mask[_from(lesion.box, box)][lesion.mask] = 1.0
    return float(request.acquisition.blur(np.ascontiguousarray(mask.T), spacing).T[mask > 0].mean())


@contextmanager
def _pictured(settings: Settings, name: str, lesions: list[Lesion], image: Callable[[], Volume]) -> Iterator[None]:
    """Keep a picture of an image that a gate refuses and say where it is; the volume itself is not kept."""
    try:
        yield
    except CaseRejected as error:
        path = f"store/refused/{name}.png"
        replace_file(settings.output / path, ct_slice(image(), lesions[0] if lesions else None))
        raise CaseRejected(error.reason, f"{error.detail}; see {path}") from None


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
