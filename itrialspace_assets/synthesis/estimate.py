"""Estimates how long a rendering will take and how much disk it needs, from a few slices of its own hosts.

Renders into memory and writes one temporary file to the disk that will hold the images; starts no work.
"""

import math
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from itrialspace_assets.base.errors import CaseRejected, ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.imaging.geometry import Box, Volume
from itrialspace_assets.imaging.lesions import lesion_box, unpack_bits
from itrialspace_assets.imaging.packing import pack_volume, write_packed
from itrialspace_assets.records.store import read_all
from itrialspace_assets.synthesis.acquisition import ScanAcquisition
from itrialspace_assets.synthesis.case import RenderCase
from itrialspace_assets.synthesis.images import PLANES_BESIDE
from itrialspace_assets.synthesis.quality import require_plausible
from itrialspace_assets.synthesis.renderers import Renderer
from itrialspace_assets.synthesis.request import RenderRequest

#: Slices of a host that are rendered to measure the rate, from its middle, where most of the chest is. Ours.
SAMPLE_SLICES = 16
#: Cases whose lesions are measured to estimate the size of a patch. Ours.
SAMPLE_CASES = 50
#: Voxels around the lesions that a patch is taken to hold. Ours: about what blurred edges reach.
_PATCH_VOXELS = (4, 4, 4)
#: Bytes of an int16 voxel before compression: an image never takes more.
MOST_BYTES = 2
GIB = 2**30


@dataclass(frozen=True)
class Rate:
    """What a voxel of a host takes: seconds to render, check and pack it, seconds to write it, bytes on disk."""

    render: float
    write: float
    size: float


@dataclass(frozen=True)
class RenderingEstimate:
    """What is left to render.

    Attributes:
        cases: number of cases.
        hosts: number of lesion-free twins.
        seconds: time of one worker.
        size: bytes that are needed.
        free: bytes that are free.
    """

    cases: int
    hosts: int
    seconds: float
    size: int
    free: int


