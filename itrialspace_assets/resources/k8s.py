"""The executor that runs each step as a Kubernetes job: Dagster's own, with what every step asks for.

Where steps run (namespace, image, volumes, configuration, secrets) is said by the instance's run launcher and the code
location, not here (``deploy/k8s``).
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster_k8s import k8s_job_executor

#: Most jobs of one run at once, so that a run does not fill a queue (ours).
MAX_JOBS = 100


def k8s_of(every_step: Mapping[str, Any]) -> dg.ExecutorDefinition:
    """The executor.

    Args:
        every_step: what each step asks for, as dagster-k8s reads it; a step's tags are laid over it.
    """
    return k8s_job_executor.configured({"step_k8s_config": dict(every_step), "max_concurrent": MAX_JOBS}, name="k8s")
