"""Renders the CTs of one case: the host's lesion-free twin, once, and the image with lesions."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import edt
import numpy as np

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.base.fingerprints import hash_file, replace_file
from itrialspace_assets.base.locks import locked
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.cases import Output
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.imaging.geometry import Box, Volume, place_of, read_volume
from itrialspace_assets.imaging.lesions import Lesion, lesion_box, unpack_bits
from itrialspace_assets.imaging.packing import Packed, pack_volume, paste, repack, write_packed, write_volume
from itrialspace_assets.imaging.pictures import ct_slice
from itrialspace_assets.synthesis import quality
from itrialspace_assets.synthesis.case import RenderCase
from itrialspace_assets.synthesis.filling import Closed, close_map
from itrialspace_assets.synthesis.images import PLANES_BESIDE, image_path, image_uid, lay_over
from itrialspace_assets.synthesis.quality import paired_difference, require_contrast, require_known, require_plausible
from itrialspace_assets.synthesis.renderers import RENDERERS, Renderer
from itrialspace_assets.synthesis.request import Rendered, RenderRequest
from itrialspace_assets.synthesis.rows import CtRow


def _kept(settings: Settings, renderer: Renderer) -> str:
    """What is kept of an image with lesions."""
    if renderer.patch is not None:
        return "nifti" if settings.cts == "nifti" else "patch"
    return "planes" if settings.cts == "slices" else "nifti"


def _planes(ct: Volume, lesions: list[Lesion]) -> Volume:
    """The slices of a CT that hold lesions, from the first to the last, and ``PLANES_BESIDE`` on each side."""
    levels = lesion_box(lesions, ct.array.shape, (0, 0, PLANES_BESIDE))[2]
    return ct.crop((slice(0, ct.array.shape[0]), slice(0, ct.array.shape[1]), levels))


def _note(renderer: Renderer, anatomy: str) -> str:
    """Description in an image's file."""
    return f"rendered by {renderer.name}; {anatomy} anatomy; not a clinical image"


@dataclass(frozen=True)
class _Twin:
    """A host's lesion-free CT.

    Attributes:
        ct: HU on the host's grid.
        packed: the parts of its file.
        sha256: hash of the file.
        low: least HU of each part.
        high: greatest HU of each part.
        made: what the renderer gave.
    """

    ct: Volume
    packed: Packed
    sha256: str
    low: list[float]
    high: list[float]
    made: Rendered


@dataclass(frozen=True)
class _Image:
    """The columns of ``cts`` that an image itself gives; those of an image rendered as a whole are kept beside it."""

    is_lesion_free: bool
    image_uid: str
    path: str
    sha256: str
    kept: str
    lesion_hu: float | None
    background_hu: float | None
    low_hu: float
    high_hu: float
    twin_difference_hu: float | None
    paired: bool | None
    decoding: str | None


def _twin(settings: Settings, renderer: Renderer, request: RenderRequest, uid: str, anatomy: str) -> _Twin:
    """The lesion-free CT that a request without lesions asks for; rendered once, then shared by the host's cases."""
    path = settings.output / image_path(renderer.name, uid)
    if isinstance(_TWINS.get(path), _Twin) and not path.exists():
        _TWINS.clear()  # its file was removed since
    if path not in _TWINS:
        _TWINS.clear()
        try:
            with _one_at_a_time(settings, uid):
                _TWINS[path] = _make_twin(settings, renderer, request, path, _note(renderer, anatomy))
        except CaseRejected as error:
            _TWINS[path] = error.reason, error.detail  # not the error: it would hold on to all that was computed
    twin = _TWINS[path]
    if isinstance(twin, tuple):
        raise CaseRejected(*twin)
    return twin


#: The twin of the last host, or why there is none: cases come host by host, and none renders it again.
_TWINS: dict[Path, _Twin | tuple[Reason, str]] = {}


def _one_at_a_time(settings: Settings, uid: str) -> AbstractContextManager[None]:
    """Held while an image is made: of workers and modes that share it, one renders it and the others read it."""
    # few lock files; two images that share one wait for each other without need
    lock = settings.output / "work" / "locks" / f"{uid[:2]}.lock"
    return locked(lock)


def _make_twin(settings: Settings, renderer: Renderer, request: RenderRequest, path: Path, note: str) -> _Twin:
    if path.exists():
        try:
            ct = read_volume(path)  # passed the checks before it was written
            decoding = json.loads(_memory(path).read_text())["decoding"] if renderer.patch is None else None
            return _packed_twin(Rendered(ct, decoding), pack_volume(ct, note), hash_file(path))
        except (CaseRejected, FileNotFoundError, ValueError, KeyError):
            path.unlink()  # damaged: rendered again below
    require_known(request.host)
    made = renderer.render(settings, request, [])
    with _pictured(settings, f"{renderer.name}/{path.name.partition('.')[0]}", [], lambda: made.ct):
        require_plausible(made.ct, request.host)
    if renderer.patch is None:
        replace_file(_memory(path), json.dumps({"decoding": made.decoding}).encode())
    packed = pack_volume(made.ct, note)
    return _packed_twin(made, packed, write_packed(path, packed))


