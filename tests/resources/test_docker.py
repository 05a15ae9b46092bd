"""What the container of a step gets: folders, settings, limits, and what its tags ask for. No engine is needed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._config import process_config

from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.casework.steps import Step
from itrialspace_assets.definitions import executor_of
from itrialspace_assets.orchestration.op_tags import DOCKER, DOCKER_GPU_REQUEST, shard_tags
from itrialspace_assets.resources.docker import volumes


def made_by(executor: dg.ExecutorDefinition, given: dict[str, Any]) -> Any:
    config = process_config(executor.config_schema.config_type, given).value
    return executor.executor_creation_fn(SimpleNamespace(executor_config=config))


def created(settings: Settings, tags: dict[str, Any], **run: Any) -> dict[str, Any]:
    """Arguments of ``containers.create`` for a step; ``run`` is what the run's own container has."""
    executor = executor_of(settings)
    handler = made_by(executor, {})._step_handler
    taken: dict[str, Any] = {}
    client = SimpleNamespace(
        containers=SimpleNamespace(create=lambda image, **kwargs: taken.update(kwargs, image=image))
    )
    context = handler._container_context
    context = type(context)(**run).merge(context)
    args = SimpleNamespace(
        step_keys_to_execute=["a"], run_id="r", known_state=None, get_command_args=lambda: ["dagster", "api"]
    )
    step = SimpleNamespace(
        execute_step_args=args, step_tags={"a": tags}, dagster_run=SimpleNamespace(job_name="j", run_id="r")
    )
    handler._create_step_container(client, context, "image", step)
    return taken


def test_a_step_gets_settings_and_folders_and_can_do_no_more_than_it_must(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MY_KEY", "k")
    settings = load_settings(
        data_dir=tmp_path / "data",
        output_dir=tmp_path / "out",
        weights_dir=tmp_path / "weights",
        trials_dir=tmp_path / "data/trials",
        executor="docker",
        docker_env="MY_KEY",
        seed=7,
    )
    socket = "/var/run/docker.sock:/var/run/docker.sock"
    got = created(settings, {}, container_kwargs={"volumes": [socket], "group_add": ["999"]})
    assert got["volumes"] == [
        *(f"{tmp_path / name}:{tmp_path / name}" for name in ("out", "home")),
        *(f"{tmp_path / name}:{tmp_path / name}:ro" for name in ("data", "weights")),
    ]
    assert got["read_only"] is True and got["cap_drop"] == ["ALL"] and got["network_mode"] == "none"
    assert got["group_add"] == [], "the group of the socket is the run's alone"
    assert got["environment"]["ITRIALSPACE_SEED"] == "7" and got["environment"]["MY_KEY"] == "k"
    assert got["environment"]["DAGSTER_HOME"] == str(tmp_path / "home")
    assert "HF_TOKEN" not in got["environment"] and "device_requests" not in got
    same = load_settings(data_dir=tmp_path, executor="docker")
    assert volumes(same, None) == [f"{tmp_path}:{tmp_path}"], "outputs in the data root must be written"


def test_only_a_shard_on_the_gpu_asks_for_one_and_the_runs_network_is_kept(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, executor="docker", docker_volumes="data:/data:ro, out:/out")
    gpu, cpu = (shard_tags(Step(("a",), "read", (), "1", location=place), settings) for place in ("gpu", "cpu"))
    got = created(settings, gpu, networks=["inner"])
    assert {k: got[k] for k in DOCKER_GPU_REQUEST} == DOCKER_GPU_REQUEST
    assert got["network"] == "inner" and "network_mode" not in got
    assert got["volumes"] == ["data:/data:ro", "out:/out"]
    assert DOCKER not in cpu and "device_requests" not in created(settings, cpu)


def test_a_run_may_choose_how_many_steps_run_at_once(tmp_path: Path) -> None:
    executor = executor_of(load_settings(data_dir=tmp_path, executor="docker"))
    assert isinstance(executor, dg.ExecutorDefinition)
    for given, expected in ({}, 1), ({"max_concurrent": 3}, 3):
        assert made_by(executor, given)._max_concurrent == expected
