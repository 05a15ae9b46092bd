"""Whether this installation can run: what is ready, what is missing, and what fixes it.

Asks each part what it needs. Changes nothing (the folder of the outputs is made), reads no volume and no weights,
imports no torch.
"""

import difflib
import importlib.metadata
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from itrialspace_assets.base.errors import PlatformError
from itrialspace_assets.base.settings import PREFIX, Settings, require_data_root
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.resources.slurm_jobs import require_commands
from itrialspace_assets.synthesis.renderers import enabled

Readiness = Literal["ready", "absent", "wrong"]
#: Free space of the outputs below which a run is likely to fill the disk (ours: twice the whole demo).
LEAST_FREE_GIB = 5.0
#: Seconds by which the clocks of this machine and of the file system of the outputs may differ: files are told new or
#: old by their times (ours).
MOST_SKEW_S = 2.0
#: Packages that stand for what can be added to an installation, by the name of the addition.
ADDITIONS = {
    "nodmaisi": ("torch", "monai", "einops"),
    "models": ("torch", "torchvision", "transformers", "open_clip_torch"),
    "postgres": ("dagster-postgres",),
    "docker": ("dagster-docker",),
    "k8s": ("dagster-k8s",),
}


@dataclass(frozen=True)
class PartState:
    """A part, whether it is ready (``absent``: not there and not needed), what was seen, and how to fix it."""

    part: str
    state: Readiness
    seen: str
    fix: str = ""


def findings(settings: Settings, environment: Mapping[str, str]) -> list[PartState]:
    """What was found of every part, in the order in which a run needs them.

    Args:
        settings: of the installation.
        environment: variables of the process.
    """
    parts: tuple[Callable[[], Iterator[PartState]], ...] = (
        _installation,
        lambda: _variables(environment),
        lambda: _data(settings),
        lambda: _outputs(settings),
        lambda: _executor(settings),
        _gpu,
        lambda: _renderers(settings),
        lambda: _readers(settings),
    )
    return [finding for part in parts for finding in part()]


def _installation() -> Iterator[PartState]:
    version = importlib.metadata.version("itrialspace-assets")
    yield PartState("installation", "ready", f"itrialspace-assets {version}, Python {platform.python_version()}")
    for name, packages in ADDITIONS.items():
        missing = [p for p in packages if not _has(p)]
        if missing:
            fix = f"pip install 'itrialspace-assets[{name}]', if you need it"
            yield PartState(f"addition {name}", "absent", f"no {', '.join(missing)}", fix)
        else:
            yield PartState(f"addition {name}", "ready", ", ".join(packages))


def _has(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _variables(environment: Mapping[str, str]) -> Iterator[PartState]:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name in sorted(set(environment) - known):
        if name.startswith(PREFIX):
            near = difflib.get_close_matches(name, known, 1, 0.6)
            fix = f"did you mean {near[0]}?" if near else "`its config` shows all settings"
            yield PartState(f"variable {name}", "wrong", "no setting has this name; it is not read", fix)


def _data(settings: Settings) -> Iterator[PartState]:
    try:
        require_data_root(settings)
    except PlatformError as error:
        yield PartState("data root", "wrong", str(error))
        return
    yield PartState("data root", "ready", f"{settings.data}, {settings.anatomy} anatomy")


def _outputs(settings: Settings) -> Iterator[PartState]:
    folder = next(p for p in (settings.output, *settings.output.parents) if p.is_dir())
    free = shutil.disk_usage(folder).free / 2**30
    state: Readiness = "ready" if free >= LEAST_FREE_GIB else "wrong"
    fix = "" if state == "ready" else f"free {LEAST_FREE_GIB:.0f} GiB, or set {PREFIX}OUTPUT_DIR to another disk"
    yield PartState("disk of the outputs", state, f"{free:.1f} GiB free in {folder}", fix)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".tmp-clock-") as probe:
            skew = Path(probe.name).stat().st_mtime - time.time()
    except OSError as error:
        yield PartState(
            "outputs", "wrong", f"{folder}: {error.strerror}", f"set {PREFIX}OUTPUT_DIR to a writable folder"
        )
        return
    state = "ready" if abs(skew) <= MOST_SKEW_S else "wrong"
    fix = "" if state == "ready" else "set the clocks of this machine and of the file server by one time server"
    yield PartState("clock", state, f"the file system of the outputs is {skew:+.1f} s off this machine", fix)


def _executor(settings: Settings) -> Iterator[PartState]:
    if settings.executor == "slurm":
        try:
            require_commands()
        except PlatformError as error:
            yield PartState("executor slurm", "wrong", str(error))
            return
    package = {"docker": "dagster-docker", "k8s": "dagster-k8s"}.get(settings.executor)
    if package and not _has(package):
        fix = f"pip install 'itrialspace-assets[{settings.executor}]'"
        yield PartState(f"executor {settings.executor}", "wrong", f"no {package}", fix)
        return
    yield PartState(f"executor {settings.executor}", "ready", f"{settings.workers} workers, {settings.shards} shards")


def _gpu() -> Iterator[PartState]:
    program = shutil.which("nvidia-smi")
    if program is None:
        yield PartState(
            "GPU", "absent", "no nvidia-smi on this machine", "needed by nodmaisi and by readers of location gpu"
        )
        return
    asked = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
        seen = "; ".join(done.stdout.split("\n")).strip("; ") if done.returncode == 0 else done.stderr.strip()
        state: Readiness = "ready" if done.returncode == 0 and seen else "wrong"
    except (OSError, subprocess.TimeoutExpired) as error:
        seen, state = str(error), "wrong"
    yield PartState("GPU", state, seen, "" if state == "ready" else "see whether `nvidia-smi` works by itself")


def _renderers(settings: Settings) -> Iterator[PartState]:
    for renderer in enabled(settings):
        try:
            renderer.require_weights(settings)
            renderer.require_device(settings)
        except PlatformError as error:
            yield PartState(f"renderer {renderer.name}", "wrong", str(error))
            continue
        yield PartState(f"renderer {renderer.name}", "ready", f"location {renderer.location}")


def _readers(settings: Settings) -> Iterator[PartState]:
    for reader in readers(settings).values():
        for need in reader.needs():
            yield PartState(f"reader {reader.name}", "wrong", need.what, need.fix)
        if not reader.needs():
            yield PartState(f"reader {reader.name}", "ready", f"location {reader.location}")
