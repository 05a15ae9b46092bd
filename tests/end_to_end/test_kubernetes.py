"""The graph on Kubernetes' executor, with a stand-in for the cluster: same bytes, and what an eviction costs."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..deploy.test_kubernetes import instance_config
from ..support import warm
from ..support.kubernetes_api import Cluster, Fate, served
from .conftest import apart
from .test_slurm import PAIR, copy_of, hashes, roots

pytestmark = pytest.mark.slow


def materialize(data: Path, out: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """What a run's pod does."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("ITRIALSPACE_")}
    env |= roots(data, out) | {"DAGSTER_HOME": str(out / "dagster")} | more
    command = ["-W", "ignore", "-m", "dagster", "asset", "materialize"]
    asked = ["--select", 'key:"tissue/synthetic_cts"', "--partition", PAIR]
    return warm.run([*command, *asked, "-m", "itrialspace_assets.locations.all"], env)


def test_a_pair_has_the_bytes_of_one_process_though_a_pod_is_evicted(
    data_root: Path, planned_once: Path, tmp_path: Path
) -> None:
    out = tmp_path / "inserted"
    shutil.copytree(planned_once, out)
    asked = ("--modes", "x_small", "--datasets", PAIR.split("|")[0], "--to", "insert")
    done = apart("run", *asked, **roots(data_root, out))
    assert done.returncode == 0, done.stdout + done.stderr
    alone, in_pods = copy_of(out, "alone"), copy_of(out, "jobs")
    done = materialize(data_root, alone)
    assert done.returncode == 0, done.stdout + done.stderr

    begun: list[str] = []

    def fate(body: dict[str, Any], before: int) -> Fate:
        (container,) = body["spec"]["template"]["spec"]["containers"]
        (step,) = [e["value"] for e in container["env"] if e["name"] == "DAGSTER_RUN_STEP_KEY"]
        begun.append(step)
        return "is evicted" if "shard" in step and begun.count(step) == 1 else "runs"

    settings = roots(data_root, in_pods) | {"ITRIALSPACE_EXECUTOR": "k8s", "ITRIALSPACE_SHARDS": "2"}
    cluster = Cluster(tmp_path, {"itrialspace-settings": settings}, fate)
    with served(cluster) as kubeconfig:
        launcher = instance_config()["run_launcher"]
        launcher["config"] |= {"load_incluster_config": False, "kubeconfig_file": str(kubeconfig)}
        launcher["config"] |= {"job_image": "itrialspace-cpu", "dagster_home": str(in_pods / "dagster")}
        (in_pods / "dagster").mkdir(exist_ok=True)
        config = {"run_launcher": launcher, "telemetry": {"enabled": False}}
        (in_pods / "dagster/dagster.yaml").write_text(yaml.safe_dump(config))
        done = materialize(data_root, in_pods, ITRIALSPACE_EXECUTOR="k8s", ITRIALSPACE_SHARDS="2")
    logs = "\n".join(p.read_text()[-800:] for p in tmp_path.glob("*.log"))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:] + logs
    assert hashes(in_pods) == hashes(alone)
    assert "Discovered failed Kubernetes job" in done.stdout + done.stderr
    shards = [step for step in begun if "shard" in step]
    assert len(shards) == 2 * len(set(shards)) > 0
    assert len(cluster.bodies) == len(begun) > len(shards)
