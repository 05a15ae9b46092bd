"""The image of deploy/docker, built without a registry, and the graph on Docker: the bytes of one process.

Needs a Docker engine and, in ITS_TEST_IMAGE, a Debian with Python 3.11, its venv module and certificates; the wheels of
the lock are taken from the folder that ITS_TEST_WHEELS names (``make wheels``).
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import TRIAL, its
from .test_slurm import ASSETS, PAIR, copy_of, hashes, roots

pytestmark = [pytest.mark.slow, pytest.mark.docker]
TOP = Path(__file__).parents[2]
#: What .dockerignore lets through.
CONTEXT = ("constraints.txt", "pyproject.toml", "README.md", "LICENSE", "NOTICE", ".dockerignore", "itrialspace_assets")
#: A user that no table of this machine or of the image holds.
NOBODY_KNOWN = "43210:43211"


def docker(*words: str, **more: str) -> str:
    done = subprocess.run(
        ["docker", *words], check=False, capture_output=True, text=True, timeout=900, env={**os.environ, **more}
    )
    assert done.returncode == 0, f"{' '.join(words[:3])}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image cpu, built by the classic builder from wheels alone, without a network."""
    base, wheels = os.environ.get("ITS_TEST_IMAGE"), os.environ.get("ITS_TEST_WHEELS")
    if not base or not wheels:
        pytest.skip("ITS_TEST_IMAGE names no image to build on, or ITS_TEST_WHEELS no folder of wheels")
    context = tmp_path_factory.mktemp("context")
    for name in CONTEXT:
        copy = shutil.copytree if (TOP / name).is_dir() else shutil.copy2
        copy(TOP / name, context / name)
    (context / "deploy/docker").mkdir(parents=True)
    shutil.copytree(wheels, context / "deploy/docker/wheels")
    arguments = [f"--build-arg=BASE={base}", "--build-arg=OFFLINE=1", "--network=none", "--tag=its-cpu:test"]
    file = TOP / "deploy/docker/cpu.Dockerfile"
    docker("build", "--quiet", *arguments, "--file", str(file), str(context), DOCKER_BUILDKIT="0")
    yield "its-cpu:test"
    docker("image", "rm", "--force", "its-cpu:test")


@pytest.fixture(scope="module")
def planned(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs with a small trial planned."""
    out = tmp_path_factory.mktemp("docker") / "planned"
    (out / "trials").mkdir(parents=True)
    (out / "trials/x_small.yaml").write_text(TRIAL)
    done = its("run", "--modes", "x_small", "--to", "plan", **roots(data_root, out))
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def materialize(data: Path, out: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """What a user runs on a machine with Docker."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("ITRIALSPACE_")}
    env |= roots(data, out) | {"DAGSTER_HOME": str(out / "dagster"), "ITRIALSPACE_SHARDS": "2"} | more
    select = " or ".join(f'key:"{a}"' for a in ASSETS)
    command = [sys.executable, "-W", "ignore", "-m", "dagster", "asset", "materialize", "--select", select]
    return subprocess.run(
        [*command, "--partition", PAIR, "-m", "itrialspace_assets.locations.all"],
        check=False,
        capture_output=True,
        text=True,
        env=env,
        timeout=600,
    )


@pytest.fixture(scope="module")
def undisturbed(data_root: Path, planned: Path) -> dict[str, str]:
    """Outputs of the same pair in one process."""
    out = copy_of(planned, "alone")
    done = materialize(data_root, out)
    assert done.returncode == 0, done.stdout + done.stderr
    return hashes(out)


def steps() -> list[str]:
    """Containers of steps, with the words of each."""
    form = "{{.ID}} {{.State}} {{.Names}}"
    return docker("ps", "--all", "--filter", "label=itrialspace=step", "--format", form).splitlines()


def test_the_image_has_the_lock_and_no_torch_and_serves_any_user(image: str) -> None:
    confined = ["--rm", "--read-only", "--tmpfs", "/tmp", "--network", "none", "--cap-drop", "ALL"]
    assert docker("run", *confined, image, "id", "-u").strip() == "10001", "not root by itself"
    code = (
        "import getpass, importlib.metadata as m, importlib.util as u, pathlib;"
        "pathlib.Path.home().joinpath('a').write_text(getpass.getuser());"
        "print(u.find_spec('torch'));"
        "[print(d.metadata['Name'] + '==' + d.version) for d in m.distributions()]"
    )
    none, *installed = docker("run", *confined, "--user", NOBODY_KNOWN, image, "python", "-c", code).splitlines()
    assert none == "None"
    locked = {line.split(" ;")[0].lower() for line in (TOP / "constraints.txt").read_text().splitlines()}
    found = {line.lower().replace("_", "-").replace(".", "-", line.split("==")[0].count(".")) for line in installed}
    assert len(found) > 100
    assert found - locked <= {"itrialspace-assets==0.2.0"}
    demo = ["demo-data", "--out", "/tmp/data", "--hosts", "2", "--spacing", "2.8"]
    assert docker("run", *confined, "--user", NOBODY_KNOWN, image, "its", *demo)


def test_a_pair_on_docker_has_the_bytes_of_one_process(
    data_root: Path, planned: Path, image: str, undisturbed: dict[str, str]
) -> None:
    out = copy_of(planned, "containers")
    done = materialize(data_root, out, ITRIALSPACE_EXECUTOR="docker", ITRIALSPACE_DOCKER_IMAGE=image)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert hashes(out) == undisturbed
    ids = [line.split()[0] for line in steps()]
    assert len(ids) >= 4, "a container each"
    form = "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.NetworkMode}} {{.HostConfig.CapDrop}} {{json .Mounts}}"
    told = docker("inspect", "--format", form, ids[0])
    assert told.startswith("true none [ALL]") and f'"Destination":"{data_root}","Mode":"ro"' in told
    docker("rm", *ids)


def test_a_container_that_is_removed_is_started_again(
    data_root: Path, planned: Path, image: str, undisturbed: dict[str, str]
) -> None:
    out = copy_of(planned, "removed")
    removed: list[str] = []

    def remove_a_shard() -> None:
        while not removed and time.monotonic() < end:
            for line in steps():
                name, state = line.split()[:2]
                key = "{{range .Config.Env}}{{println .}}{{end}}"
                if state == "running" and "shard" in docker("inspect", "--format", key, name):
                    docker("rm", "--force", name)
                    removed.append(name)
                    return
            time.sleep(0.2)

    end = time.monotonic() + 300
    other = threading.Thread(target=remove_a_shard)
    other.start()
    done = materialize(data_root, out, ITRIALSPACE_EXECUTOR="docker", ITRIALSPACE_DOCKER_IMAGE=image)
    other.join()
    assert removed
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "could not be found" in done.stdout + done.stderr
    assert hashes(out) == undisturbed
    docker("rm", *(line.split()[0] for line in steps()))
