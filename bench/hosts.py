"""Preparing a host of 512 x 512 x 256, and inserting from a manifest into hosts that were never seen, each against the
least it must do, in the same run.

- A host, as the stage ``hosts`` prepares it: against reading its map and one exact distance pass over its lungs.
- One nodule from a manifest into a new host: against reading that host and the donor's mask.
- 75 cases from a manifest into three new hosts: against reading each host once and writing each mask.

Generated hosts, and real maps where a folder of them is given. One process, imports left out; each peak of memory is
that of a process of its own.

    python -m bench.hosts [--real FOLDER]
"""

import argparse
import csv
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import edt
import numpy as np

from bench.insertion import large_host, timed
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.hosts.shapes import NoduleShape, draw_shape
from itrialspace_assets.hosts.store import prepare_host, read_host
from itrialspace_assets.imaging.anatomy import LOBES, lung_mask
from itrialspace_assets.imaging.geometry import Volume, bounding_box, read_labels, read_volume
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.insertion.manifest_run import Inserted, insert_manifests

HOSTS, CASES, DONORS, REPEATS = 3, 75, 3, 3


def make(folder: Path, real: Path | None) -> None:
    """The files: host maps as the published ones are (float32), and masks of donors of 6 to 12 mm on their grid."""
    found = [read_labels(p) for p in sorted(real.glob("*.nii.gz"))][:HOSTS] if real is not None else []
    maps = [*found, *(large_host(i) for i in range(HOSTS - len(found)))]
    rng = np.random.default_rng(0)
    for number, labels in enumerate(maps):
        write_volume(folder / f"host{number}.nii.gz", Volume(labels.array.astype(np.float32), labels.affine))
    for number in range(DONORS):
        grid = maps[number % HOSTS]
        shape = draw_shape(NoduleShape(6.0 + 3.0 * number, 0.1, 0.0), grid.spacing, rng)
        mask = np.zeros(grid.array.shape, np.uint8, order="F")
        mask[tuple(slice(100, 100 + n) for n in shape.shape)] = shape
        write_volume(folder / f"donor{number}.nii.gz", Volume(mask, grid.affine))


def manifest(path: Path, hosts: int, cases: int) -> None:
    """A manifest of cases of one nodule each, positions drawn in the middle of the lobes."""
    rng = np.random.default_rng(2)
    rows = []
    for i in range(cases):
        cc, ml, ap = rng.uniform(25, 75, 3).round(3)
        rows.append(
            {
                "case_id": i,
                "host_organ_seg_path": f"host{i * hosts // cases}.nii.gz",
                "donor_nodule_mask_path": f"donor{i % min(DONORS, cases)}.nii.gz",
                "donor_annotation_id": f"n{i}",
                "insertion_lobe": LOBES[i % 5],
                "insertion_lobe_cc_pct": cc,
                "insertion_lobe_ml_pct": ml,
                "insertion_lobe_ap_pct": ap,
                "asked_pleural_mm": 12.0,
                "asked_airway_mm": 20.0,
            }
        )
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@contextmanager
def _silent(title: str, total: int) -> Iterator[Any]:
    yield lambda n: None


def settings_of(folder: Path) -> Settings:
    """Settings with an output folder in which nothing was ever done."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    return load_settings(data_dir=folder, output_dir=folder / "out", workers=1)


def insert(folder: Path, name: str) -> Inserted:
    """Insert a manifest; every one of its nodules must go in."""
    settings = settings_of(folder)
    read_host.cache_clear()  # no host of an earlier call is in memory
    (made,) = insert_manifests([folder / name], settings, folder, _silent)
    assert not made.failed, made.failed[0]["reason"]
    return made


def host(folder: Path) -> None:
    prepare_host(settings_of(folder), read_labels(folder / "host0.nii.gz"), "host0", "procedural")


def least_host(folder: Path) -> None:
    """Read a map and measure how deep each voxel of its lungs lies in them."""
    labels = read_labels(folder / "host0.nii.gz")
    lungs = lung_mask(labels.array)
    edt.edt(np.asfortranarray(lungs[bounding_box(lungs)]), anisotropy=tuple(labels.spacing), black_border=True)


def least_single(folder: Path) -> None:
    read_labels(folder / "host0.nii.gz")
    read_volume(folder / "donor0.nii.gz")


def least_many(folder: Path, made: Inserted) -> float:
    """Seconds to read every host once and write every finished mask."""
    spent = sum(timed(lambda i=i: read_labels(folder / f"host{i}.nii.gz")) for i in range(HOSTS))
    for path in sorted(made.folder.glob("*_mask.nii.gz")):
        volume = read_labels(path)
        spent += timed(lambda volume=volume: write_volume(folder / "again.nii.gz", volume, "inserted nodules"))
    return spent


def peak(folder: Path, what: str) -> int:
    """MiB that a process of its own needs at most."""
    command = [sys.executable, "-m", "bench.hosts", "--peak", what, "--out", str(folder)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, help="folder of real label maps, used as hosts first")
    parser.add_argument("--peak", choices=("host", "single", "many"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak:
        host(given.out) if given.peak == "host" else insert(given.out, f"{given.peak}.csv")
        print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, given.real)
        manifest(folder / "single.csv", 1, 1)
        manifest(folder / "many.csv", HOSTS, CASES)
        times: dict[str, list[tuple[float, float]]] = {"host": [], "single": [], "many": []}
        for _ in range(REPEATS):  # in turn, so that a slow moment of the machine hits all alike
            times["host"].append((timed(lambda: host(folder)), timed(lambda: least_host(folder))))
            times["single"].append((timed(lambda: insert(folder, "single.csv")), timed(lambda: least_single(folder))))
            made: list[Inserted] = []
            spent = timed(lambda made=made: made.append(insert(folder, "many.csv")))
            times["many"].append((spent, least_many(folder, made[0])))
        print(
            f"hosts of 512 x 512 x 256, {'real first' if given.real else 'generated'}; "
            f"processor seconds, medians of {REPEATS}, in turn"
        )
        for what, title, least in (
            ("host", "one host prepared", "read it + one distance pass over the lungs"),
            ("single", "one nodule from a manifest, new host", "read host and donor"),
            ("many", f"{CASES} cases from a manifest, {HOSTS} new hosts", "read each host once + write each mask"),
        ):
            ours, theirs = (statistics.median(t) for t in zip(*times[what], strict=True))
            ratio = statistics.median(a / b for a, b in times[what])
            print(
                f"{title:42} {ours:6.2f} s, {least}: {theirs:5.2f} s, ratio {ratio:5.2f}, peak {peak(folder, what)} MiB"
            )


if __name__ == "__main__":
    main()
