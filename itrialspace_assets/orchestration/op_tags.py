"""What a shard needs of a cluster: the one place where GPU and memory are asked for."""

from typing import Any

from itrialspace_assets.casework.steps import Step
from itrialspace_assets.resources import slurm_jobs

#: A NodMAISI case peaks at about 20 GB on the GPU (docs/facts/synthesis.md#memory-and-time); a shard runs one case at a
#: time.
GPU_REQUEST = {"limits": {"nvidia.com/gpu": "1", "memory": "64Gi"}, "requests": {"cpu": "8", "memory": "32Gi"}}
#: The same for SLURM, as options of sbatch; which partition has GPUs is a setting.
SLURM_GPU_REQUEST = "--gres=gpu:1 --cpus-per-task=8 --mem=64G"


def shard_tags(step: Step) -> dict[str, Any]:
    """Tags of a shard's step; the executors for Kubernetes and SLURM read its resources from them."""
    tags: dict[str, Any] = {"itrialspace/stage": step.stage, "itrialspace/location": step.location}
    if step.location == "gpu":
        tags["dagster-k8s/config"] = {"container_config": {"resources": GPU_REQUEST}}
        tags[slurm_jobs.TAG] = SLURM_GPU_REQUEST
    return tags