def _packed_twin(made: Rendered, packed: Packed, sha256: str) -> _Twin:
    ct = made.ct
    slabs = [ct.array[..., k : k + packed.depth] for k in range(0, ct.array.shape[2], packed.depth)]
    return _Twin(ct, packed, sha256, [float(s.min()) for s in slabs], [float(s.max()) for s in slabs], made)


def render_case(case: RenderCase, settings: Settings) -> Output:
    """Rows of ``cts`` for one case (lesion image and lesion-free twin; of a clean case the twin alone) and their files.

    Raises:
        CaseRejected: the host map cannot be read, or an image does not pass the checks of ``quality``.
    """
    renderer, sha = RENDERERS[case.source], case.map_sha256
    closed = _closed_map(settings.output, sha)
    request = RenderRequest(closed.labels, sha, case.seed, acquisition=case.acquisition)
    twin_uid = image_uid(settings, renderer, sha, case.seed, case.acquisition, [])
    twin = _twin(settings, renderer, request, twin_uid, case.anatomy)
    free = _twin_image(renderer, twin, twin_uid)
    files, measured, images = {free.path: free.sha256}, twin.made.measured, [free]
    if case.lesions:
        lesions = [unpack_bits(bits) for bits in case.lesions]
        put = replace(request, lesions=lesions, attenuation=case.attenuation, twin=twin.ct)
        image, taken = _lesion_image(settings, renderer, put, list(case.lesions), twin, case.anatomy)
        files, measured, images = {image.path: image.sha256} | files, measured | taken, [image, free]
    rows = [asdict(_row(settings, renderer, case, closed, twin_uid, image)) for image in images]
    return Output({"cts": rows}, files, measured=measured)


@lru_cache(maxsize=1)
def _closed_map(output: Path, map_sha256: str) -> Closed:
    """A host's map as it is rendered; the last one stays in memory, since cases come grouped by host."""
    return close_map(load_host_map(output, map_sha256))


def _row(
    settings: Settings, renderer: Renderer, case: RenderCase, closed: Closed, twin_uid: str, image: _Image
) -> CtRow:
    """The row of an image; what the renderer does not model is null."""
    acquisition, modelled = case.acquisition, renderer.models
    return CtRow(
        case_uid=case.case_uid,
        source=renderer.name,
        mode=case.mode,
        dataset=case.dataset,
        twin_uid=twin_uid,
        weights_sha256=renderer.weights(settings),
        acquisition=acquisition.name if modelled else "not modelled",
        mtf50_per_mm=acquisition.mtf50_per_mm if modelled else None,
        shown_mtf50_per_mm=round(acquisition.shown_mtf50(closed.labels.spacing), 6) if modelled else None,
        dose=acquisition.dose if modelled else None,
        slice_mm=acquisition.slice_mm if modelled else None,
        attenuation=case.attenuation if modelled and not image.is_lesion_free else None,
        filled_voxels=closed.filled,
        dropped_voxels=closed.dropped,
        trained_on=renderer.trained_on,
        anatomy=case.anatomy,
        **asdict(image),
    )


def _twin_image(renderer: Renderer, twin: _Twin, uid: str) -> _Image:
    return _Image(
        is_lesion_free=True,
        image_uid=uid,
        path=image_path(renderer.name, uid),
        sha256=twin.sha256,
        kept="nifti",
        lesion_hu=None,
        background_hu=None,
        low_hu=min(twin.low),
        high_hu=max(twin.high),
        twin_difference_hu=None,
        paired=None,
        decoding=twin.made.decoding,
    )


def _lesion_image(
    settings: Settings, renderer: Renderer, request: RenderRequest, bits: list[str], twin: _Twin, anatomy: str
) -> tuple[_Image, dict[str, float]]:
    """The image with lesions, and what it took (for metadata alone)."""
    uid = image_uid(
        settings, renderer, request.host_sha256, request.root_seed, request.acquisition, bits, request.attenuation
    )
    note = _note(renderer, anatomy)
    if renderer.patch is not None:
        return _patched(settings, renderer, request, bits, twin, uid, note)
    path = image_path(renderer.name, uid, _kept(settings, renderer))
    with _one_at_a_time(settings, uid):
        if (found := _remembered(settings, path)) is not None:
            return found, {}
        image, measured = _whole(settings, renderer, request, bits, twin, uid, note)
        replace_file(_memory(settings.output / path), json.dumps(asdict(image), allow_nan=False).encode())
        return image, measured


def _memory(path: Path) -> Path:
    """File beside an image that says how it was made, for the next mode that shows it."""
    return path.with_name(path.name.removesuffix(".nii.gz") + ".json")


