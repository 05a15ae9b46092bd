"""The executor for SLURM in Dagster's loop, with SLURM's commands played by scripts: what it submits together.

The real cluster is in ``end_to_end/test_slurm.py``.
"""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from itrialspace_assets.resources.slurm import SlurmSteps, slurm_executor
from itrialspace_assets.resources.slurm_jobs import TAG

from .test_slurm_jobs import commands, say  # noqa: F401  (a fixture)


@dg.op(out=dg.DynamicOut(dg.Nothing))
def assign() -> Any:
    for shard in range(3):
        yield dg.DynamicOutput(None, mapping_key=f"s{shard}")


def _shard(name: str, **tags: str) -> dg.OpDefinition:
    """A shard that fails; its job is started once more."""

    @dg.op(
        name=name,
        ins={"planned": dg.In(dg.Nothing)},
        out=dg.Out(dg.Nothing),
        tags=tags,
        retry_policy=dg.RetryPolicy(max_retries=1),
    )
    def shard() -> None:
        raise ValueError

    return shard


#: Keeps what ``sbatch`` was asked for, and gives a number.
TAKEN = 'echo "$@" >> {0}/calls; wc -l < {0}/calls'
on_cpu, on_gpu = _shard("on_cpu"), _shard("on_gpu", **{TAG: "--gres=gpu:1"})


@dg.op(out=dg.Out(dg.Nothing))
def alone() -> None:
    raise ValueError


#: The same without its requirement that other processes can open the instance: no step is run here.
in_memory = dg.ExecutorDefinition(
    "in_memory",
    config_schema=slurm_executor.config_schema,
    executor_creation_fn=slurm_executor.executor_creation_fn,
)


@dg.job(executor_def=in_memory)
def sharded() -> None:
    alone()
    shards = assign()
    shards.map(on_cpu)
    shards.map(on_gpu)


def run_shards(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run the job once its shards are assigned; what the history says."""
    monkeypatch.setenv("DAGSTER_STEP_DELEGATING_EXECUTOR_SLEEP_SECONDS", "0.01")
    monkeypatch.setattr(dg.DagsterInstance, "get_ref", lambda _: None)  # no other process opens it
    with dg.DagsterInstance.ephemeral() as instance:
        assigned = sharded.execute_in_process(instance=instance, raise_on_error=False)
        config = {"folder": str(folder / "jobs"), "cpu": ["--qos=cpu"], "gpu": ["--qos=gpu"], "health_s": 0}
        with dg.execute_job(
            dg.reconstructable(sharded),
            instance,
            run_config={"execution": {"config": config}},
            reexecution_options=dg.ReexecutionOptions.from_failure(assigned.run_id, instance),
        ) as result:
            return [
                f"{e.message} {e.step_failure_data.error.message if e.is_step_failure else ''}"
                for e in result.all_events
            ]


def submitted(folder: Path) -> list[str]:
    """What the played ``sbatch`` was asked for, in order: the array, if any, and the options."""
    calls = (folder / "calls").read_text().splitlines()
    return [" ".join(re.findall(r"--(?:array|qos|gres)=\S+", call)) for call in calls]


@pytest.fixture
def cluster(commands: Path, tmp_path: Path) -> Path:  # noqa: F811
    """SLURM that takes every job, numbers it, and says that it was cancelled."""
    say(commands, "sbatch", f"cat {tmp_path}/jobs/*/*.job >> {tmp_path}/then; {TAKEN.format(tmp_path)}")
    say(commands, "scontrol", "echo 'MaxArraySize            = 1001'")
    say(commands, "squeue", "echo CANCELLED")
    return commands


def test_shards_of_one_asset_are_one_array_and_those_that_are_lost_another(
    cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = run_shards(tmp_path, monkeypatch)
    arrays = ["--qos=cpu --array=0-2", "--qos=gpu --gres=gpu:1 --array=0-2"]
    assert submitted(tmp_path) == ["--qos=cpu", *arrays, *arrays]
    assert "Submitted step alone as SLURM job 1. " in said
    ids = {path.stem: path.read_text() for path in tmp_path.rglob("*.job")}
    shards = [f"on_gpu_s{shard}" for shard in range(3)]
    assert {ids[f"{shard}-0"] for shard in shards} == {"3_0", "3_1", "3_2"}
    assert {ids[f"{shard}-1"] for shard in shards} == {"5_0", "5_1", "5_2"}
    job = ids["on_gpu_s2-0"]
    assert f"Submitted step on_gpu[s2] as SLURM job {job}, task {job[-1]} of 3 of array 3. " in said
    name = re.findall(r"--job-name=(\S+)", (tmp_path / "calls").read_text())[2]
    assert f"{name} {job[-1]}" in (tmp_path / "then").read_text(), "the name was written before the job was submitted"
    assert any(f"on_gpu[s2] failed health check: SLURM job {ids['on_gpu_s2-1']} ended as CANCELLED" in s for s in said)


def test_a_batch_that_is_larger_than_an_array_may_be_is_split(
    cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(cluster, "scontrol", r"printf 'MaxArraySize = 1001\nSchedulerParameters = max_array_tasks=2,defer\n'")
    run_shards(tmp_path, monkeypatch)
    assert submitted(tmp_path)[1:4] == ["--qos=cpu --array=0-1", "--qos=cpu", "--qos=gpu --gres=gpu:1 --array=0-1"]


def test_an_array_that_is_refused_fails_each_of_its_steps_in_the_words_of_slurm(
    cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = 'case "$*" in *gpu*) echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2; exit 1;; esac'
    say(cluster, "sbatch", f"{refuse}; {TAKEN.format(tmp_path)}")
    said = run_shards(tmp_path, monkeypatch)
    refused = re.findall(r"Step (\S+) could not be submitted: sbatch: .*QOSMaxSubmitJobPerUserLimit", "\n".join(said))
    assert sorted(set(refused)) == [f"on_gpu[s{shard}]" for shard in range(3)]
    assert submitted(tmp_path) == ["--qos=cpu", "--qos=cpu --array=0-2", "--qos=cpu --array=0-2"], "others go on"


@pytest.mark.parametrize(("said", "asked"), [("7", "7"), ("7_3", "7_3"), ("its-a 3", "12_3"), ("its-a", "12")])
def test_a_job_whose_id_was_not_written_is_found_by_its_name(
    cluster: Path, tmp_path: Path, said: str, asked: str
) -> None:
    path = tmp_path / "jobs/run/on_cpu_s3-0.job"
    path.parent.mkdir(parents=True)
    path.write_text(said)
    name = f'case "$*" in *--name=its-a*--format=%F*) printf "9\n12\n12\n";; *--jobs={asked}\\ *) echo RUNNING;; esac'
    say(cluster, "squeue", name)
    args = SimpleNamespace(run_id="run", step_keys_to_execute=["on_cpu[s3]"], known_state=None)
    steps, context = SlurmSteps(tmp_path / "jobs", [], []), SimpleNamespace(execute_step_args=args)
    assert steps.check_step_health(context).is_healthy  # type: ignore[arg-type]
    say(cluster, "squeue", "exit 1")
    say(cluster, "scontrol", "exit 1")
    (path.with_name("on_cpu-7_3.log")).write_text("out of memory")
    reason = str(steps.check_step_health(context).unhealthy_reason)  # type: ignore[arg-type]
    assert ("out of memory" in reason) == (said == "7_3"), "the log of a task is called by its array"