def free_bytes(folder: Path) -> int:
    """Free bytes of the disk that a folder, which may not exist yet, is or will be on."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


@dataclass(frozen=True)
class HostGrid:
    """Voxels (X, Y, Z) and voxel size (mm) of a host."""

    shape: tuple[int, int, int]
    spacing: Sequence[float]

    @property
    def voxels(self) -> int:
        return math.prod(self.shape)


def host_grids(settings: Settings, dataset: str | None = None) -> dict[str, HostGrid]:
    """Grid of each host map by its hash, of one dataset or of all."""
    where = {} if dataset is None else {"dataset": dataset}
    hosts = read_all(settings.output, "hosts", **where).select(
        "map_sha256", "shape", "spacing_x", "spacing_y", "spacing_z"
    )
    return {sha: HostGrid((int(x), int(y), int(z)), spacing) for sha, (x, y, z), *spacing in hosts.iter_rows()}


def measure_rate(
    settings: Settings, renderer: Renderer, map_sha256: str, seed: int, acquisition: ScanAcquisition
) -> Rate:
    """Render, pack and write the middle slices of a host; nothing is kept.

    Args:
        settings: gives the store and the disk.
        renderer: what renders.
        map_sha256: hash of the host's label map.
        seed: root seed of the rendering.
        acquisition: how the scan is taken.

    Raises:
        CaseRejected: the host's map cannot be read.
    """
    host = load_host_map(settings.output, map_sha256)
    first = max(0, (host.array.shape[2] - SAMPLE_SLICES) // 2)
    box = slice(0, host.array.shape[0]), slice(0, host.array.shape[1]), slice(first, first + SAMPLE_SLICES)
    part = Volume(np.asfortranarray(host.crop(box).array), host.crop(box).affine)
    started = time.perf_counter()
    ct = renderer.render(settings, RenderRequest(part, map_sha256, seed, acquisition=acquisition), []).ct
    with suppress(CaseRejected):  # for its time: the rim of an organ on a few slices may lie outside the organ's range
        require_plausible(ct, part)
    packed = pack_volume(ct, "estimate")
    rendered = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=settings.output) as folder:
        file = Path(folder) / "estimate.nii.gz"
        write_packed(file, packed)
        written = time.perf_counter()
        size = file.stat().st_size
    n = part.array.size
    return Rate((rendered - started) / n, (written - rendered) / n, size / n)


def estimate_rendering(settings: Settings, renderer: Renderer, cases: Sequence[RenderCase]) -> RenderingEstimate:
    """What the rendering of these cases takes: by the renderer's own seconds, or at the rate of the commonest host.

    Args:
        settings: gives store, disk and how images are kept.
        renderer: what renders.
        cases: what is left to render.

    Raises:
        ConfigError: a case's host is not in the store; the stages before have to run again.
    """
    free = free_bytes(settings.output)
    if not cases:
        return RenderingEstimate(0, 0, 0.0, 0, free)
    grids = host_grids(settings)
    frame = pl.DataFrame([{"map": c.map_sha256, "seed": str(c.seed), "acquisition": c.acquisition.name} for c in cases])
    if missing := set(frame["map"]) - set(grids):
        raise ConfigError(
            f"{len(missing)} hosts of the inserted cases are not in the host store (first: {min(missing)}); "
            "run the stages from hosts on again"
        )
    twins = frame.unique()["map"].to_list()
    with_lesion = [c for c in cases if c.lesions]
    twin_voxels = float(sum(grids[sha].voxels for sha in twins))
    lesion_voxels = float(sum(grids[c.map_sha256].voxels for c in with_lesion))
    if renderer.seconds_per_image is not None:
        hosts = [*twins, *(c.map_sha256 for c in with_lesion)]
        seconds = {
            sha: renderer.seconds_per_image(settings, grids[sha].shape, np.array(grids[sha].spacing))
            for sha in set(hosts)
        }
        kept = _plane_voxels(with_lesion, grids) if settings.cts == "slices" else lesion_voxels
        size = int(MOST_BYTES * (twin_voxels + kept))
        return RenderingEstimate(len(cases), len(twins), sum(seconds[sha] for sha in hosts), size, free)
    common = frame.group_by("map").len().sort("len", "map", descending=[True, False])["map"][0]
    try:
        rate = measure_rate(settings, renderer, common, cases[0].seed, cases[0].acquisition)
    except CaseRejected as error:
        raise ConfigError(f"host {common}: {error.detail}; run the stage hosts again") from error
    if settings.cts == "nifti":
        rendered, written = twin_voxels, twin_voxels + lesion_voxels
    else:
        rendered = written = twin_voxels + _patch_voxels(with_lesion)
    spent = rendered * rate.render + written * rate.write
    return RenderingEstimate(len(cases), len(twins), spent, int(written * rate.size), free)


def _plane_voxels(cases: Sequence[RenderCase], grids: dict[str, HostGrid]) -> float:
    """Voxels of the slices that hold lesions, of all cases, from those of some."""
    some = cases[:: max(1, len(cases) // SAMPLE_CASES)]
    each = []
    for case in some:
        levels = _lesion_box(case, (0, 0, PLANES_BESIDE))[2]
        each.append(math.prod(grids[case.map_sha256].shape[:2]) * (levels.stop - levels.start))
    return float(np.mean(each)) * len(cases) if each else 0.0


def _patch_voxels(cases: Sequence[RenderCase]) -> float:
    """Voxels of the patches of all cases, from those of some."""
    some = cases[:: max(1, len(cases) // SAMPLE_CASES)]
    each = [math.prod(s.stop - s.start for s in _lesion_box(case, _PATCH_VOXELS)) for case in some]
    return float(np.mean(each)) * len(cases) if each else 0.0


def _lesion_box(case: RenderCase, pad: tuple[int, int, int]) -> Box:
    """Box of a case's lesions and ``pad`` voxels around them, not cut at the host's faces."""
    return lesion_box([unpack_bits(bits) for bits in case.lesions], (2**31,) * 3, pad)


def require_disk(settings: Settings, renderer: Renderer, cases: Iterable[RenderCase], count: int) -> None:
    """Refuse to begin what the disk cannot hold. Nothing is measured where even uncompressed images would fit.

    Args:
        settings: gives store, disk and how images are kept.
        renderer: what renders.
        cases: what is left to render; gone through only where the disk may be too small.
        count: how many they are.

    Raises:
        ConfigError: says how much is needed, how much is free, and what takes less.
    """
    if not count:
        return
    largest = max((g.voxels for g in host_grids(settings).values()), default=0)
    if 2 * count * largest * MOST_BYTES <= free_bytes(settings.output):
        return
    require_free(settings, estimate_rendering(settings, renderer, list(cases)))


def require_free(settings: Settings, wanted: RenderingEstimate) -> None:
    """Refuse an estimate that is larger than what is free.

    Raises:
        ConfigError: as of ``require_disk``.
    """
    if wanted.size > wanted.free:
        smaller = {
            "nifti": "ITRIALSPACE_CTS=delta keeps of each case what differs from its host, slices those with lesions",
            "delta": "",
            "slices": "",
        }[settings.cts]
        advice = f"; {smaller}" if smaller else ""
        raise ConfigError(
            f"{settings.output}: {wanted.cases} cases on {wanted.hosts} hosts need about "
            f"{wanted.size / GIB:.3g} GiB, {wanted.free / GIB:.3g} GiB are free{advice}"
        )
