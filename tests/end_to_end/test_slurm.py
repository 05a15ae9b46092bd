"""The graph on a real SLURM cluster of one node: same bytes, and what happens when a job is cancelled from outside."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._grpc.types import ResumeRunArgs

from ..support import slurm
from .conftest import TRIAL as SMALL
from .conftest import its

pytestmark = [pytest.mark.slow, pytest.mark.slurm, pytest.mark.skipif(bool(slurm.missing()), reason=slurm.missing())]
OPERATIONS = Path(__file__).parents[2] / "docs/operations.md"
PAIR = "LUNA25|x_small"
#: Of these cases three are of LUNA25, on two hosts: two shards.
TRIAL = SMALL.replace("demo: {n_cases: 4}", "demo: {n_cases: 6}")
ASSETS = ("inserted_masks", "tissue/synthetic_cts")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="its") as folder, slurm.cluster(Path(folder)) as conf:
        yield conf


@pytest.fixture(scope="module")
def planned(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs with a small trial planned; their instance lets shards run beside each other."""
    out = tmp_path_factory.mktemp("slurm") / "planned"
    (out / "trials").mkdir(parents=True)
    (out / "trials/x_small.yaml").write_text(TRIAL)
    done = its("run", "--modes", "x_small", "--to", "plan", **roots(data_root, out), ITRIALSPACE_EXECUTOR="slurm")
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def roots(data: Path, out: Path) -> dict[str, str]:
    return {
        "ITRIALSPACE_DATA_DIR": str(data),
        "ITRIALSPACE_OUTPUT_DIR": str(out),
        "ITRIALSPACE_TRIALS_DIR": str(out / "trials"),
        "ITRIALSPACE_WORKERS": "1",
    }


def copy_of(planned: Path, name: str) -> Path:
    out = planned.with_name(name)
    shutil.copytree(planned, out)
    return out


