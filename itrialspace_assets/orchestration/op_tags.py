"""What a step needs of a cluster: the one place where GPU, memory and time are asked for. Starts no step itself."""

import json
from typing import Any

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import Step
from itrialspace_assets.resources import slurm_jobs

#: Tag of a step with what it asks of Docker: arguments of docker-py's ``containers.create``, as JSON.
DOCKER = "itrialspace/docker"
#: Tag of a step with what it asks of Kubernetes, as dagster-k8s reads it.
K8S = "dagster-k8s/config"
#: A NodMAISI case peaks at about 20 GB on the GPU (docs/facts/synthesis.md#memory-and-time); a shard runs one case at a
#: time.
GPU_REQUEST = {"limits": {"nvidia.com/gpu": "1", "memory": "64Gi"}, "requests": {"cpu": "8", "memory": "32Gi"}}
#: A step on the CPU may use what the original asks of SLURM to insert a manifest, 32 GB. It is placed where 4 cores are
#: free (ours, with ITRIALSPACE_WORKERS=4 in deploy/k8s).
CPU_REQUEST = {"limits": {"memory": "32Gi"}, "requests": {"cpu": "4", "memory": "8Gi"}}
#: The same for SLURM, as options of sbatch; which partition has GPUs is a setting.
SLURM_GPU_REQUEST = "--gres=gpu:1 --cpus-per-task=8 --mem=64G"
#: Shared memory of a GPU shard: what the original gives its containers (``ITS_SHM``).
SHM_GIB = 16
#: The machine's GPUs, which a shard's workers share out (``synthesis.devices``). Docker keeps no count of them: the
#: limit of a pool does (deploy/docker/dagster.yaml).
DOCKER_GPU_REQUEST = {
    "device_requests": [{"driver": "nvidia", "count": -1, "capabilities": [["gpu"]]}],
    "shm_size": f"{SHM_GIB}g",
    "mem_limit": "64g",
}
#: NVIDIA's device plugin keeps other pods off its nodes with this taint.
GPU_TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
#: Seconds after which Kubernetes ends a step: two days, the longest that the original asks of SLURM.
DEADLINE_S = 172_800
#: Every step on Kubernetes. A pod that fails or is evicted fails its job at once, and no pod is started in its place:
#: Dagster starts a step again, in a job of its own, and a second pod of a job would find that its step has begun and
#: do nothing. A step needs no access to the cluster.
K8S_STEP: dict[str, Any] = {
    "container_config": {"resources": CPU_REQUEST},
    "pod_spec_config": {"automount_service_account_token": False},
    "job_spec_config": {
        "backoff_limit": 0,
        "active_deadline_seconds": DEADLINE_S,
        "pod_failure_policy": {
            "rules": [
                {"action": "FailJob", "on_pod_conditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {"action": "FailJob", "on_exit_codes": {"operator": "NotIn", "values": [0]}},
            ]
        },
    },
}


def shard_tags(step: Step, settings: Settings) -> dict[str, Any]:
    """Tags of a shard's step; the executors for Docker, Kubernetes and SLURM read its resources from them.

    Raises:
        ConfigError: the labels of GPU nodes cannot be read.
    """
    tags: dict[str, Any] = {"itrialspace/stage": step.stage, "itrialspace/location": step.location}
    if step.location != "gpu":
        return tags
    shm = {"name": "shm", "empty_dir": {"medium": "Memory", "size_limit": f"{SHM_GIB}Gi"}}
    pod: dict[str, Any] = {"tolerations": [GPU_TOLERATION], "volumes": [shm]}
    if labels := settings.k8s_gpu_labels:
        pod["node_selector"] = labels
    container = {"resources": GPU_REQUEST, "volume_mounts": [{"name": "shm", "mount_path": "/dev/shm"}]}
    tags[K8S] = {"container_config": container, "pod_spec_config": pod}
    tags[DOCKER] = json.dumps(DOCKER_GPU_REQUEST)
    tags[slurm_jobs.TAG] = SLURM_GPU_REQUEST
    return tags
