"""Files of deploy/docker, without Docker: they fit each other, the lock and the code, and hold no secret."""

import importlib.metadata
import json
import os
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._core.instance.ref import InstanceRef

from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.orchestration.op_tags import DOCKER_GPU_REQUEST

TOP = Path(__file__).parents[2]
DEPLOY = TOP / "deploy/docker"
#: Values of .env, as ``prepare`` would write them.
VALUES = {
    "ITS_UID": "1000",
    "ITS_GID": "1000",
    "ITS_DOCKER_GID": "999",
    "ITS_PG_PASSWORD": "p",
    "ITS_DATA": "/srv/data",
    "ITS_OUT": "/srv/out",
    "ITS_SETTINGS": "/srv/settings.env",
}


def compose() -> dict[str, Any]:
    """The file as Compose reads it: ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?message}`` filled in."""

    def value(found: re.Match[str]) -> str:
        name, operator, rest = found.groups()
        assert operator != ":?" or name in VALUES, f"prepare does not write {name}"
        return VALUES.get(name, rest or "")

    return yaml.safe_load(re.sub(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}", value, (DEPLOY / "compose.yaml").read_text()))


def test_services_are_confined_and_the_web_page_stays_here() -> None:
    services = compose()["services"]
    assert set(services) == {"postgres", "webserver", "daemon", "cpu", "gpu"}
    for name, service in services.items():
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["user"] == ("postgres" if name == "postgres" else "1000:1000")
        assert any(t.startswith("/tmp") for t in service["tmpfs"])
        assert ("ports" in service) == (name == "webserver")
        mounts = service["volumes"]
        assert not any(m.startswith("data:") and m != "data:/data:ro" for m in mounts)
        assert any("docker.sock" in m for m in mounts) == (name in ("webserver", "daemon"))
    assert services["webserver"]["ports"] == ["127.0.0.1:3000:3000"]
    assert compose()["networks"]["inner"] == {"name": "itrialspace", "internal": True}


@pytest.mark.parametrize("location", ["cpu", "gpu"])
def test_runs_get_what_dagster_docker_and_the_settings_know(location: str) -> None:
    from dagster_docker.container_context import DockerContainerContext

    service = compose()["services"][location]
    assert service["command"][-1] == f"itrialspace_assets.locations.{location}"
    context = DockerContainerContext.create_from_config(json.loads(service["environment"]["DAGSTER_CONTAINER_CONTEXT"]))
    kwargs = context.container_kwargs
    assert kwargs["user"] == "1000:1000" and kwargs["read_only"] is True and kwargs["cap_drop"] == ["ALL"]
    named = {v["name"] for v in compose()["volumes"].values() if v}
    for mount in kwargs["volumes"]:
        source, place = mount.split(":")[:2]
        assert source.startswith("/") or source in named
        assert mount.endswith(":ro") or place in ("/out", "/var/run/docker.sock")
    assert any("docker.sock" in m for m in kwargs["volumes"]) == (location == "gpu")
    given = dict(v.split("=", 1) for v in context.env_vars)
    settings = load_settings(**{k.removeprefix("ITRIALSPACE_").lower(): v for k, v in given.items()})
    assert settings.executor == ("docker" if location == "gpu" else "in_process")
    assert not any("docker.sock" in m for m in settings.docker_volume_list), "steps do not get the socket"
    assert service["environment"].get("ITRIALSPACE_EXECUTOR", "in_process") == settings.executor


def test_dagster_reads_the_instance_and_its_locations(monkeypatch: pytest.MonkeyPatch) -> None:
    config = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())
    assert config["storage"]["postgres"]["postgres_db"].pop("password") == {"env": "DAGSTER_PG_PASSWORD"}
    assert config["run_launcher"]["config"]["network"] == compose()["networks"]["inner"]["name"]
    assert config["run_monitoring"]["enabled"] and config["concurrency"]["pools"]["default_limit"] == 1
    monkeypatch.setenv("DAGSTER_PG_PASSWORD", "p")
    ref = InstanceRef.from_dir(str(DEPLOY))
    assert ref.run_launcher is not None and type(ref.run_launcher).__name__ == "DockerRunLauncher"
    hosts = yaml.safe_load((DEPLOY / "workspace.yaml").read_text())["load_from"]
    assert [h["grpc_server"]["host"] for h in hosts] == ["cpu", "gpu"] and set(compose()["services"]) >= {"cpu", "gpu"}


