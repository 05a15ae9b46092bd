"""SLURM's commands, played by scripts: what each answer means."""

from pathlib import Path

import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.resources import slurm_jobs
from itrialspace_assets.resources.slurm_jobs import (
    ControllerDown,
    array_limit,
    cancel,
    require_commands,
    state,
    submit,
    tail,
)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on PATH with commands that know nothing."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(slurm_jobs, "_LONGEST_WAIT_S", 0.01)
    for name in ("sbatch", "squeue", "scontrol", "scancel", "sacct"):
        say(folder, name, "echo 'Invalid job id specified' >&2; exit 1")
    return folder


def say(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("squeue", "scontrol", "sacct", "expected"),
    [
        ("echo PENDING", "echo JobState=RUNNING", "echo FAILED", "PENDING"),
        ("true", "echo 'JobId=7 JobState=COMPLETED Reason=None'", "echo FAILED", "COMPLETED"),
        ("exit 1", "exit 1", "echo 'CANCELLED by 1000'", "CANCELLED"),
        ("exit 1", "exit 1", "true", "FORGOTTEN"),
        ("exit 1", "echo 'JobId=7 nothing'", "true", "FORGOTTEN"),
    ],
)
def test_the_first_command_that_knows_a_job_tells_its_state(
    commands: Path, squeue: str, scontrol: str, sacct: str, expected: str
) -> None:
    for name, script in {"squeue": squeue, "scontrol": scontrol, "sacct": sacct}.items():
        say(commands, name, script)
    assert state("7") == expected


def test_a_controller_that_is_down_is_asked_again_and_then_said(commands: Path, tmp_path: Path) -> None:
    count = tmp_path / "count"
    down = "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1"
    say(commands, "sbatch", f"echo x >> {count}; [ $(wc -l < {count}) -ge 3 ] && echo '12;cluster' && exit 0; {down}")
    assert submit(tmp_path / "a.sh", tmp_path / "a.log", "name", ["--mem=1G"]) == "12"
    assert count.read_text().count("x") == 3
    say(commands, "squeue", down)
    with pytest.raises(ControllerDown, match="Unable to contact"):
        state("12")
    say(commands, "scancel", down)
    with pytest.raises(ControllerDown):
        cancel("12")


def test_a_refused_job_is_told_in_the_words_of_slurm(commands: Path, tmp_path: Path) -> None:
    say(commands, "sbatch", "echo 'sbatch: error: invalid partition specified: nope' >&2; exit 1")
    with pytest.raises(ConfigError, match="invalid partition specified: nope"):
        submit(tmp_path / "a.sh", tmp_path / "a.log", "name", [])
    say(commands, "sbatch", "echo 'Submitted batch job 3'")
    with pytest.raises(ConfigError, match="expected a job's number"):
        submit(tmp_path / "a.sh", tmp_path / "a.log", "name", [])


def test_what_is_asked_for_reaches_sbatch(commands: Path, tmp_path: Path) -> None:
    say(commands, "sbatch", f'printf "%s\\n" "$@" > {tmp_path}/given; echo 5')
    submit(tmp_path / "a b.sh", tmp_path / "a.log", "its-1", ["--gres=gpu:1", "--mem=64G"])
    given = (tmp_path / "given").read_text().splitlines()
    assert given[-3:] == ["--gres=gpu:1", "--mem=64G", str(tmp_path / "a b.sh")]
    assert {"--parsable", "--no-requeue", "--job-name=its-1", f"--output={tmp_path / 'a.log'}"} <= set(given)


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ("MaxArraySize            = 1001", 1001),
        ("MaxArraySize = 1001\nSchedulerParameters     = bf_window=60,max_array_tasks=20", 20),
        ("MaxArraySize = 0", 1),
    ],
)
def test_the_cluster_says_how_large_an_array_may_be(commands: Path, config: str, limit: int) -> None:
    say(commands, "scontrol", f"cat <<END\nConfiguration data as of now\n{config}\nEND")
    assert array_limit() == limit
    say(commands, "scontrol", "echo nothing")
    with pytest.raises(ConfigError, match="expected a line MaxArraySize"):
        array_limit()


def test_without_slurm_the_missing_commands_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="sbatch, squeue, scontrol, scancel not found"):
        require_commands()


def test_the_end_of_a_log_is_told(tmp_path: Path) -> None:
    assert tail(tmp_path / "none") == ""
    log = tmp_path / "log"
    log.write_bytes(b"\xff\n" + b"".join(b"line %d\n" % i for i in range(5000)))
    assert tail(log).splitlines()[-1] == "line 4999"
    assert len(tail(log).splitlines()) == slurm_jobs.TAIL_LINES
