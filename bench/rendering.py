"""The tissue renderer on 512 x 512 x 256 maps: the first image of a host, each further case, one and two workers.

Named baseline of the same run: writing the whole CT once with the same writer. First one process on one host; then the
cases of two hosts through ``workers.run``, as a run of the platform does them, with cold caches and empty stores.

    python -m bench.rendering [--real FOLDER]
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.insertion import cases_of, prepare, timed
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.casework import workers
from itrialspace_assets.casework.cases import Case
from itrialspace_assets.imaging.geometry import read_volume
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.insertion.insert import insert_case
from itrialspace_assets.synthesis import rendering
from itrialspace_assets.synthesis.acquisition import STANDARD
from itrialspace_assets.synthesis.case import RenderCase
from itrialspace_assets.synthesis.rendering import render_case

CASES, HOSTS = 12, 2


def render_cases(settings: Settings, hosts: list[dict[str, Any]], n: int) -> list[RenderCase]:
    """Cases of rendering, one inserted lesion each.

    Args:
        settings: gives the store of the hosts.
        hosts: from ``bench.insertion.prepare``.
        n: how many.
    """
    rows = [insert_case(case, settings).rows["insertions"][0] for case in cases_of(settings, hosts, n)]
    return [
        RenderCase(
            case_uid=r["case_uid"],
            source="tissue",
            mode="m",
            dataset="d",
            map_sha256=r["host_map_sha256"],
            lesions=(r["lesion"],),
            anatomy="procedural",
            attenuation="solid",
            acquisition=STANDARD,
            seed=42,
        )
        for r in rows
    ]


def with_workers(settings: Settings, work: list[RenderCase], n: int) -> float:
    """Seconds for all cases with ``n`` workers; their pool is started before the clock."""
    rendering._TWINS.clear()
    for path in settings.output.glob("store/cts/**/*.nii.gz"):
        path.unlink()
    how = settings.model_copy(update={"workers": n})
    cases = [Case(case.case_uid, "h", case.map_sha256, case) for case in work]
    if n > 1:
        for future in [workers._pool(n).submit(sum, [i]) for i in range(4 * n)]:
            future.result()
    return timed(lambda: workers.run(render_case, cases, how, settings.output / f"{n}.jsonl"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, help="folder of real label maps; the first ones serve as hosts")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(data_dir=Path(folder), output_dir=Path(folder), workers=1)
        hosts = prepare(settings.output, given.real, HOSTS)
        seconds: list[float] = []
        made = []
        for case in render_cases(settings, hosts[:1], CASES):
            seconds.append(timed(lambda case=case: made.append(render_case(case, settings))))
        ct = read_volume(settings.output / made[0].rows["cts"][0]["path"])
        writes = [timed(lambda: write_volume(settings.output / "again.nii.gz", ct)) for _ in range(5)]
        write, further = statistics.median(writes), statistics.median(seconds[1:])
        peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
        sizes = [x.stat().st_size for x in settings.output.rglob("store/cts/**/*.nii.gz")]
        print(f"{'real' if given.real else 'generated'} host {ct.array.shape}, one process, {CASES} cases")
        print(
            f"first of a host {seconds[0]:.2f} s; each further case {further:.3f} s = {further / write:.2f} x "
            f"writing the CT ({write:.3f} s)"
        )
        print(
            f"{60 * len(seconds) / sum(seconds):.0f} cases a minute; peak {peak:.0f} MiB; "
            f"{np.median(sizes) / 1e6:.0f} MB a CT"
        )
        work = render_cases(settings, hosts, CASES * HOSTS)
        for n in (1, 2):
            spent = with_workers(settings, work, n)
            print(
                f"{n} workers: {len(work)} cases on {HOSTS} hosts in {spent:.1f} s = "
                f"{60 * len(work) / spent:.0f} a minute"
            )


if __name__ == "__main__":
    main()