def command(data: Path, out: Path, cluster: Path, **more: str) -> dict[str, Any]:
    """What a user runs on a login node, as arguments of ``subprocess``."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("ITRIALSPACE_", "SLURM"))}
    env |= roots(data, out) | {"DAGSTER_HOME": str(out / "dagster"), "SLURM_CONF": str(cluster)}
    env |= {"ITRIALSPACE_EXECUTOR": "slurm", "ITRIALSPACE_SHARDS": "2"} | more
    materialize = [sys.executable, "-W", "ignore", "-m", "dagster", "asset", "materialize"]
    asked = ["--select", ",".join(f'key:"{a}"' for a in ASSETS).replace(",", " or "), "--partition", PAIR]
    return {"args": [*materialize, *asked, "-m", "itrialspace_assets.locations.all"], "env": env}


def materialize(data: Path, out: Path, cluster: Path, **more: str) -> subprocess.CompletedProcess[str]:
    asked = command(data, out, cluster, **more)
    return subprocess.run(**asked, check=False, capture_output=True, text=True, timeout=600)


def shards_in(cluster: Path) -> list[str]:
    """Jobs of shards that the cluster knows, ended or not: ``<array or job> <job>_<task> <name>``."""
    command = ["squeue", "--noheader", "--array", "--states=all", "--format=%F %i %j"]
    environment = {**os.environ, "SLURM_CONF": str(cluster)}
    queue = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return [line for line in queue.splitlines() if "shard" in line]


def hashes(out: Path) -> dict[str, str]:
    """Hash of every table and volume."""
    return {
        str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest()
        for top in ("tables", "store")
        for p in sorted((out / top).rglob("*"))
        if p.is_file()
    }


@pytest.fixture(scope="module")
def undisturbed(data_root: Path, planned: Path, cluster: Path) -> dict[str, str]:
    """Outputs of the same pair in one process."""
    out = copy_of(planned, "alone")
    done = materialize(data_root, out, cluster, ITRIALSPACE_EXECUTOR="in_process", ITRIALSPACE_SHARDS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    return hashes(out)


def test_a_pair_on_slurm_has_the_bytes_of_one_process(
    data_root: Path, planned: Path, cluster: Path, undisturbed: dict[str, str]
) -> None:
    out, before = copy_of(planned, "jobs"), set(shards_in(cluster))
    done = materialize(data_root, out, cluster)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert hashes(out) == undisturbed
    ids = {p.stem: p.read_text() for p in (out / "work/slurm").rglob("*.job")}
    steps = [f"tissue__synthetic_cts_tissue__synthetic_cts__{part}-0" for part in ("plan", "collect")]
    assert all(ids[step].isdigit() for step in ("inserted_masks-0", *steps)), "a job each"
    shards = sorted(number for step, number in ids.items() if "shard" in step)
    array = shards[0].partition("_")[0]
    assert shards == [f"{array}_0", f"{array}_1"], "one array"
    assert sorted(line.split()[1] for line in set(shards_in(cluster)) - before) == shards, "and no other job"
    assert f"as SLURM job {array}_1, task 1 of 2 of array {array}." in done.stdout + done.stderr


def test_a_job_that_is_cancelled_outside_is_started_again(
    data_root: Path, planned: Path, cluster: Path, undisturbed: dict[str, str]
) -> None:
    out = copy_of(planned, "cancelled")
    environment = {**os.environ, "SLURM_CONF": str(cluster)}
    cancelled: list[str] = []

    def cancel_first_shard() -> None:
        for _ in range(600):
            command = ["squeue", "--noheader", "--states=RUNNING", "--format=%i %j"]
            queue = subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout
            if shards := [line.split()[0] for line in queue.splitlines() if "shard" in line]:
                subprocess.run(["scancel", shards[0]], env=environment, check=True)
                cancelled.append(shards[0])
                return
            time.sleep(0.2)

    other = threading.Thread(target=cancel_first_shard)
    other.start()
    done = materialize(data_root, out, cluster)
    other.join()
    assert cancelled[0].endswith(("_0", "_1")), "a task of an array"
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "ended as CANCELLED" in done.stdout + done.stderr
    assert hashes(out) == undisturbed


def test_a_run_whose_process_is_killed_finds_the_tasks_of_its_array_again(
    data_root: Path,
    planned: Path,
    cluster: Path,
    undisturbed: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One of them by its name, as if the process had ended before it wrote the id."""
    out, before = copy_of(planned, "killed"), set(shards_in(cluster))
    asked = command(data_root, out, cluster)
    with (tmp_path / "out").open("wb") as log, subprocess.Popen(**asked, stdout=log, stderr=log) as run:
        for _ in range(1500):
            shards = [p for p in (out / "work/slurm").rglob("*shard*.job") if p.read_text()[:1].isdigit()]
            if len(shards) == 2 or run.poll() is not None:
                break
            time.sleep(0.2)
        run.kill()
    array = set(shards_in(cluster)) - before
    assert len(array) == 2, (tmp_path / "out").read_text()[-3000:]
    second, name = max(shards), next(iter(array)).split()[2]
    task = second.read_text().partition("_")[2]
    second.write_text(f"{name} {task}")

    monkeypatch.setenv("DAGSTER_HOME", str(out / "dagster"))
    with dg.DagsterInstance.get() as instance:
        (record,) = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        assert record.job_code_origin
        resume = ResumeRunArgs(record.job_code_origin, record.run_id, instance.get_ref(), set_exit_code_on_failure=True)
        again = {**asked, "args": [sys.executable, "-m", *resume.get_command_args()]}
        done = subprocess.run(**again, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert hashes(out) == undisturbed
    assert set(shards_in(cluster)) - before == array, "no shard was submitted again"


def test_the_array_of_pairs_in_the_documentation_runs_as_it_is_written(
    data_root: Path, planned: Path, cluster: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    out = copy_of(planned, "documented")
    (lines,) = re.findall(r"```sh\n([^`]*sbatch --array[^`]*)```", OPERATIONS.read_text())
    mine = {
        "'2 LUNA16' '2 LUNA25' '11 LUNA16'": "'x_small LUNA16' 'x_small LUNA25'",
        "--array=1-3%2 --cpus-per-task=4": "--wait --array=1-2%2 --cpus-per-task=1",
    }
    for theirs, own in mine.items():
        assert theirs in lines
        lines = lines.replace(theirs, own)
    env = command(data_root, out, cluster)["env"]
    env |= {"PATH": f"{Path(sys.executable).parent}:{env['PATH']}"}
    asked = ["sh", "-c", lines]
    done = subprocess.run(asked, check=False, capture_output=True, text=True, env=env, cwd=tmp_path, timeout=600)
    assert done.returncode == 0, [path.read_text()[-2000:] for path in tmp_path.glob("slurm-*")] + [done.stderr]
    made = hashes(out)
    assert {k: v for k, v in made.items() if k in undisturbed} == undisturbed
    assert any("LUNA16" in name for name in made.keys() - undisturbed.keys())


def test_a_partition_that_the_cluster_does_not_have_fails_at_once(
    data_root: Path, planned: Path, cluster: Path
) -> None:
    out = copy_of(planned, "refused")
    done = materialize(data_root, out, cluster, ITRIALSPACE_SLURM_PARTITION="nope")
    assert done.returncode != 0
    assert "invalid partition specified: nope" in done.stdout + done.stderr