def test_images_follow_the_lock_and_are_not_root() -> None:
    cpu, gpu = ((DEPLOY / f"{name}.Dockerfile").read_text() for name in ("cpu", "gpu"))
    files = (*DEPLOY.glob("*.Dockerfile"), TOP / "Makefile", TOP / "deploy/slurm/apptainer.def")
    uv = {tuple(set(re.findall(r"\buv==([\d.]+)", f.read_text()))) for f in files}
    assert len(uv) == 1, "one version of uv"
    backends = {tuple(re.findall(r"hatchling==[\d.]+", (TOP / f).read_text())) for f in ("Makefile", "pyproject.toml")}
    assert len(backends) == 1, "one version of hatchling"
    for text in (cpu, gpu):
        installs = [i for i in re.findall(r"uv pip install(?:.*\\\n)*.*", text) if "--no-deps" not in i]
        assert installs and all("-c constraints.txt" in i for i in installs)
        assert not re.search(r"--mount|<<|# syntax", text), "needs BuildKit"
        assert not re.search(r"(?i)password|token|secret|https?://", text)
    assert re.findall(r"^USER (.*)$", cpu, re.M) == ["10001:10001"]
    assert gpu.rindex("FROM cpu") > gpu.rindex("USER 0"), "root while building, not in the image"
    assert "--extra nodmaisi" not in cpu and "torchvision.ops.nms" in gpu


def test_no_file_holds_a_secret() -> None:
    own = [p for p in DEPLOY.parent.rglob("*") if p.is_file() and p.suffix not in (".env", ".whl", ".md")]
    assert len(own) > 8
    for path in own:
        found = re.findall(r"(?im)^[^#\n]*?(?:password|secret|token)\w*\s*[:=]\s*[\"']?([\w/+-].*)$", path.read_text())
        assert not [f for f in found if f not in ("itrialspace-database", "false", "true")], (path, found)
    ignored = (TOP / ".gitignore").read_text().split()
    assert {".env", "deploy/docker/settings.env", "deploy/docker/wheels/*.whl"} <= set(ignored)


def test_prepare_writes_what_compose_needs_and_nobody_else_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    script = tmp_path / "prepare"
    script.write_bytes((DEPLOY / "prepare").read_bytes())
    (tmp_path / "data/profiles").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s")
        env = {**os.environ, "ITS_DOCKER_SOCKET": str(tmp_path / "s")}
        done = subprocess.run(["sh", script, "data", "out"], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        refused = subprocess.run(["sh", script, "nowhere", "out"], env=env, capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and "expected DATA=" in refused.stderr
    written = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines())
    assert set(VALUES) <= set(written) and written["ITS_UID"] != "0" and len(written["ITS_PG_PASSWORD"]) == 48
    assert written["ITS_DATA"] == str(tmp_path / "data") and written["ITS_BIND"] == "127.0.0.1"
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0


def test_a_gpu_is_asked_of_docker_as_the_engine_reads_it() -> None:
    from docker.types import HostConfig

    host = HostConfig(version="1.41", **DOCKER_GPU_REQUEST)
    assert host["DeviceRequests"] == [
        {"Driver": "nvidia", "Count": -1, "DeviceIDs": [], "Capabilities": [["gpu"]], "Options": {}}
    ]
    assert host["ShmSize"] == 16 * 2**30 and host["Memory"] == 64 * 2**30


def test_conda_and_apptainer_take_the_same_lock() -> None:
    folder = TOP / "deploy/slurm"
    definition = (folder / "apptainer.def").read_text()
    files = re.search(r"%files\n((?: +.*\n)+)", definition)
    assert files and all((TOP / line.split()[0]).exists() for line in files[1].splitlines())
    assert "-c constraints.txt" in definition
    environment = yaml.safe_load((folder / "environment.yml").read_text())
    constraint, project = environment["dependencies"][-1]["pip"]
    assert (folder / constraint.split()[1]).samefile(TOP / "constraints.txt")
    place, _, additions = project.partition("[")
    assert (folder / place).samefile(TOP)
    known = set(importlib.metadata.metadata("itrialspace-assets").get_all("Provides-Extra") or [])
    assert set(additions.rstrip("]").split(",")) <= known
