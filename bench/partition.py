"""What a case of a large partition costs, insertion to answers, over a case of a small one; and the greatest memory.

Small procedural hosts, few of them, many cases: so what grows is the platform's own work (lists, journals, tables,
checks, the ledger), which a long cohort must not make slower a case. Masks and CTs are kept as deltas, and the mock
reader answers without delay. Each size runs in a process of its own, with one worker in that process, so that its
processor seconds and its greatest memory are those of everything. Seconds a case that every further case costs, of
the two sizes, give the forecast for the paper's cohort.

Memory is the greatest of each stage by itself (resident, with mapped files and the program; Linux). It is flat if a
further case adds at most ``FLAT_KIB``; the tables of a partition, unpacked, are said beside it.

    python -m bench.partition [--cases 200 5000] [--profile 2000]
"""

import argparse
import cProfile
import json
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

from bench.ledger import peak_mib
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.demo.root import make_root
from itrialspace_assets.drive import Driver, RunChoice
from itrialspace_assets.profiles.registry import datasets

MODE, DATASET = "x_many", "DLCS24"
#: Arms of forty cases, one nodule each, at drawn places and turned, so that no two images are alike; hosts of one
#: dataset, so that one pair holds all cases.
TRIAL = """
mode: {mode}
trial: many
question: What does a case of a long cohort cost?
planner: sampled
cohort:
  hosts: {{datasets: [{dataset}], max_uses: null}}
  donors: {{max_uses: null}}
  placement: {{mode: randomised, rotation: any}}
  n_cases: {each}
arms_from: {{what: replicates, published: "many_{{number}}"}}
sizes: {{demo: {{n_bootstrap: {arms}}}, paper: {{n_bootstrap: {arms}}}}}
"""
EACH = 40
READERS = "readers: {blob: {enabled: false}, mock: {enabled: true, options: {delay_ms: 0.0}}}"
STAGES = ("profiles", "hosts", "index", "plan", "insert", "synthesise", "slice", "read")
#: Hosts, and their voxels (mm): the coarsest at which a lung holds the nodules; ours.
HOSTS, SPACING = 4, (2.8, 2.8, 3.603)
#: Cases of the published cohorts.
PAPER = 44_174
LIMIT = 1.2
#: KiB that a further case may add to the greatest memory of a stage (ours). What must grow: of a table that is written,
#: a row group of 16,384 rows is in memory, 21 KiB a case up to 455 cases here (generations, 36 requests of a case);
#: names and hashes of a case's files, 12 pictures, 5 KiB; keys of its requests, 4 KiB.
FLAT_KIB = 24.0


