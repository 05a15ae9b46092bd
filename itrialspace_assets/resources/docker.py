"""The executor that runs each step in a container of its own. The containers' image is made elsewhere (deploy/docker).

Dagster's own executor, with three things added: a step's tags say what it asks for (``orchestration.op_tags``), a
container gets the settings and folders of this process, and it can do no more than it must.
"""

import json
import os
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.step_delegating import StepDelegatingExecutor, StepHandlerContext
from dagster_docker.container_context import DockerContainerContext
from dagster_docker.docker_executor import DockerStepHandler

from itrialspace_assets.base.settings import Settings, environment

#: Steps of a run at once (ours): each uses all the workers that the settings allow.
MAX_CONTAINERS = 1
#: Seconds between two questions about each running step (ours).
HEALTH_S = 10
#: Variables of this process that a step gets beside the settings, where they are set.
PASSED_ON = ("DAGSTER_HOME", "CUDA_VISIBLE_DEVICES")
#: What a container may not do: change its own files, gain rights.
CONFINED: dict[str, Any] = {
    "read_only": True,
    "tmpfs": {"/tmp": "mode=1777"},
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "group_add": [],  # a run's container may be in the group of Docker's socket; its steps are not
    "labels": {"itrialspace": "step"},
}


class DockerSteps(DockerStepHandler):
    """Launches, watches and ends the container of a step.

    Args:
        image: of steps whose code location names none.
        container_context: what every container gets.
        tag: of a step with what it asks for: further arguments of ``containers.create``, as JSON.
    """

    def __init__(self, image: str | None, container_context: DockerContainerContext, tag: str) -> None:
        super().__init__(image, container_context)
        self._tag = tag

    def _create_step_container(
        self,
        client: Any,
        container_context: DockerContainerContext,
        step_image: str,
        step_handler_context: StepHandlerContext,
    ) -> Any:
        tags = step_handler_context.step_tags[self._get_step_key(step_handler_context)]
        asked = {**container_context.container_kwargs, **json.loads(tags.get(self._tag, "{}"))}
        if not container_context.networks:
            asked["network_mode"] = "none"
        context = container_context._replace(container_kwargs=asked)
        return super()._create_step_container(client, context, step_image, step_handler_context)


def volumes(settings: Settings, home: str | None) -> list[str]:
    """Folders of a step: the outputs, and what it reads, read-only.

    Args:
        settings: of the code location.
        home: Dagster's home.
    """
    if settings.docker_volume_list:
        return list(settings.docker_volume_list)
    output, data = settings.output, settings.data
    named = [getattr(settings, name) for name in Settings.model_fields]
    read = [path.expanduser().absolute() for path in named if isinstance(path, Path)]
    within = [output, data]
    further = sorted({p for p in read if not any(p.is_relative_to(w) for w in within)})
    written = [output] if home is None or Path(home).is_relative_to(output) else [output, Path(home)]
    return [
        *(f"{path}:{path}" for path in written),
        *(f"{path}:{path}:ro" for path in ([] if data == output else [data]) + further),
    ]


def docker_of(settings: Settings, tag: str) -> dg.ExecutorDefinition:
    """The executor as the settings say. A run may choose how many of its steps run at once.

    Args:
        settings: of the code location.
        tag: of a step with what it asks for.
    """
    variables = [f"{name}={value}" for name, value in environment(settings).items() if value is not None]
    context = DockerContainerContext(
        env_vars=[*variables, *(name for name in PASSED_ON if os.environ.get(name)), *settings.docker_env_list],
        networks=[settings.docker_network] if settings.docker_network else [],
        container_kwargs={
            **CONFINED,
            "volumes": volumes(settings, os.environ.get("DAGSTER_HOME")),
            "user": f"{os.getuid()}:{os.getgid()}",
        },
    )

    @dg.executor(
        name="docker",
        config_schema={
            "max_concurrent": dg.Field(int, default_value=MAX_CONTAINERS, description="Steps of a run at once.")
        },
        requirements=dg.multiple_process_executor_requirements(),
    )
    def docker(init_context: dg.InitExecutorContext) -> StepDelegatingExecutor:
        """Runs each step in a container of its own."""
        config: Any = init_context.executor_config
        return StepDelegatingExecutor(
            DockerSteps(settings.docker_image, context, tag),
            retries=RetryMode.ENABLED,
            max_concurrent=config["max_concurrent"],
            check_step_health_interval_seconds=HEALTH_S,
            should_verify_step=True,
        )

    return docker
