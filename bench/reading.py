"""The self-test reader on the rendered cases of a finished demo, host by host, in one process.

Named baseline of the same run: the same images one by one, each opened and filtered as a whole, every image once. Ours:
as a worker of the platform reads them, with empty stores and cold caches.

    python -m bench.reading [--dir .demo]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.imaging.geometry import read_volume
from itrialspace_assets.readers import blob, blob_scan
from itrialspace_assets.readers.build import to_read
from itrialspace_assets.readers.case import MarkScan, ReadBatch, ReadWork, RenderedScan
from itrialspace_assets.readers.questions import Questions, questions
from itrialspace_assets.readers.read import work
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.records.store import table_files
from itrialspace_assets.synthesis.renderers import enabled

MARKS = 10


def asked_in(settings: Settings) -> list[Questions]:
    """What the reader is asked in every rendered partition."""
    found = []
    for source in (r.name for r in enabled(settings)):
        for path in table_files(settings.output, "slices", source=source):
            partition = {"mode": path.parent.parent.name, "dataset": path.parent.name}
            found.append(questions(settings, source, readers(settings)["blob"], partition))
    return found


def jobs_of(settings: Settings, asked: list[Questions]) -> tuple[list[ReadBatch], list[MarkScan]]:
    """Batches and scans of all partitions, each request and scan once, scans of one host together."""
    seen: set[str] = set()
    requests = []
    for part in asked:
        for request in to_read(part.requests, part.shown):
            if request.generation_key not in seen:
                seen.add(request.generation_key)
                requests.append(request)
    step = settings.batch
    batches = [ReadBatch(reader="blob", requests=tuple(requests[i : i + step])) for i in range(0, len(requests), step)]
    scans = {uid: (part.hosts[uid], scan) for part in asked for uid, scan in part.scans.items()}
    ordered = sorted(scans.values(), key=lambda pair: (pair[0], pair[1].key))
    return batches, [MarkScan(reader="blob", scan=scan) for _, scan in ordered]


def one_by_one(batches: list[ReadBatch], scans: list[MarkScan], output: Path) -> None:
    """Every image and slice once, as a whole, and nothing remembered."""
    done: set[str] = set()
    for request in (r for b in batches for r in b.requests):
        if request.picture_sha256 not in done:
            blob._LAST.clear()
            with Image.open(output / request.paths[0]) as opened:
                blob.read_slice(np.asarray(opened), (request.pixel_y_mm, request.pixel_x_mm))
        done.add(request.picture_sha256)
    for job in scans:
        if isinstance(job.scan, RenderedScan):
            blob_scan.read_scan(read_volume(output / job.scan.image.path), MARKS)


def as_the_platform(batches: list[ReadBatch], scans: list[MarkScan], settings: Settings) -> None:
    """Every job as a worker does it, into a fresh output folder that only links the images."""
    blob._LAST.clear()
    blob_scan._LAST.clear()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        store.mkdir()
        for name in ("slices", "cts"):
            (store / name).symlink_to(settings.output / "store" / name)
        fresh = settings.model_copy(update={"output_dir": Path(folder)})
        for job in (*batches, *scans):
            work(ReadWork(job=job), fresh)


def seconds(call: Callable[[], None]) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, default=Path(".demo"), help="folder of a finished demo")
    given = parser.parse_args()
    folder = given.dir.absolute()
    settings = load_settings(data_dir=folder / "data", output_dir=folder / "out", workers=1)
    batches, scans = jobs_of(settings, asked_in(settings))
    requests = sum(len(b.requests) for b in batches)
    print(f"{requests} requests in {len(batches)} batches, {len(scans)} images")
    whole = seconds(lambda: one_by_one(batches, scans, settings.output))
    ours = seconds(lambda: as_the_platform(batches, scans, settings))
    for name, (wall, cpu) in (("one by one, as a whole", whole), ("ours", ours)):
        print(f"{name}: {wall / len(scans):.3f} s an image and its slices ({cpu / len(scans):.3f} s of processor)")
    print(f"ratio of processor time: {ours[1] / whole[1]:.2f}")


if __name__ == "__main__":
    main()
