"""Planning all 13 modes at paper size from 13,140 profiles, and how planning grows with the number of cases.

Baseline: the serial planner that the published system uses, reduced to its loop: for each case filter the
pool by label and by half to twice the wanted size, draw a donor and a host, build a row
(docs/facts/trials.md#published-draws).
It checks neither clearance, persons nor reuse. Ours plans, checks and writes tables, CSV, JSON and pictures.
Seconds are of processor time, all threads; the peak of memory is that of a process that only plans.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.demo.paper import write_hosts_and_donors, write_root
from itrialspace_assets.index import build as index_build
from itrialspace_assets.profiles import build as profiles_build
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.records.layout import MODES
from itrialspace_assets.records.store import read_all, read_table
from itrialspace_assets.trials import build
from itrialspace_assets.trials.compose import compose
from itrialspace_assets.trials.files import load_trial
from itrialspace_assets.trials.resolve import resolve
from itrialspace_assets.trials.sites import sites
from itrialspace_assets.trials.sources import pool_of

if TYPE_CHECKING:
    import pandas as pd


def prepare(folder: Path) -> Settings:
    settings = paper(folder)
    write_root(settings.data)
    for name in list(datasets(settings))[:7]:
        profiles_build.build(settings, {"dataset": name})
    index_build.build(settings, {})
    write_hosts_and_donors(settings)
    return settings


def baseline(nodules: "pd.DataFrame", hosts: "pd.DataFrame", n: int) -> int:
    import pandas as pd  # here: a process that only plans has none

    rng = np.random.default_rng(42)
    rows = []
    for k in range(n):
        target = rng.uniform(5, 20)
        pool = nodules[nodules["label"] == int(rng.random() < 0.05)]
        near = pool[(pool["diameter_mm"] >= target / 2) & (pool["diameter_mm"] <= target * 2)]
        pool = near if len(near) > 5 else pool
        donor, host = pool.iloc[int(rng.integers(len(pool)))], hosts.iloc[int(rng.integers(len(hosts)))]
        rows.append({"case_id": k, **donor.to_dict(), "host": host["scan_uid"]})
    return len(pd.DataFrame(rows))


def paper(folder: Path) -> Settings:
    return load_settings(data_dir=folder / "data", output_dir=folder / "out", size="paper", workers=1)


def peak(folder: Path) -> int:
    """MiB that a process needs at most to plan all modes."""
    command = [sys.executable, "-m", "bench.planning", "--peak", str(folder)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peak", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak:
        for mode in MODES:
            build.build(paper(given.peak), {"mode": mode})
        print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024)
        return
    folder = Path(tempfile.mkdtemp())
    settings = prepare(folder)
    totals, rows = [], 0
    for _ in range(3):
        started = time.process_time()
        rows = sum(build.build(settings, {"mode": mode}).tables["case_nodules"] for mode in MODES)
        totals.append(time.process_time() - started)
    print(
        f"13 modes at paper size, {rows} manifest rows, checked and written: first {totals[0]:.2f} s, median "
        f"of 3 {statistics.median(totals):.2f} s, peak memory of a process that only plans {peak(folder)} MiB"
    )
    donors, hosts = read_all(settings.output, "donors"), read_all(settings.output, "hosts")
    frame = donors.join(
        read_table(settings.output, "nodules").select("nodule_uid", "label"), on="nodule_uid"
    ).to_pandas()
    started = time.process_time()
    baseline(frame, hosts.to_pandas(), 2000)
    each = (time.process_time() - started) / 2000
    ours = statistics.median(totals) / rows
    print(
        f"serial baseline {each * 1e3:.2f} ms a row, unchecked and unwritten; ours {ours * 1e3:.3f} ms a row, "
        f"checked and written; ratio {each / ours:.0f}"
    )
    pool, _ = pool_of(settings)
    trial = load_trial(settings, MODES[0])
    for n in (12_500, 25_000, 50_000, 100_000):
        wanted = (f"cohort.n_cases={n}", "cohort.donors.max_uses=null", "cohort.hosts.max_uses=null")
        resolved = resolve(trial, "paper", wanted, list(datasets(settings)))
        started = time.process_time()
        compose(resolved, pool, sites(settings), 42, "procedural")
        print(f"cohort of {n:7d} cases: {time.process_time() - started:5.2f} s")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
