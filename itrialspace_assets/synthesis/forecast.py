"""How long a rendering will take and how much disk it needs, measured on a few slices of its own hosts beforehand.

Renders into memory, writes one temporary file to the disk that will hold the images; starts no work.
"""

import math
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from itrialspace_assets.base.errors import CaseRejected, ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.cases import Case
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.imaging.geometry import Volume, pack_volume, write_packed
from itrialspace_assets.imaging.volumes import lesion_box, unpack_bits
from itrialspace_assets.records.store import read_all
from itrialspace_assets.synthesis.acquisition import Acquisition
from itrialspace_assets.synthesis.quality import require_plausible
from itrialspace_assets.synthesis.renderers import Renderer
from itrialspace_assets.synthesis.request import Rate, RenderRequest

#: Slices of a host that are rendered to see what one costs, from its middle, where most of the chest is.
SAMPLE_SLICES = 16
#: Cases whose patches are measured for what a patch takes.
SAMPLE_CASES = 50
#: An int16 voxel before compression: an image never takes more.
MOST_BYTES = 2
GIB = 2**30


@dataclass(frozen=True)
class Forecast:
    """Cases and hosts left to render, seconds of one worker, bytes wanted and bytes free."""

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
class Grid:
    """Voxels (X, Y, Z) and voxel size (mm) of a host."""

    shape: tuple[int, int, int]
    spacing: Sequence[float]

    @property
    def voxels(self) -> int:
        return math.prod(self.shape)


def host_grids(settings: Settings, dataset: str | None = None) -> dict[str, Grid]:
    """Grid of each host map by its hash, of one dataset or of all."""
    where = {} if dataset is None else {"dataset": dataset}
    hosts = read_all(settings.output, "hosts", **where).select(
        "map_sha256", "shape", "spacing_x", "spacing_y", "spacing_z"
    )
    return {sha: Grid((int(x), int(y), int(z)), spacing) for sha, (x, y, z), *spacing in hosts.iter_rows()}


def measure_rate(settings: Settings, renderer: Renderer, map_sha256: str, seed: int, acquisition: Acquisition) -> Rate:  # fmt: skip
    """Render, pack and write the middle slices of a host; nothing of it stays.

    Raises:
        CaseRejected: the host's map cannot be read, or its slices do not pass the gates.
    """
    host = load_host_map(settings.output, map_sha256)
    first = max(0, (host.array.shape[2] - SAMPLE_SLICES) // 2)
    box = slice(0, host.array.shape[0]), slice(0, host.array.shape[1]), slice(first, first + SAMPLE_SLICES)
    part = Volume(np.asfortranarray(host.crop(box).array), host.crop(box).affine)
    started = time.perf_counter()
    ct = renderer.render(settings, RenderRequest(part, map_sha256, seed, acquisition=acquisition), []).ct
    require_plausible(ct, part)
    packed = pack_volume(ct, "forecast")
    rendered = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=settings.output) as folder:
        file = Path(folder) / "forecast.nii.gz"
        write_packed(file, packed)
        written = time.perf_counter()
        size = file.stat().st_size
    n = part.array.size
    return Rate((rendered - started) / n, (written - rendered) / n, size / n)


