"""A SLURM cluster of one node on this machine, for tests: started, asked and ended by whoever holds it.

Needs Debian's packages slurm-wlm and munge, and root. Listens on loopback.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")
START_S = 30.0
CONF = """
ClusterName=itrialspace
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdSpoolDir={folder}/spool
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=2000 State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why no cluster can be started here; empty if one can."""
    if absent := [p for p in PROGRAMS if shutil.which(p) is None]:
        return f"SLURM is not installed here (no {', '.join(absent)}): apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "a SLURM cluster can be started by root only"


@contextmanager
def cluster(folder: Path) -> Iterator[Path]:
    """A running cluster; gives its ``slurm.conf``. Its daemons end with the block.

    Args:
        folder: for its files; a short path, because it holds a socket.
    """
    for name in ("spool", "state"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    conf = folder / "slurm.conf"
    host = socket.gethostname().split(".")[0]
    ports = {"ctld_port": _free_port(), "slurmd_port": _free_port()}
    conf.write_text(CONF.format(host=host, folder=folder, cpus=os.cpu_count(), **ports))
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munge.pid", "log-file": "munge.log"}
    munge = [f"--{option}={folder / name}" for option, name in {**files, "seed-file": "munge.seed"}.items()]
    daemons = []
    try:
        for command in (
            ["munged", "--foreground", "--force", *munge],
            ["slurmctld", "-i", "-D"],
            ["slurmd", "-D"],
        ):
            with (folder / f"{command[0]}.out").open("wb") as out:
                daemons.append(subprocess.Popen(command, env=environment, stdout=out, stderr=out))
            if command[0] == "munged":
                _wait((folder / "munge.socket").exists, folder)
        _wait(lambda: "idle" in _states(environment), folder)
        yield conf
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _states(environment: dict[str, str]) -> str:
    return subprocess.run(
        ["sinfo", "--noheader", "--format=%T"], env=environment, capture_output=True, text=True, check=False
    ).stdout


def _wait(ready, folder: Path) -> None:
    deadline = time.monotonic() + START_S
    while not ready():
        if time.monotonic() > deadline:
            logs = "\n".join(f"{p.name}: {p.read_text(errors='replace')[-500:]}" for p in folder.glob("*.[lo][ou]*"))
            raise RuntimeError(f"the cluster did not start within {START_S:.0f} s\n{logs}")
        time.sleep(0.1)
