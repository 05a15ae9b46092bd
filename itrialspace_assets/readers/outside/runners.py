"""The two ways to run a program outside: in a container by the docker command, or as a confined plain process.

The docker command is used and not its Python package: the platform needs no more than ``docker run``, the command finds
the daemon as its user set it up, and what was run can be repeated by hand. The daemon must see this machine's files.

A plain process is confined by util-linux (prlimit, unshare, setpriv): its own process and network namespaces, limits of
memory and file size, no new privileges, and another user where the platform runs as root. It sees the machine's files
as that user; only a container hides them.
"""

import os
import shutil
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import FileHashes, digest
from itrialspace_assets.readers.api import Need
from itrialspace_assets.readers.outside.options import ContainerOptions

#: User and group (nobody) of a program that would otherwise run as root.
NOBODY = 65534
#: Seconds that the docker command may take to say what there is (ours).
_ASK_S = 20
_CONFINING = ("prlimit", "unshare", "setpriv")
#: Variables that the docker command itself needs; a container gets none of them.
_DOCKER_VARIABLES = (
    "PATH",
    "HOME",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
)


@dataclass(frozen=True)
class Folders:
    """Where a program finds its input, its weights if it has any, and leaves its output; ``work`` is its own."""

    input: Path
    output: Path
    work: Path
    weights: Path | None


@dataclass(frozen=True)
class Command:
    """What is to be run: words, variables, and what ends it where its process alone would not."""

    words: tuple[str, ...]
    environment: dict[str, str]
    stop: Callable[[], None]


def _filled(words: tuple[str, ...], given: dict[str, str]) -> tuple[str, ...]:
    for name, value in given.items():
        words = tuple(word.replace(f"{{{name}}}", value) for word in words)
    return words


def _megabytes(number: int) -> int:
    return number * 2**20


def in_container(options: ContainerOptions, folders: Folders) -> Command:
    """A container of the image: no network, no capabilities, not root, its input read-only."""
    assert options.image is not None
    name = f"its-{uuid.uuid4().hex}"
    # a killed worker ends the docker command, which passes the signal on to the container
    words = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
    words += ["docker", "run", "--rm", "--name", name, "--pull", "never", "--init", "--log-driver", "none"]
    words += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", str(options.processes)]
    words += ["--memory", f"{options.memory_mb}m", "--memory-swap", f"{options.memory_mb}m"]
    words += ["--ulimit", f"fsize={_megabytes(options.output_mb)}", "--ulimit", "core=0"]
    words += ["--tmpfs", f"/tmp:rw,exec,size={options.memory_mb}m"]
    words += ["--volume", f"{folders.input}:/input:ro", "--volume", f"{folders.output}:/output"]
    if folders.weights is not None:
        words += ["--volume", f"{folders.weights}:/opt/ml/model:ro"]
    if options.network == "off":
        words += ["--network", "none"]
    if options.gpus:
        words += ["--gpus", "all"]
    if not options.writable:
        words += ["--read-only"]
    if _inspect(options.image, "{{.Config.User}}").split(":")[0] in ("", "0", "root"):
        words += ["--user", f"{NOBODY}:{NOBODY}"]
    command = _filled(options.command, {"input": "/input", "output": "/output", "weights": "/opt/ml/model"})
    environment = {v: os.environ[v] for v in _DOCKER_VARIABLES if v in os.environ}
    return Command((*words, options.image, *command), environment, lambda: _kill(name))


def _kill(name: str) -> None:
    """End a container. One that has not started yet has no name to be ended by, so it is tried for some seconds."""
    subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False, timeout=60)