def forecast(settings: Settings, renderer: Renderer, cases: Sequence[Case]) -> Forecast:
    """What the rendering of these cases takes: as the renderer estimates it, or at the rate of the commonest host.

    Raises:
        ConfigError: a case's host is not in the store; the stages before have to run again.
    """
    free = free_bytes(settings.output)
    if not cases:
        return Forecast(0, 0, 0.0, 0, free)
    grids = host_grids(settings)
    frame = pl.DataFrame([{"map": c.payload["map_sha256"], "seed": str(c.payload["seed"]), "how": Acquisition(**c.payload["acquisition"]).name} for c in cases])  # fmt: skip
    if missing := set(frame["map"]) - set(grids):
        raise ConfigError(f"{len(missing)} hosts of the inserted cases are not in the host store (first: {min(missing)}); run the stages from hosts on again")  # fmt: skip
    twins = frame.unique()["map"].to_list()
    with_lesion = [c for c in cases if c.payload["lesions"]]
    hosts = [*twins, *(c.payload["map_sha256"] for c in with_lesion)]
    if renderer.estimate is not None:
        seconds = {
            sha: renderer.estimate(settings, grids[sha].shape, np.array(grids[sha].spacing)) for sha in set(hosts)
        }
        kept = (
            _plane_voxels(with_lesion, grids)
            if settings.cts == "slices"
            else float(sum(grids[c.payload["map_sha256"]].voxels for c in with_lesion))
        )
        size = MOST_BYTES * (sum(grids[sha].voxels for sha in twins) + kept)
        return Forecast(len(cases), len(twins), sum(seconds[sha] for sha in hosts), int(size), free)
    common = frame.group_by("map").len().sort("len", "map", descending=[True, False])["map"][0]
    how = Acquisition(**cases[0].payload["acquisition"])
    try:
        rate = measure_rate(settings, renderer, common, cases[0].payload["seed"], how)
    except CaseRejected as error:
        raise ConfigError(f"host {common}: {error.detail}; run the stage hosts again") from error
    first = float(sum(grids[sha].voxels for sha in twins))
    if settings.cts == "nifti":
        written = first + float(sum(grids[c.payload["map_sha256"]].voxels for c in with_lesion))
        return Forecast(
            len(cases), len(twins), first * rate.render + written * rate.write, int(written * rate.size), free
        )
    whole = first + _patch_voxels(with_lesion)
    return Forecast(len(cases), len(twins), whole * (rate.render + rate.write), int(whole * rate.size), free)


def _plane_voxels(cases: Sequence[Case], grids: dict[str, Grid]) -> float:
    """Voxels of the slices that hold lesions, of all cases, from those of some."""
    some = cases[:: max(1, len(cases) // SAMPLE_CASES)]
    each = []
    for case in some:
        levels = lesion_box([unpack_bits(b) for b in case.payload["lesions"]], (2**31,) * 3, (0, 0, 0))[2]
        each.append(math.prod(grids[case.payload["map_sha256"]].shape[:2]) * (levels.stop - levels.start))
    return float(np.mean(each)) * len(cases) if each else 0.0


def _patch_voxels(cases: Sequence[Case]) -> float:
    """Voxels of the patches of all cases, from those of some."""
    some = cases[:: max(1, len(cases) // SAMPLE_CASES)]
    boxes = [lesion_box([unpack_bits(b) for b in c.payload["lesions"]], (2**31,) * 3, (4, 4, 4)) for c in some]
    each = [np.prod([s.stop - s.start for s in box]) for box in boxes]
    return float(np.mean(each)) * len(cases) if each else 0.0


def require_disk(settings: Settings, renderer: Renderer, cases: Sequence[Case]) -> None:
    """Refuse to begin what the disk cannot hold. Measured only where raw voxels would not fit anyway.

    Raises:
        ConfigError: says how much is wanted, how much is free, and what takes less.
    """
    if not cases:
        return
    largest = max((g.voxels for g in host_grids(settings).values()), default=0)
    if 2 * len(cases) * largest * MOST_BYTES <= free_bytes(settings.output):
        return
    require_free(settings, forecast(settings, renderer, cases))


def require_free(settings: Settings, wanted: Forecast) -> None:
    """Refuse a forecast that is larger than what is free.

    Raises:
        ConfigError: as ``require_disk``.
    """
    if wanted.size > wanted.free:
        smaller = {"nifti": "ITRIALSPACE_CTS=delta keeps of each case what differs from its host, slices those with lesions", "delta": "", "slices": ""}[settings.cts]  # fmt: skip
        advice = f"; {smaller}" if smaller else ""
        raise ConfigError(
            f"{settings.output}: {wanted.cases} cases on {wanted.hosts} hosts need about {wanted.size / GIB:.3g} GiB, {wanted.free / GIB:.3g} GiB are free{advice}"
        )
