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

from itrialspace_assets.casework import Case
from itrialspace_assets.errors import CaseRejected, ConfigError
from itrialspace_assets.geometry import Volume, pack_volume, write_packed
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.settings import Settings
from itrialspace_assets.store import read_all
from itrialspace_assets.synthesis.acquisition import Acquisition
from itrialspace_assets.synthesis.renderers import Renderer
from itrialspace_assets.synthesis.request import Rate, RenderRequest
from itrialspace_assets.volumes import lesion_box, unpack_bits

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


def host_shapes(settings: Settings) -> dict[str, tuple[int, int, int]]:
    """Voxels (X, Y, Z) of each host map by its hash."""
    hosts = read_all(settings.output, "hosts").select("map_sha256", "shape")
    return {sha: (int(x), int(y), int(z)) for sha, (x, y, z) in hosts.iter_rows()}


def measure_rate(settings: Settings, renderer: Renderer, map_sha256: str, seed: int, acquisition: Acquisition) -> Rate:  # fmt: skip
    """Render, pack and write the middle slices of a host; nothing of it stays.

    Raises:
        CaseRejected: the host's map cannot be read.
    """
    host = load_host_map(settings.output, map_sha256)
    first = max(0, (host.array.shape[2] - SAMPLE_SLICES) // 2)
    box = slice(0, host.array.shape[0]), slice(0, host.array.shape[1]), slice(first, first + SAMPLE_SLICES)
    part = Volume(np.asfortranarray(host.crop(box).array), host.crop(box).affine)
    started = time.perf_counter()
    packed = pack_volume(
        renderer.render(settings, RenderRequest(part, map_sha256, seed, acquisition=acquisition), []).ct, "forecast"
    )
    rendered = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=settings.output) as folder:
        file = Path(folder) / "forecast.nii.gz"
        write_packed(file, packed)
        written = time.perf_counter()
        size = file.stat().st_size
    n = part.array.size
    return Rate((rendered - started) / n, (written - rendered) / n, size / n)


def forecast(settings: Settings, renderer: Renderer, cases: Sequence[Case]) -> Forecast:
    """What the rendering of these cases takes, at the rate of the host that most of them have.

    Raises:
        ConfigError: a case's host is not in the store; the stages before have to run again.
    """
    free = free_bytes(settings.output)
    if not cases:
        return Forecast(0, 0, 0.0, 0, free)
    shapes = host_shapes(settings)
    voxels = {sha: math.prod(shape) for sha, shape in shapes.items()}
    frame = pl.DataFrame([{"map": c.payload["map_sha256"], "seed": str(c.payload["seed"]), "how": Acquisition(**c.payload["acquisition"]).name} for c in cases])  # fmt: skip
    if missing := set(frame["map"]) - set(voxels):
        raise ConfigError(f"{len(missing)} hosts of the inserted cases are not in the host store (first: {min(missing)}); run the stages from hosts on again")  # fmt: skip
    common = frame.group_by("map").len().sort("len", "map", descending=[True, False])["map"][0]
    how = Acquisition(**cases[0].payload["acquisition"])
    try:
        rate = renderer.estimate(settings) if renderer.estimate else measure_rate(settings, renderer, common, cases[0].payload["seed"], how)  # fmt: skip
    except CaseRejected as error:
        raise ConfigError(f"host {common}: {error.detail}; run the stage hosts again") from error
    twins = frame.unique()
    first = float(sum(voxels[m] for m in twins["map"]))
    with_lesion = [c for c in cases if c.payload["lesions"]]
    further = float(sum(voxels[c.payload["map_sha256"]] for c in with_lesion))
    seconds, size = first * (rate.render + rate.write), first * rate.size
    if renderer.patch is None:
        kept = further if settings.cts != "slices" else _plane_voxels(with_lesion, shapes)
        seconds, size = seconds + further * rate.render + kept * rate.write, size + kept * rate.size
    elif settings.cts == "nifti":
        seconds, size = seconds + further * rate.write, size + further * rate.size
    else:
        patch = _patch_voxels(with_lesion)
        seconds, size = seconds + patch * (rate.render + rate.write), size + patch * rate.size
    return Forecast(len(cases), twins.height, seconds, int(size), free)


def _plane_voxels(cases: Sequence[Case], shapes: dict[str, tuple[int, int, int]]) -> float:
    """Voxels of the slices that hold lesions, of all cases, from those of some."""
    some = cases[:: max(1, len(cases) // SAMPLE_CASES)]
    each = []
    for case in some:
        levels = lesion_box([unpack_bits(b) for b in case.payload["lesions"]], (2**31,) * 3, (0, 0, 0))[2]
        each.append(math.prod(shapes[case.payload["map_sha256"]][:2]) * (levels.stop - levels.start))
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
    largest = max((math.prod(s) for s in host_shapes(settings).values()), default=0)
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
