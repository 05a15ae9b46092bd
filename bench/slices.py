"""Slices of a case of 512 x 512 x 256: three levels, four conditions, two profiles, against reading its CT once.

A real finding (24 pictures), the same with a negative place of its scan (48, and its organ map is read), and a rendered
case: nodule, its place on the twin and an empty place (72). Cold caches, an empty store, one process, hashing and
writing the files included. The baseline of the same run is ``read_volume`` of the CT and nothing else.

    python -m bench.slices [--real FOLDER]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.insertion import cases_of, prepare
from bench.rendering import render_cases
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.hosts.store import read_host
from itrialspace_assets.imaging.geometry import read_volume
from itrialspace_assets.imaging.pictures import PNG_LEVEL
from itrialspace_assets.insertion.insert import insert_case
from itrialspace_assets.profiles import cts
from itrialspace_assets.slices.case import ImageToCut, RealSliceCase, SliceCase, SliceNodule
from itrialspace_assets.slices.cut import cut_case, cut_real
from itrialspace_assets.slices.wanted import wanted
from itrialspace_assets.synthesis import images
from itrialspace_assets.synthesis.rendering import render_case

REPEATS, LIMIT = 5, 1.5


def real_case(host: dict[str, Any], row: dict[str, Any], complete: bool) -> RealSliceCase:
    """A finding at the place of an inserted nodule; its scan is the file ``raw_ct/x.nii.gz``.

    Args:
        host: columns of ``hosts``.
        row: columns of ``insertions``.
        complete: whether a negative place is cut as well.
    """
    return RealSliceCase(
        case_uid="real/D/1",
        dataset="D",
        scan_uid="D/x",
        person_uid="p",
        ct_path="x.nii.gz",
        ct_sha256=None,
        map_sha256=host["map_sha256"],
        shape=tuple(host["shape"]),
        spacing=tuple(host[f"spacing_{a}"] for a in "xyz"),
        origin=tuple(host[f"origin_{a}"] for a in "xyz"),
        lesion=row["lesion"],
        all_lesions=(row["lesion"],),
        cleared=host["cleared"],
        extents=((row["world_z"] - 5, row["world_z"] + 5),),
        lobe=row["lobe"],
        lobe_share=row["lobe_share"],
        mask_grown=False,
        label=None,
        anatomy="procedural",
        complete=complete,
        published_id="D/1",
        seed=1,
    )


def rendered_case(row: dict[str, Any], made: list[dict[str, Any]]) -> SliceCase:
    """A rendered case: its nodule and its images.

    Args:
        row: columns of ``insertions``.
        made: rows of ``cts``.
    """
    nodule = {name: row[name] for name in SliceNodule.model_fields}
    return SliceCase(
        case_uid=row["case_uid"],
        mode="m",
        dataset="d",
        arm="a",
        anatomy="procedural",
        published_id="m/a__C0000",
        images=tuple(ImageToCut(**{name: image[name] for name in ImageToCut.model_fields}) for image in made),
        nodules=(SliceNodule(**nodule),),
    )


def cold() -> None:
    """Forget every volume that was read."""
    for cache in (cts._read, images._read_twin, read_host):
        cache.cache_clear()


def median(call: Callable[[], Any]) -> tuple[float, float]:
    """Median seconds, wall and processor, each time with cold caches."""
    spent = []
    for _ in range(REPEATS):
        cold()
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        spent.append((time.perf_counter() - wall, time.process_time() - cpu))
    return statistics.median(w for w, _ in spent), statistics.median(c for _, c in spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, help="folder of real label maps; the first one serves as host")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings: Settings = load_settings(
            data_dir=Path(folder),
            output_dir=Path(folder),
            workers=1,
            profiles="lung_axial,lung_axial_medgemma",
            z_offsets="-1,0,1",
        )
        asked = wanted(settings)
        hosts = prepare(settings.output, given.real, 1)
        row = insert_case(cases_of(settings, hosts, 1)[0], settings).rows["insertions"][0]
        made = render_case(render_cases(settings, hosts, 1)[0], settings).rows["cts"]
        ct = settings.data / "raw_ct/x.nii.gz"
        ct.parent.mkdir()
        ct.symlink_to(settings.output / made[0]["path"])
        read, busy = median(lambda: read_volume(ct))
        array = read_volume(ct).array
        print(
            f"{'real' if given.real else 'generated'} host {array.shape} {array.dtype}, one process, PNG level "
            f"{PNG_LEVEL} (ISA-L), medians of {REPEATS}; {len(asked.z_offsets)} levels x {len(asked.conditions)} "
            f"conditions x {len(asked.profiles)} profiles"
        )
        print(f"reading the CT: {read:.3f} s ({busy:.3f} s of processor time)")
        first = 0.0
        for name, call in (
            ("a real finding", lambda: cut_real(real_case(hosts[0]["host"], row, False), settings)),
            ("with a negative place", lambda: cut_real(real_case(hosts[0]["host"], row, True), settings)),
            ("a rendered case", lambda: cut_case(rendered_case(row, made), settings)),
        ):
            (spent, used), files = median(call), call().files
            size = np.mean([(settings.output / path).stat().st_size for path in files])
            first = first or spent / read
            print(
                f"{name}: {len(files)} pictures of {size / 1e3:.0f} kB in {spent:.3f} s = {spent / read:.2f} x reading "
                f"(processor time {used / busy:.2f} x)"
            )
        print(f"limit for a real finding: {LIMIT} x: {'kept' if first <= LIMIT else 'NOT KEPT'}")


if __name__ == "__main__":
    main()
