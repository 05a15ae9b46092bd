"""The graph on Kubernetes' executor, with a stand-in for the cluster: same bytes, and what an eviction costs."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..deploy.test_kubernetes import instance_config
from ..support.kubernetes_api import Cluster, Fate, served
from .conftest import TRIAL, its
from .test_slurm import PAIR, copy_of, hashes, roots

pytestmark = pytest.mark.slow


def materialize(data: Path, out: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """What a run's pod does."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("ITRIALSPACE_")}
    env |= roots(data, out) | {"DAGSTER_HOME": str(out / "dagster")} | more
    command = [sys.executable, "-W", "ignore", "-m", "dagster", "asset", "materialize"]
    return subprocess.run(
        [
            *command,
            "--select",
            'key:"tissue/synthetic_cts"',
            "--partition",
            PAIR,
            "-m",
            "itrialspace_assets.locations.all",
        ],
        check=False,
        capture_output=True,
        text=True,
        env=env,
        timeout=600,
    )


def test_a_pair_has_the_bytes_of_one_process_though_a_pod_is_evicted(data_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "inserted"
    (out / "trials").mkdir(parents=True)
    (out / "trials/x_small.yaml").write_text(TRIAL)
    done = its("run", "--modes", "x_small", "--to", "insert", **roots(data_root, out))
    assert done.returncode == 0, done.stdout + done.stderr
    alone, apart = copy_of(out, "alone"), copy_of(out, "jobs")
    done = materialize(data_root, alone)
    assert done.returncode == 0, done.stdout + done.stderr

    begun: list[str] = []

    def fate(body: dict[str, Any], before: int) -> Fate:
        (container,) = body["spec"]["template"]["spec"]["containers"]
        (step,) = [e["value"] for e in container["env"] if e["name"] == "DAGSTER_RUN_STEP_KEY"]
        begun.append(step)
        return "is evicted" if "shard" in step and begun.count(step) == 1 else "runs"

    settings = roots(data_root, apart) | {"ITRIALSPACE_EXECUTOR": "k8s", "ITRIALSPACE_SHARDS": "2"}
    cluster = Cluster(tmp_path, {"itrialspace-settings": settings}, fate)
    with served(cluster) as kubeconfig:
        launcher = instance_config()["run_launcher"]
        launcher["config"] |= {"load_incluster_config": False, "kubeconfig_file": str(kubeconfig)}
        launcher["config"] |= {"job_image": "itrialspace-cpu", "dagster_home": str(apart / "dagster")}
        (apart / "dagster").mkdir(exist_ok=True)
        config = {"run_launcher": launcher, "telemetry": {"enabled": False}}
        (apart / "dagster/dagster.yaml").write_text(yaml.safe_dump(config))
        done = materialize(data_root, apart, ITRIALSPACE_EXECUTOR="k8s", ITRIALSPACE_SHARDS="2")
    logs = "\n".join(p.read_text()[-800:] for p in tmp_path.glob("*.log"))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:] + logs
    assert hashes(apart) == hashes(alone)
    assert "Discovered failed Kubernetes job" in done.stdout + done.stderr
    shards = [step for step in begun if "shard" in step]
    assert len(shards) == 2 * len(set(shards)) > 0
    assert len(cluster.bodies) == len(begun) > len(shards)
