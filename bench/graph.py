"""What the graph costs where nothing is to be done: a pair without a case from insertion to answers, in one process.

Its baseline of the same run is what Dagster itself takes for a run of as many steps and checks that do nothing, with
its own storage. Beside it: how long the code location takes to load with the thirteen modes and fifty trials of a
user, over `import dagster` alone. Seconds are those of the processor, so that other work on the machine counts little.

    python -m bench.graph [--pairs 20] [--trials 50]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.demo.root import make_root
from itrialspace_assets.drive import Driver, RunChoice
from itrialspace_assets.orchestration.nodes import STAGES

MODE = "x_narrow"
#: A trial whose hosts are of one dataset: its pairs with the other six hold no case.
TRIAL = """
mode: {mode}
trial: {name}
question: What does a pair without a case cost?
planner: sampled
cohort:
  hosts: {{datasets: [DLCS24], max_uses: null}}
  donors: {{max_uses: null}}
arms: [{{name: all, published: {name}, varies: none, level: none}}]
sizes: {{demo: {{n_cases: 1}}, paper: {{n_cases: 2}}}}
"""
#: What a pair without a case is for Dagster: six steps of assets, and four that evaluate four checks each.
_STEPS, _CHECKED, _CHECKS_EACH = 6, 4, 4
_LOAD = "import itrialspace_assets.locations.all"


def write_trials(folder: Path, count: int) -> None:
    """``count`` trials of a user; the first is ``MODE``."""
    folder.mkdir()
    for name in ("narrow", *(f"t{i:02d}" for i in range(1, count))):
        (folder / f"x_{name}.yaml").write_text(TRIAL.format(mode=f"x_{name}", name=name))


def median_of(calls: Iterator[Callable[[], Any]]) -> float:
    """Median processor seconds of some calls."""
    seconds = []
    for call in calls:
        began = time.process_time()
        call()
        seconds.append(time.process_time() - began)
    return statistics.median(seconds)


def pairs_without_cases(settings: Settings, repeats: int) -> float:
    """Seconds of a pair without a case, brought up to date again and again."""
    choice = RunChoice((MODE,), ("LUNA16",), STAGES[: STAGES.index("read") + 1])
    driver = Driver(settings, choice)
    members = driver.of("insert", "synthesise", "slice", "read", real=False)
    part = {"mode": MODE, "dataset": "LUNA16"}
    keys = tuple(node.step.key for node in members)
    driver.runner.run(keys, part, driver.log)  # makes the job, which the following share
    seconds = median_of(iter([lambda: driver.runner.run(keys, part, driver.log)] * repeats))
    driver.close()
    if driver.log.failures:
        raise SystemExit("\n".join(driver.log.failures))
    return seconds


def dagster_alone(home: Path, repeats: int) -> float:
    """Seconds of a run of assets and checks that do nothing, as Dagster starts and stores it."""
    one = dg.StaticPartitionsDefinition(["a"])
    made: list[Any] = []
    for i in range(_STEPS):
        name = f"a{i}"
        made.append(dg.asset(name=name, partitions_def=one, deps=[f"a{i - 1}"] if i else [])(lambda: None))

    def check(name: str) -> Any:
        specs = [dg.AssetCheckSpec(f"c{j}", asset=name, partitions_def=one) for j in range(_CHECKS_EACH)]

        @dg.multi_asset_check(specs=specs, name=f"{name}_checks")
        def checks() -> Iterator[dg.AssetCheckResult]:
            for spec in specs:
                yield dg.AssetCheckResult(passed=True, check_name=spec.name, asset_key=name)

        return checks

    checks = [check(f"a{i}") for i in range(_CHECKED)]
    job = dg.Definitions(made, asset_checks=checks).resolve_implicit_global_asset_job_def()
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}")
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.from_config(str(home)) as instance:

        def run() -> None:
            job.execute_in_process(instance=instance, partition_key="a", run_config=quiet)

        run()
        return median_of(iter([run] * repeats))


def loads(command: str, environment: dict[str, str], repeats: int = 3) -> float:
    """Median processor seconds of a process that imports something."""
    seconds = []
    for _ in range(repeats):
        before = os.times()
        subprocess.run([sys.executable, "-W", "ignore", "-c", command], check=True, env=os.environ | environment)
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--trials", type=int, default=50)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, trials = Path(folder) / "data", Path(folder) / "trials"
        make_root(root, hosts=2, spacing=(2.8, 2.8, 3.603), workers=1)
        write_trials(trials, asked.trials)
        settings = load_settings(data_dir=root, output_dir=Path(folder) / "out", trials_dir=trials, workers=1)
        ready = Driver(settings, RunChoice((MODE,), ("DLCS24", "LUNA16"), ("profiles", "hosts", "index", "plan")))
        ready.group("profiles", ready.of("profiles", "hosts"), [{"dataset": d} for d in ("DLCS24", "LUNA16")])
        ready.group("index", ready.of("index"), [{}])
        ready.group("plan", ready.of("plan"), [{"mode": MODE}])
        ready.instance.dispose()
        if ready.log.failures:
            raise SystemExit("\n".join(ready.log.failures))
        ours, theirs = pairs_without_cases(settings, asked.pairs), dagster_alone(Path(folder) / "home", asked.pairs)
        places = {
            "ITRIALSPACE_DATA_DIR": str(root),
            "ITRIALSPACE_OUTPUT_DIR": str(settings.output),
            "ITRIALSPACE_TRIALS_DIR": str(trials),
        }
        location, alone = loads(_LOAD, places), loads("import dagster", places)
    print(f"a pair without a case, insertion to answers: {ours:.2f} s of processor time, median of {asked.pairs}")
    print(f"  Dagster alone, as many steps that do nothing, own storage: {theirs:.2f} s, ratio {ours / theirs:.2f}")
    print(f"load the code location with 13 modes and {asked.trials} trials: {location:.2f} s of processor time")
    print(f"  import dagster alone: {alone:.2f} s, ratio {location / alone:.2f}")


if __name__ == "__main__":
    main()