def _remembered(settings: Settings, path: str) -> _Image | None:
    """An image that is in the store, as it was made; None if it is missing or damaged."""
    try:
        image = _Image(**json.loads(_memory(settings.output / path).read_text()))
        return image if hash_file(settings.output / path) == image.sha256 else None
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _whole(
    settings: Settings, renderer: Renderer, request: RenderRequest, bits: list[str], twin: _Twin, uid: str, note: str
) -> tuple[_Image, dict[str, float]]:
    """An image rendered as a whole: every voxel may differ from the twin's."""
    made = renderer.render(settings, request, bits)
    ct = made.ct
    with _pictured(settings, f"{renderer.name}/{uid}", request.lesions, lambda: ct):
        require_plausible(ct, request.host)
        inside, around, without = _contrast(ct, request.lesions, twin.ct)
        require_contrast(inside, without, quality.LEAST_CONTRAST_HU)
    apart = paired_difference(ct, twin.ct, request.host, request.lesions)
    alike = made.decoding == twin.made.decoding  # windows blend into slightly different images
    kept = _kept(settings, renderer)
    path = image_path(renderer.name, uid, kept)
    sha = write_volume(settings.output / path, _planes(ct, request.lesions) if kept == "planes" else ct, note)
    image = _Image(
        is_lesion_free=False,
        image_uid=uid,
        path=path,
        sha256=sha,
        kept=kept,
        lesion_hu=inside,
        background_hu=around,
        low_hu=float(ct.array.min()),
        high_hu=float(ct.array.max()),
        twin_difference_hu=apart,
        paired=apart <= quality.PAIRED_HU and alike,
        decoding=made.decoding,
    )
    return image, made.measured


def _patched(
    settings: Settings, renderer: Renderer, request: RenderRequest, bits: list[str], twin: _Twin, uid: str, note: str
) -> tuple[_Image, dict[str, float]]:
    """An image that differs from its twin only around the lesions; only those parts of its file are packed again."""
    assert renderer.patch is not None
    part = renderer.patch(request, bits)
    slabs = paste(twin.packed, twin.ct, part.array, place_of(part, twin.ct))
    low = min(float(s.min()) if (s := slabs.get(i)) is not None else v for i, v in enumerate(twin.low))
    high = max(float(s.max()) if (s := slabs.get(i)) is not None else v for i, v in enumerate(twin.high))
    inside, around, without = _contrast(part, request.lesions, twin.ct)
    with _pictured(settings, f"{renderer.name}/{uid}", request.lesions, lambda: lay_over(part, twin.ct)):
        require_contrast(inside, without, quality.LEAST_CONTRAST_HU * _shown(request))
    kept = _kept(settings, renderer)
    path = image_path(renderer.name, uid, kept)
    if kept == "patch":
        sha = write_volume(settings.output / path, part, note)
    else:
        sha = write_packed(settings.output / path, repack(twin.packed, twin.ct, note, slabs))
    image = _Image(
        is_lesion_free=False,
        image_uid=uid,
        path=path,
        sha256=sha,
        kept=kept,
        lesion_hu=inside,
        background_hu=around,
        low_hu=low,
        high_hu=high,
        twin_difference_hu=0.0,
        paired=True,
        decoding=None,
    )
    return image, {}


def _shown(request: RenderRequest) -> float:
    """Share of the lesions' attenuation that is left inside them: a thick slice leaves little of a small lesion."""
    shape, spacing = request.host.array.shape, request.host.spacing
    box = lesion_box(request.lesions, shape, request.acquisition.reach(spacing))
    mask = np.zeros([s.stop - s.start for s in box], np.float32)
    for lesion in request.lesions:
        mask[_from(lesion.box, box)][lesion.mask] = 1.0
    return float(request.acquisition.blur(np.ascontiguousarray(mask.T), spacing).T[mask > 0].mean())


@contextmanager
def _pictured(settings: Settings, name: str, lesions: list[Lesion], image: Callable[[], Volume]) -> Iterator[None]:
    """Keep a picture of an image that a check rejects and say where it is; the volume itself is not kept."""
    try:
        yield
    except CaseRejected as error:
        path = f"store/refused/{name}.png"
        replace_file(settings.output / path, ct_slice(image(), lesions[0] if lesions else None))
        raise CaseRejected(error.reason, f"{error.detail}; see {path}") from None


#: Voxels around a lesion that its background is taken from. Ours.
_SHELL = 3


def _contrast(part: Volume, lesions: list[Lesion], twin: Volume) -> tuple[float, float, float]:
    """Mean HU over the lesions, over a shell around them, and over the lesions' voxels in the twin.

    Args:
        part: the image, or the part of it that differs from the twin.
        lesions: in the host's grid.
        twin: the lesion-free twin, whole.
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
    inside, around, without = (round(float(v.mean(dtype=np.float64)), 3) for v in (hu[mask], hu[shell], before[mask]))
    return inside, around, without


def _from(box: tuple[slice, ...], start: Box) -> tuple[slice, ...]:
    """``box`` counted from the corner of another."""
    return tuple(slice(s.start - t.start, s.stop - t.start) for s, t in zip(box, start, strict=True))
