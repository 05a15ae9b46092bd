"""Inserting many cases into large hosts, against reading each host once and writing each mask, in the same run.

200 cases over four hosts of 512 x 512 x 256: generated ones, and real maps where a folder of them is given. Each
nodule is wanted where one of its size can lie in another host, as in a crossed trial. One process. The yardstick only
reads every host once and writes every finished mask, with the same reader and writer; beside it, what whole-volume
transforms cost for one nodule (docs/facts/insertion.md#cost-of-whole-volume-transforms).

    python -m bench.insertion [--real FOLDER] [--cases 200]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.demo.phantom import draw_anatomy, draw_body
from itrialspace_assets.hosts.depth import DEPTH_STEPS
from itrialspace_assets.hosts.paths import map_path
from itrialspace_assets.hosts.procedural import rows as procedural_donors
from itrialspace_assets.hosts.store import load_host_map, load_lung_depth, prepare_host
from itrialspace_assets.imaging.anatomy import LOBE_LABELS, LOBES, lung_mask
from itrialspace_assets.imaging.geometry import Volume, read_labels
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.insertion.case import Donor, Host, HostLobe, InsertionCase, PlannedNodule
from itrialspace_assets.insertion.insert import insert_case

SPACING = np.array([0.703125, 0.703125, 1.25])
SHAPE = (512, 512, 256)


def large_host(number: int) -> Volume:
    """A procedural chest on the grid of the published masks."""
    rng = np.random.default_rng(number)
    small = draw_anatomy(draw_body(rng), rng, SPACING)
    labels = np.zeros(SHAPE, np.uint8, order="F")
    common = tuple(slice(min(a, b)) for a, b in zip(SHAPE, small.array.shape, strict=True))
    labels[common] = small.array[common]
    return Volume(labels, small.affine)


def prepare(out: Path, real: Path | None, hosts: int) -> list[dict[str, Any]]:
    """Hosts in the store, with their rows."""
    found = [read_labels(p) for p in sorted(real.glob("*.nii.gz"))][:hosts] if real is not None else []
    maps = [*found, *(large_host(i) for i in range(hosts - len(found)))]
    settings = load_settings(data_dir=out, output_dir=out)
    made = [prepare_host(settings, v, f"host{i}", "procedural") for i, v in enumerate(maps)]
    return [{"host": m.columns | {"scan_uid": f"host{i}"}, "lobes": m.lobes} for i, m in enumerate(made)]


def draw_percents(
    host: dict[str, Any], out: Path, lobe: str, radius_mm: float, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Percentages (cc, ml, ap) of a drawn voxel of a lobe about which a ball lies wholly in the lung.

    Args:
        host: an entry of ``prepare``.
        out: output folder.
        lobe: name of the lobe.
        radius_mm: of the ball.
        rng: draws the voxel.
    """
    row = next(x for x in host["lobes"] if x["lobe"] == lobe)
    shape = HostLobe(**{name: row[name] for name in HostLobe.model_fields}).geometry()
    volume = load_host_map(out, host["host"]["map_sha256"])
    part, low, high = volume.array[shape.box], *np.transpose([[s.start, s.stop] for s in shape.box])
    lungs = tuple(host["host"]["lung_box"])
    deep = load_lung_depth(out, host["host"]["map_sha256"], lungs).over(low, high, radius_mm)
    while True:
        at = [int(rng.integers(n)) for n in part.shape]
        if part[tuple(at)] == LOBE_LABELS[lobe] and deep[tuple(at)] >= DEPTH_STEPS * radius_mm:
            return shape.percent([a + s.start for a, s in zip(at, shape.box, strict=True)])