def as_process(options: ContainerOptions, folders: Folders) -> Command:
    """The command as a confined process of this machine."""
    root = os.geteuid() == 0
    limits = [f"--as={_megabytes(options.memory_mb)}", f"--fsize={_megabytes(options.output_mb)}", "--core=0"]
    if root:  # counted by user: of one's own there are others
        limits += [f"--nproc={options.processes}"]
    apart = ["--pid", "--fork", *(["--net"] if options.network == "off" else [])]
    if not root:
        apart += ["--user", "--map-current-user"]
    user = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all"] if root else []
    given = {"input": str(folders.input), "output": str(folders.output), "weights": str(folders.weights or "")}
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(folders.work),
        "TMPDIR": str(folders.work),
        **{f"ITS_{name.upper()}": value for name, value in given.items()},
    }
    # a killed worker ends the first of these, that its child, and that all processes of the namespace
    with_parent = ("setpriv", "--pdeathsig", "KILL")
    words = (*with_parent, "--", "prlimit", *limits, "--", "unshare", *apart, "--")
    words += (*with_parent, "--no-new-privs", *user, "--")
    return Command((*words, *_filled(options.command, given)), environment, lambda: None)


def needs(options: ContainerOptions) -> list[Need]:
    """What this machine lacks to run a program."""
    return _docker_needs(options.image) if options.image is not None else _process_needs(options)


def _docker_needs(image: str) -> list[Need]:
    if shutil.which("docker") is None:
        return [Need("expected the command docker, found none", "install Docker, or give a command without an image")]
    found = _docker("version", "--format", "{{.Server.Version}}")
    if found.returncode:
        return [
            Need(f"expected a Docker daemon, got: {_said(found)}", "start it, or set DOCKER_HOST to where it listens")
        ]
    if _docker("image", "inspect", image).returncode:
        return [
            Need(
                f"expected the image {image} in Docker, found none",
                f"fetch it with `docker pull {image}`, or load its file with `docker load --input FILE`",
            )
        ]
    return []


def _process_needs(options: ContainerOptions) -> list[Need]:
    found = []
    if shutil.which(options.command[0]) is None:
        found.append(
            Need(f"expected the program {options.command[0]}, found none", "install it, or give its whole path")
        )
    if missing := [name for name in _CONFINING if shutil.which(name) is None]:
        fix = "install util-linux (Linux only), or use an image"
        return [*found, Need(f"expected the commands {', '.join(_CONFINING)}, found no {', '.join(missing)}", fix)]
    user = [] if os.geteuid() == 0 else ["--user", "--map-current-user"]
    net = ["--net"] if options.network == "off" else []
    tried = subprocess.run(
        ["unshare", "--pid", "--fork", *net, *user, "true"], capture_output=True, text=True, check=False, timeout=_ASK_S
    )
    if tried.returncode:
        what = f"expected namespaces to confine a plain process in, got: {_said(tried)}"
        found.append(Need(what, "allow user namespaces on this machine, or use an image"))
    return found


def identity(options: ContainerOptions, fingerprints: Path) -> str:
    """What tells a program from another one: the id of its image, or a hash over the files that its command names.

    Args:
        options: of the program.
        fingerprints: where hashes of files are remembered.

    Raises:
        ConfigError: it is not there.
    """
    if options.image is not None:
        return _inspect(options.image, "{{.Id}}")
    program = shutil.which(options.command[0])
    if program is None:
        raise ConfigError(f"expected the program {options.command[0]}, found none")
    files = [Path(word).resolve() for word in (program, *options.command[1:]) if word.startswith("/")]
    with FileHashes(fingerprints) as hashes:
        return digest([hashes.get(file) for file in files if file.is_file()])


def _inspect(image: str, form: str) -> str:
    """
    Raises:
        ConfigError: Docker does not say.
    """
    found = _docker("image", "inspect", "--format", form, image)
    if found.returncode:
        raise ConfigError(f"expected the image {image} in Docker, got: {_said(found)}")
    return found.stdout.strip()


def _docker(*words: str) -> "subprocess.CompletedProcess[str]":
    command = ["docker", *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_ASK_S)
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", "no command docker")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no answer within {_ASK_S} s")


def _said(done: "subprocess.CompletedProcess[str]") -> str:
    lines = done.stderr.strip().splitlines()
    return lines[-1][:200] if lines else f"exit code {done.returncode}"
