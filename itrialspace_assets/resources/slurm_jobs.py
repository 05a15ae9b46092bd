"""SLURM's own commands as functions: submit a script, ask for a job's state, cancel it. Knows nothing of Dagster.

An id is that of a job (``12``), or of a task of an array (``12_3``); the commands take both.

Works with or without accounting: a job's state is asked of ``squeue``, then of ``scontrol``, then of ``sacct``.
"""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from itrialspace_assets.base.errors import ConfigError

#: Tag of a step with what it asks for: options of ``sbatch``, as on a command line.
TAG = "itrialspace/slurm"
#: States of a job that waits or runs, as ``squeue`` prints them (manual page of squeue, "JOB STATE CODES").
ALIVE = frozenset(
    {
        "PENDING",
        "CONFIGURING",
        "RUNNING",
        "COMPLETING",
        "SUSPENDED",
        "RESIZING",
        "SIGNALING",
        "STAGE_OUT",
        "STOPPED",
        "REQUEUED",
        "REQUEUE_HOLD",
        "REQUEUE_FED",
        "SPECIAL_EXIT",
        "RESV_DEL_HOLD",
    }
)
#: State of a job whose script ended with code 0.
COMPLETED = "COMPLETED"
#: State of a job that no command of SLURM knows any more.
FORGOTTEN = "FORGOTTEN"
#: Seconds after which a command of SLURM is given up; the controller's own limit is 10 (SLURM's MessageTimeout).
_PATIENCE_S = 60.0
#: Times that a command is tried while the controller does not answer, and the longest wait between two.
_TRIES, _LONGEST_WAIT_S = 5, 30.0
#: Lines of a log that are told when a job fails.
TAIL_LINES = 30


class ControllerDown(Exception):
    """SLURM's controller did not answer; worth another try."""


def require_commands() -> None:
    """
    Raises:
        ConfigError: this machine has no client of SLURM.
    """
    if missing := [name for name in ("sbatch", "squeue", "scontrol", "scancel") if shutil.which(name) is None]:
        raise ConfigError(
            f"ITRIALSPACE_EXECUTOR=slurm: expected the commands of SLURM, {', '.join(missing)} not found. Run this "
            "on a login node, or choose another executor"
        )


def submit(script: Path, log: Path, name: str, options: Sequence[str]) -> str:
    """Submit a script with the present environment; the job's id. Tries again while the controller does not answer.

    Args:
        script: a shell script.
        log: file for what it prints.
        name: of the job.
        options: what it asks for: further options of ``sbatch``.

    Raises:
        ConfigError: SLURM refuses the job; says why in SLURM's words.
        ControllerDown: SLURM's controller does not answer.
    """
    # --no-requeue: Dagster starts a step again, not SLURM, so that a step never runs twice at once
    fixed = ["--parsable", "--no-requeue", "--export=ALL", f"--job-name={name}", f"--output={log}"]
    told = _patient(["sbatch", *fixed, *options, str(script)])
    job = told.strip().split(";")[0]  # the name of a federated cluster may follow
    if not job.isdigit():
        raise ConfigError(f"sbatch: expected a job's number, got {told.strip()[:200]!r}")
    return job


def array_limit() -> int:
    """Most tasks that the cluster takes in one array; 1 where it takes no arrays.

    Raises:
        ConfigError: SLURM does not say.
        ControllerDown: SLURM's controller does not answer.
    """
    told = _patient(["scontrol", "show", "config"])
    limits = re.findall(r"^MaxArraySize\s*=\s*(\d+)", told, re.MULTILINE)
    if not limits:
        raise ConfigError(f"scontrol show config: expected a line MaxArraySize, got {told.strip()[:200]!r}")
    limits += re.findall(r"\bmax_array_tasks=(\d+)", told)  # of SchedulerParameters
    return max(1, min(int(limit) for limit in limits))


def find(name: str) -> str | None:
    """The id of the last job or array with a name, if the controller knows one.

    Raises:
        ControllerDown: SLURM's controller does not answer.
    """
    found = _lines(["squeue", "--noheader", "--states=all", f"--name={name}", "--format=%F"])
    return str(max(map(int, found))) if found else None


def state(job: str) -> str:
    """The state of a job, or of a task of an array, in SLURM's words; ``FORGOTTEN`` where no command knows it.

    Args:
        job: ``<job>``, or ``<array>_<task>``.

    Raises:
        ControllerDown: SLURM's controller does not answer.
    """
    if queued := _asked(["squeue", "--noheader", f"--jobs={job}", "--states=all", "--format=%T"]):
        return queued
    if shown := _asked(["scontrol", "--oneliner", "show", "job", job]):
        found = re.search(r"\bJobState=(\w+)", shown)
        return found.group(1) if found else FORGOTTEN
    if shutil.which("sacct"):
        past = _asked(["sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={job}", "--format=State"])
        if past:
            return past.split()[0]  # "CANCELLED by 1000"
    return FORGOTTEN


def cancel(job: str) -> None:
    """Cancel a job, or a task of an array; nothing happens if it has ended.

    Args:
        job: ``<job>``, or ``<array>_<task>``.

    Raises:
        ControllerDown: SLURM's controller does not answer.
    """
    _asked(["scancel", job])


def tail(log: Path) -> str:
    """The last lines of a log; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 16_384))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-TAIL_LINES:])


def _asked(command: Sequence[str]) -> str:
    """The first line that a command prints; empty where it does not know the job."""
    return next(iter(_lines(command)), "")


def _lines(command: Sequence[str]) -> list[str]:
    """The lines that a command prints; none where it does not know the job."""
    try:
        return [line.strip() for line in _call(command).strip().splitlines()]
    except ConfigError:
        return []


def _patient(command: Sequence[str]) -> str:
    """What a command prints; tries again while the controller does not answer.

    Raises:
        ConfigError: it ends with an error.
        ControllerDown: SLURM's controller does not answer.
    """
    told = ""
    for attempt in Retrying(
        retry=retry_if_exception_type(ControllerDown),
        stop=stop_after_attempt(_TRIES),
        wait=wait_exponential(max=_LONGEST_WAIT_S),
        reraise=True,
    ):
        with attempt:
            told = _call(command)
    return told


def _call(command: Sequence[str]) -> str:
    """What a command prints.

    Raises:
        ConfigError: it ends with an error.
        ControllerDown: SLURM's controller does not answer.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        raise ControllerDown(f"{command[0]} did not answer within {_PATIENCE_S:.0f} s") from None
    except FileNotFoundError:
        raise ConfigError(f"{command[0]}: expected the commands of SLURM, found none") from None
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.strip()
    if re.search(r"[Uu]nable to contact slurm|[Cc]onnection refused|[Ss]ocket timed out|[Cc]ommunication", said):
        raise ControllerDown(f"{command[0]}: {said}")
    raise ConfigError(f"{' '.join(command[:1])}: {said or f'ended with code {done.returncode}'}")