def cases_of(settings: Settings, hosts: list[dict[str, Any]], n: int) -> list[InsertionCase]:
    """Cases of one nodule each, of drawn donors of 3 to 30 mm.

    Args:
        settings: gives the store of the hosts.
        hosts: from ``prepare``.
        n: how many.
    """
    donors = [d for d in procedural_donors(0) if 3 <= d["diameter_mm"] <= 30]
    rng = np.random.default_rng(1)
    cases = []
    for i in range(n):
        host, other = hosts[i * len(hosts) // n], hosts[(i * len(hosts) // n + 1) % len(hosts)]
        donor, lobe = donors[int(rng.integers(len(donors)))], LOBES[i % 5]
        cc, ml, ap = draw_percents(other, settings.output, lobe, donor["diameter_mm"] / 2, rng)
        nodule = PlannedNodule(
            nodule_idx=0,
            present=True,
            kept=False,
            donor_nodule_uid=donor["nodule_uid"],
            donor_person_uid=donor["person_uid"],
            label=None,
            placement="profile",
            lobe=lobe,
            cc_pct=cc,
            ml_pct=ml,
            ap_pct=ap,
            planned_diameter_mm=donor["diameter_mm"],
            scale=1.0,
            asked_pleural_mm=12.0,
            asked_airway_mm=20.0,
            margin_mm=1.0,
            rotation_x_deg=0.0,
            rotation_y_deg=0.0,
            rotation_z_deg=0.0,
            mirrored=False,
            relaxations="",
            donor=Donor.of(donor["scan_uid"], donor),
        )
        case = InsertionCase(
            case_uid=f"bench/all/{i:05d}",
            mode="m",
            dataset="d",
            anatomy="procedural",
            seed=i,
            host_person_uid="p",
            host=Host.of(host["host"]["scan_uid"], host["host"], host["lobes"]),
            nodules=(nodule,),
        )
        cases.append(case)
    return cases


def _save(out: Path, cases: list[InsertionCase]) -> None:
    (out / f"cases{len(cases)}.json").write_text(json.dumps([c.model_dump(mode="json") for c in cases]))


def _load(out: Path, n: int) -> list[InsertionCase]:
    return [InsertionCase.model_validate(c) for c in json.loads((out / f"cases{n}.json").read_text())]


def timed(call: Any) -> float:
    """Seconds of processor time: others that use the machine do not count."""
    started = time.process_time()
    call()
    return time.process_time() - started


def ours(out: Path, n: int, masks: str) -> float:
    """Seconds for all cases with cold caches, in a process of its own so that its memory can be read."""
    settings = load_settings(data_dir=out, output_dir=out, masks=masks, workers=1)
    cases = _load(out, n)
    return timed(lambda: [insert_case(case, settings) for case in cases])


def yardstick(out: Path, n: int) -> float:
    """Seconds to read every host once and write every finished mask."""
    settings = load_settings(data_dir=out, output_dir=out, masks="nifti", workers=1)
    masks: dict[str, list[str]] = {}
    for case in _load(out, n):
        masks.setdefault(case.host.map_sha256, []).append(next(iter(insert_case(case, settings).files)))
    spent = 0.0
    for sha, paths in masks.items():
        spent += timed(lambda sha=sha: read_labels(map_path(out, sha)))
        for path in paths:
            volume = read_labels(out / path)
            spent += timed(lambda volume=volume: write_volume(out / "yardstick.nii.gz", volume, "inserted nodules"))
    return spent


def whole_volume(host: Volume) -> float:
    """What the original's rules cost for one nodule: transforms of the whole volume."""
    started = time.process_time()
    np.argwhere(host.array == 30)
    ndimage.distance_transform_edt(lung_mask(host.array), sampling=host.spacing)
    ndimage.binary_fill_holes(host.array == 23)
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, help="folder of real label maps, used as hosts first")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--peak", choices=("nifti", "delta"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak:  # a child: one way of keeping masks, its time and its memory
        seconds = ours(given.out, given.cases, given.peak)
        status = Path("/proc/self/status").read_text()  # getrusage would give the parent's peak as well
        print(seconds, int(status.split("VmHWM:")[1].split()[0]) / 1024)
        return
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        hosts = prepare(out, given.real, 4)
        for n in (given.cases, given.cases // 2):
            _save(out, cases_of(load_settings(data_dir=out, output_dir=out), hosts, n))

        def child(masks: str, n: int) -> tuple[float, float]:
            command = [sys.executable, "-m", "bench.insertion", "--peak", masks, "--out", folder, "--cases", str(n)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds, mib = done.stdout.split()
            return float(seconds), float(mib)

        n = given.cases
        print(f"{n} cases on 4 hosts of {SHAPE}, {'real first' if given.real else 'generated'}, one process")
        limits, nifti, delta = [], [], []
        for _ in range(3):
            limits.append(yardstick(out, n))
            nifti.append(child("nifti", n))
            delta.append(child("delta", n))
        limit = statistics.median(limits)
        for name, runs in (("NIfTI", nifti), ("deltas", delta)):
            seconds = statistics.median(s for s, _ in runs)
            print(
                f"{name:7} {seconds:6.2f} s = {60 * n / seconds:6.0f} cases a minute, {seconds / limit:.2f} x "
                f"(read each host once + write each mask: {limit:.2f} s), peak {max(m for _, m in runs):.0f} "
                "MiB"
            )
        half, whole = child("delta", n // 2)[0], child("delta", n)[0]
        print(f"deltas, {n // 2} and {n} cases: {half:.2f} and {whole:.2f} s")
        print(f"whole-volume transforms for one nodule: {whole_volume(large_host(0)):.1f} s")


if __name__ == "__main__":
    main()
