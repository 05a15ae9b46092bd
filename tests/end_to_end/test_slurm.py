"""The graph on a real SLURM cluster of one node: same bytes, and what happens when a job is cancelled from outside."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support import slurm
from .conftest import TRIAL, its

pytestmark = [pytest.mark.slow, pytest.mark.slurm, pytest.mark.skipif(bool(slurm.missing()), reason=slurm.missing())]
PAIR = "LUNA25|x_small"
ASSETS = ("inserted_masks", "tissue/synthetic_cts")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="its") as folder, slurm.cluster(Path(folder)) as conf:
        yield conf


@pytest.fixture(scope="module")
def planned(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs with a small trial planned."""
    out = tmp_path_factory.mktemp("slurm") / "planned"
    (out / "trials").mkdir(parents=True)
    (out / "trials/x_small.yaml").write_text(TRIAL)
    done = its("run", "--modes", "x_small", "--to", "plan", **roots(data_root, out))
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


def materialize(data: Path, out: Path, cluster: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """What a user runs on a login node."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("ITRIALSPACE_", "SLURM"))}
    env |= roots(data, out) | {"DAGSTER_HOME": str(out / "dagster"), "SLURM_CONF": str(cluster)}
    env |= {"ITRIALSPACE_EXECUTOR": "slurm", "ITRIALSPACE_SHARDS": "2"} | more
    command = [sys.executable, "-W", "ignore", "-m", "dagster", "asset", "materialize"]
    asked = ["--select", ",".join(f'key:"{a}"' for a in ASSETS).replace(",", " or "), "--partition", PAIR]
    return subprocess.run(
        [*command, *asked, "-m", "itrialspace_assets.locations.all"],
        check=False,
        capture_output=True,
        text=True,
        env=env,
        timeout=300,
    )


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
    out = copy_of(planned, "jobs")
    done = materialize(data_root, out, cluster)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert hashes(out) == undisturbed
    jobs = {p.stem for p in (out / "work/slurm").rglob("*.job")}
    steps = [f"tissue__synthetic_cts_tissue__synthetic_cts__{part}-0" for part in ("plan", "shard_s0", "collect")]
    assert jobs >= {"inserted_masks-0", *steps}, "a job each"


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
    assert cancelled
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "ended as CANCELLED" in done.stdout + done.stderr
    assert hashes(out) == undisturbed


def test_a_partition_that_the_cluster_does_not_have_fails_at_once(
    data_root: Path, planned: Path, cluster: Path
) -> None:
    out = copy_of(planned, "refused")
    done = materialize(data_root, out, cluster, ITRIALSPACE_SLURM_PARTITION="nope")
    assert done.returncode != 0
    assert "invalid partition specified: nope" in done.stdout + done.stderr
