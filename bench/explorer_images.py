"""The first picture of a case of 512x512x256 voxels over loopback, and what follows; a whole file and a patch.

Baseline: reading the file of the lesion-free twin from the same disk, with nothing kept in memory.

    python -m bench.explorer_images [nifti|patch]
"""

import resource
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import polars as pl
import uvicorn

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.app import create_app
from itrialspace_assets.explorer.server.security import Access
from itrialspace_assets.imaging.geometry import Volume, read_volume
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.records.store import read_all, write_table
from itrialspace_assets.synthesis import images
from tests.explorer.small_case import PAIR, write_case

SHAPE, SPACING, REPEATS = (512, 512, 256), (0.7, 0.7, 1.25), 3


def enlarge(settings: Settings, kept: str) -> None:
    """The small case's image and twin become noise of a chest's size, kept whole or as a patch over the twin."""
    rng = np.random.default_rng(0)
    noise = np.asfortranarray(rng.normal(-400, 60, (*SHAPE[:2], 16)).astype(np.int16))
    array = np.asfortranarray(np.tile(noise, (1, 1, SHAPE[2] // 16)))
    affine = np.diag([*SPACING, 1.0])
    rows = read_all(settings.output, "cts").to_dicts()
    twin, image = (next(r for r in rows if r["is_lesion_free"] == free) for free in (True, False))
    write_volume(settings.output / twin["path"], Volume(array, affine))
    box = slice(240, 272), slice(240, 272), slice(120, 136)
    array[box] += 500
    whole = Volume(array, affine)
    path = images.image_path(image["source"], image["image_uid"], kept)
    write_volume(settings.output / path, whole if kept == "nifti" else whole.crop(box))
    image |= {"path": path, "kept": kept}
    write_table(settings.output, "cts", rows, source="tissue", **PAIR)


def served(settings: Settings) -> tuple[uvicorn.Server, str]:
    server = uvicorn.Server(uvicorn.Config(create_app(settings, Access()), port=0, log_level="error", lifespan="off"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    return server, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"


def seconds(call: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of the processor in all threads: others may use the machine."""
    clock, processor = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - clock, time.process_time() - processor


def fetch(address: str, route: str, values: dict[str, object]) -> None:
    with urllib.request.urlopen(f"{address}/api/{route}?{urlencode(values)}") as answer:
        answer.read()


ASKED: dict[str, tuple[str, dict[str, object]]] = {
    "a plane": ("plane.png", {"index": 128}),
    "a coarse volume": ("volume", {"step": 4, "packed": False}),
    "the whole volume": ("volume", {"packed": False}),
}


def measure(settings: Settings, uid: str, kept: str) -> None:
    row = read_all(settings.output, "cts").filter(~pl.col("is_lesion_free")).row(0, named=True)
    twin = settings.output / images.image_path(row["source"], row["twin_uid"])
    took: dict[str, list[tuple[float, float]]] = {}
    for _ in range(REPEATS):
        took.setdefault("reading it", []).append(seconds(partial(read_volume, twin)))
        for name, (route, values) in ASKED.items():
            server, address = served(settings)
            ask = partial(fetch, address, route, {"uid": uid, "what": "ct", **values})
            took.setdefault(f"{name}, first", []).append(seconds(ask))
            took.setdefault(f"{name}, again", []).append(seconds(ask))
            server.should_exit = True
    clock, processor = (statistics.median(t[i] for t in took["reading it"]) for i in (0, 1))
    for name, times in took.items():
        own = [statistics.median(t[i] for t in times) for i in (0, 1)]
        print(
            f"{kept}: {name}: {own[0]:.3f} s, {own[1]:.3f} s of the processor, {own[1] / processor:.2f} of reading it"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{kept}: peak of server and bench together {peak:.0f} MiB; reading it {clock:.3f} s")


def main() -> None:
    for kept in sys.argv[1:] or ("nifti", "patch"):
        with tempfile.TemporaryDirectory() as folder:
            settings, uid = write_case(Path(folder))
            enlarge(settings, kept)
            measure(settings, uid, kept)


if __name__ == "__main__":
    main()