def settings_of(folder: Path, root: Path, cases: int) -> Settings:
    """Settings of a study of so many cases, with an output folder of its own."""
    trials = folder / "trials"
    trials.mkdir(parents=True)
    (trials / f"{MODE}.yaml").write_text(TRIAL.format(mode=MODE, dataset=DATASET, each=EACH, arms=cases // EACH))
    (folder / "readers.yaml").write_text(READERS)
    return load_settings(
        data_dir=root,
        output_dir=folder / "out",
        trials_dir=trials,
        readers_config=folder / "readers.yaml",
        masks="delta",
        cts="delta",
        workers=1,
    )


def stages_of(settings: Settings) -> list[tuple[str, Callable[[], None]]]:
    """The stages to measure, planned and ready; each call makes the whole partition."""
    pair, by_mode = {"mode": MODE, "dataset": DATASET}, {"mode": MODE}
    names = tuple(datasets(settings))
    driver = Driver(settings, RunChoice((MODE,), names, STAGES))
    driver.group("profiles", driver.of("profiles", "hosts"), [{"dataset": name} for name in names])
    driver.group("index", driver.of("index"), [{}])
    driver.group("plan", driver.of("plan"), [by_mode])

    def stage(name: str) -> None:
        driver.group(name, driver.of(name, real=False), [pair])
        if driver.log.failures:
            raise SystemExit("\n".join(driver.log.failures))

    return [(name, lambda name=name: stage(name)) for name in STAGES[4:]]  # type: ignore[misc]


def reset_peak() -> None:
    """Begin to look for the greatest memory of this process again."""
    Path("/proc/self/clear_refs").write_text("5")  # proc_pid_clear_refs(5): the peak resident set size


def peak_kib() -> int:
    """Greatest memory of this process since ``reset_peak``: resident, so with the pages of mapped files."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def table_kib(output: Path) -> float:
    """Unpacked size of the largest table of the partition."""
    files = output.glob("tables/*/**/DLCS24/part.parquet")
    return max(pl.read_parquet(path.read_bytes()).estimated_size() for path in files if MODE in path.parts) / 1024


def measure(folder: Path, root: Path, cases: int, profile: bool) -> None:
    """Run one size in this process; prints processor seconds of each stage and memory as a line of JSON."""
    stages = stages_of(settings_of(folder, root, cases))
    found: dict[str, float] = {"before_mib": peak_mib()}  # of planning
    for name, call in stages:
        profiler = cProfile.Profile(time.process_time)
        began = time.process_time()
        reset_peak()
        if profile:
            profiler.runcall(call)
        else:
            call()
        found[name] = time.process_time() - began
        found[f"{name}_kib"] = peak_kib()
        if profile:
            pstats.Stats(profiler, stream=sys.stderr).sort_stats("cumulative").print_stats(70)
    print(json.dumps(found | {"table_kib": table_kib(folder / "out")}))


def measured(root: Path, folder: Path, cases: int, profile: bool = False) -> dict[str, float]:
    """What ``measure`` found in a process of its own."""
    arguments = ["--one", str(cases), "--root", str(root), "--out", str(folder), *(["--profiled"] if profile else [])]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "bench.partition", *arguments], check=True, stdout=subprocess.PIPE
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, nargs=2, default=(200, 5000), help=f"multiples of {EACH}")
    parser.add_argument("--profile", type=int, help="print where the time of so many cases goes, and nothing else")
    parser.add_argument("--root", type=Path, help="a procedural root that is there already")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--profiled", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        measure(given.out, given.root, given.one, given.profiled)
        return
    with tempfile.TemporaryDirectory() as name:
        folder, root = Path(name), given.root or Path(name) / "data"
        make_root(root, hosts=HOSTS, spacing=SPACING, workers=1)
        if given.profile:
            measured(root, folder / "profile", given.profile, profile=True)
            return
        runs = {n: measured(root, folder / str(n), n) for n in given.cases}
    (small, first), (large, second) = runs.items()
    print(f"processor seconds a case, mask and CT as deltas, mock reader, {HOSTS} hosts, one process")
    total = {n: sum(run[s] for s in STAGES[4:]) for n, run in runs.items()}
    for stage in STAGES[4:]:
        a, b = first[stage] / small, second[stage] / large
        print(f"  {stage:<12} {small} cases: {a * 1e3:7.2f} ms, {large}: {b * 1e3:7.2f} ms, ratio {b / a:.2f}")
    a, b = total[small] / small, total[large] / large
    print(f"  together     {small} cases: {a * 1e3:7.2f} ms, {large}: {b * 1e3:7.2f} ms, ratio {b / a:.2f}")
    print("greatest memory of a stage, and what a further case adds")
    grown = {}
    for stage in STAGES[4:]:
        low, high = first[f"{stage}_kib"], second[f"{stage}_kib"]
        grown[stage] = (high - low) / (large - small)
        print(
            f"  {stage:<12} {small} cases: {low / 1024:5.0f} MiB, {large}: {high / 1024:5.0f} MiB, "
            f"{grown[stage]:6.1f} KiB a case"
        )
    each = (second["table_kib"] - first["table_kib"]) / (large - small)
    most = max(grown, key=lambda stage: grown[stage])
    flat = grown[most] <= FLAT_KIB
    print(
        f"  largest table, unpacked: {each:.1f} KiB a case; planning: {second['before_mib']:.0f} MiB at {large} cases"
    )
    print(f"flat: {most} grows by {grown[most]:.1f} KiB a case, limit {FLAT_KIB:.0f}: {'kept' if flat else 'NOT KEPT'}")
    there = (second[f"{most}_kib"] + grown[most] * (PAPER - large)) / 1024
    print(f"forecast of the greatest memory for {PAPER} cases in one pair: {there:.0f} MiB")
    further = (total[large] - total[small]) / (large - small)
    hours = (total[large] + further * (PAPER - large)) / 3600
    print(f"a further case costs {further * 1e3:.1f} ms; forecast for {PAPER} cases: {hours:.2f} processor hours")
    print(f"limit: {LIMIT} a case: {'kept' if b <= LIMIT * a else 'NOT KEPT'}")
    if not flat or b > LIMIT * a:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
