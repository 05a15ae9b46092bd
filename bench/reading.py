"""The self-test reader on the rendered cases of a finished demo, host by host, in one process.

Named baseline of the same run: the same images one by one, each opened and filtered as a whole, every image once. Ours:
as a worker of the platform reads them, with empty stores and cold caches.

    python -m bench.reading [--dir .demo] [--cases 100]
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
from itrialspace_assets.readers.build import read_cases
from itrialspace_assets.readers.case import ReadCase, RenderedScan
from itrialspace_assets.readers.read import read_case
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.records.store import table_files
from itrialspace_assets.synthesis.renderers import enabled

MARKS = 10


def cases_of(settings: Settings, most: int) -> list[ReadCase]:
    """Rendered cases of all partitions, whole hosts together, at most so many."""
    found = []
    for source in (r.name for r in enabled(settings)):
        for path in table_files(settings.output, "slices", source=source):
            partition = {"mode": path.parent.parent.name, "dataset": path.parent.name}
            found += read_cases(settings, source, readers(settings)["blob"], partition)
    found.sort(key=lambda case: case.group)
    return [ReadCase.model_validate(case.payload) for case in found[:most]]


def one_by_one(cases: list[ReadCase], output: Path) -> None:
    """Every image and slice once, as a whole, and nothing remembered."""
    done: set[str] = set()
    for case in cases:
        for part in case.slices:
            if part.sha256 not in done:
                blob._LAST.clear()
                with Image.open(output / part.path) as opened:
                    blob.read_slice(np.asarray(opened), (part.pixel_y_mm, part.pixel_x_mm))
            done.add(part.sha256)
        for scan in case.scans:
            if isinstance(scan, RenderedScan) and scan.key not in done:
                blob_scan.read_scan(read_volume(output / scan.image.path), MARKS)
            done.add(scan.key)


def as_the_platform(cases: list[ReadCase], settings: Settings) -> None:
    """Every case through ``read_case``, into a fresh output folder that only links the images."""
    blob._LAST.clear()
    blob_scan._LAST.clear()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        store.mkdir()
        for name in ("slices", "cts"):
            (store / name).symlink_to(settings.output / "store" / name)
        fresh = settings.model_copy(update={"output_dir": Path(folder)})
        for case in cases:
            read_case(case, fresh)


def seconds(call: Callable[[], None]) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, default=Path(".demo"), help="folder of a finished demo")
    parser.add_argument("--cases", type=int, default=100)
    given = parser.parse_args()
    folder = given.dir.absolute()
    settings = load_settings(data_dir=folder / "data", output_dir=folder / "out", workers=1)
    cases = cases_of(settings, given.cases)
    hosts = {s.image.twin_uid for c in cases for s in c.scans if isinstance(s, RenderedScan)}
    print(f"{len(cases)} rendered cases on {len(hosts)} hosts, {sum(len(c.slices) for c in cases)} slices")
    whole = seconds(lambda: one_by_one(cases, settings.output))
    ours = seconds(lambda: as_the_platform(cases, settings))
    for name, (wall, cpu) in (("one by one, as a whole", whole), ("ours", ours)):
        print(f"{name}: {wall / len(cases):.3f} s a case ({cpu / len(cases):.3f} s of processor time)")
    print(f"ratio of processor time: {ours[1] / whole[1]:.2f}")


if __name__ == "__main__":
    main()
