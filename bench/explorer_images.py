"""The first picture of a case of 512x512x256 voxels over loopback, and what follows; a whole file and a patch.

Baseline: reading the case's CT from the same disk (``synthesis.images.open_ct``), with nothing kept in memory.

    python -m bench.explorer_images
"""

import resource
import statistics
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
from itrialspace_assets.explorer.server.app import create_app
from itrialspace_assets.explorer.server.security import Access
from itrialspace_assets.imaging.geometry import Volume, write_volume
from itrialspace_assets.records.store import read_all, write_table
from itrialspace_assets.synthesis import images
from tests.explorer.small_case import PAIR, write_case

SHAPE, SPACING, REPEATS = (512, 512, 256), (0.7, 0.7, 1.25), 5


def enlarge(settings: Settings, kept: str) -> None:
    """The small case's image and twin become noise of a chest's size, kept whole or as a patch over the twin."""
    rng = np.random.default_rng(0)
    array = np.asfortranarray(rng.normal(-400, 60, SHAPE).astype(np.int16))
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


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def forget() -> None:
    images._read_twin.cache_clear()


def main() -> None:
    for kept in ("nifti", "patch"):
        with tempfile.TemporaryDirectory() as folder:
            settings, uid = write_case(Path(folder))
            enlarge(settings, kept)
            cts = read_all(settings.output, "cts").filter(~pl.col("is_lesion_free"))
            row = cts.row(0, named=True)
            asked: dict[str, dict[str, object]] = {
                "plane.png": {"index": 128, "window": "lung"},
                "volume": {"step": 4, "packed": False},
                "volume, whole": {"packed": False},
            }
            took: dict[str, list[float]] = {"read": []} | {
                f"{w} {name}": [] for name in asked for w in ("first", "next")
            }
            for _ in range(REPEATS):
                forget()
                took["read"].append(seconds(partial(images.open_ct, settings, row)))
                for name, values in asked.items():
                    forget()
                    server, address = served(settings)
                    path = f"{address}/api/{name.partition(',')[0]}?" + urlencode({"uid": uid, "what": "ct", **values})
                    took[f"first {name}"].append(seconds(lambda path=path: urllib.request.urlopen(path).read()))
                    took[f"next {name}"].append(seconds(lambda path=path: urllib.request.urlopen(path).read()))
                    server.should_exit = True
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            base = statistics.median(took["read"])
            for name, measured in took.items():
                middle = statistics.median(measured)
                print(f"{kept}: {name}: {middle:.3f} s, {middle / base:.2f} times reading it")
            print(f"{kept}: peak of server and bench together {peak:.0f} MiB")


if __name__ == "__main__":
    main()
