"""Manifests and jobs for Kubernetes against its schema; dagster-k8s against a stand-in for the API server."""

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.execution.api import create_execution_plan
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher.base import LaunchRunContext, WorkerStatus
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._grpc.types import ExecuteStepArgs

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.definitions import build_definitions, executor_of, require_package
from itrialspace_assets.orchestration.op_tags import DEADLINE_S, DOCKER, GPU_TOLERATION

from ..support.kubernetes_api import VERSION, Cluster, served

DEPLOY = Path(__file__).parents[2] / "deploy/k8s"


def manifests() -> list[dict[str, Any]]:
    return [m for file in ("platform.yaml", "servers.yaml") for m in yaml.safe_load_all((DEPLOY / file).read_text())]


def instance_config() -> dict[str, Any]:
    (config,) = [m["data"] for m in manifests() if m["metadata"]["name"] == "itrialspace-instance"]
    return yaml.safe_load(config["dagster.yaml"])


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for manifest in manifests():
        if manifest["kind"] == "Deployment":
            yield manifest["metadata"]["name"], manifest["spec"]["template"]["spec"]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path, fate=lambda body, before: "vanishes")
    with served(made):
        yield made


@pytest.fixture
def instance(cluster: Cluster, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """The instance of the manifests, with its history in a folder and the stand-in for a cluster."""
    launcher = instance_config()["run_launcher"]
    launcher["config"] |= {
        "load_incluster_config": False,
        "kubeconfig_file": str(cluster.folder / "kubeconfig"),
        "job_image": "itrialspace-cpu",
    }
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(yaml.safe_dump({"run_launcher": launcher, "telemetry": {"enabled": False}}))
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home))) as made:
        yield made


def safe(pod: dict[str, Any]) -> None:
    """Not root, no rights to gain, files of the image not to be changed, inputs read-only."""
    assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True and context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
        mounts = {m["mountPath"]: m for m in container["volumeMounts"]}
        assert all(mounts[path]["readOnly"] for path in ("/data", "/weights") if path in mounts)
        assert "/tmp" in mounts


def test_manifests_are_what_kubernetes_knows() -> None:
    from kubernetes_validate import ValidationError, validate

    found = manifests()
    for manifest in found:
        validate(manifest, VERSION, strict=True)
    assert {m["kind"] for m in found} >= {"Namespace", "PersistentVolumeClaim", "ConfigMap", "Deployment", "Role"}
    assert "Secret" not in {m["kind"] for m in found}, "secrets are made by hand"
    misspelt = copy.deepcopy(next(m for m in found if m["kind"] == "Deployment"))
    misspelt["spec"]["template"]["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(ValidationError, match="volumeMount"):
        validate(misspelt, VERSION, strict=True)


def test_every_pod_is_confined_and_has_what_it_names() -> None:
    named = {(m["kind"], m["metadata"]["name"]) for m in manifests()}
    for name, pod in pods():
        safe(pod)
        volumes = {v["name"]: v for v in pod["volumes"]}
        for container in pod["containers"]:
            assert {m["name"] for m in container["volumeMounts"]} == set(volumes), name
            for source in container.get("envFrom", []):
                assert ("ConfigMap", source["configMapRef"]["name"]) in named
            for variable in container.get("env", []):
                if "PASSWORD" in variable["name"]:
                    assert variable["valueFrom"]["secretKeyRef"]["name"] == "itrialspace-database"
        for volume in volumes.values():
            if claim := volume.get("persistentVolumeClaim"):
                assert ("PersistentVolumeClaim", claim["claimName"]) in named
    mounted = {name: {m["mountPath"] for c in pod["containers"] for m in c["volumeMounts"]} for name, pod in pods()}
    assert not any("/data" in mounted[f"itrialspace-{n}"] for n in ("webserver", "daemon"))


@pytest.mark.slow
def test_every_step_of_the_graph_becomes_a_job_that_kubernetes_knows(
    instance: dg.DagsterInstance, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = tmp_path / "readers.yaml"
    readers.write_text("readers: {blob_gpu: {kind: blob, location: gpu, options: {threshold_hu: 300, marks: 5}}}")
    settings = load_settings(
        data_dir=tmp_path / "data",
        executor="k8s",
        readers_config=readers,
        renderers="tissue,nodmaisi",
        k8s_gpu_nodes="gpu=a100",
    )
    steps = create_execution_plan(build_definitions(settings=settings).resolve_implicit_global_asset_job_def())
    launch, _ = steps_of(instance, executor_of(settings), monkeypatch)
    kinds = {tuple(sorted(step.tags.items())): step for step in steps.step_dict.values()}  # jobs of a kind are equal
    asking = []
    for step in kinds.values():
        launch(step.key, step.tags)
        (job,) = cluster.bodies[-1:]
        spec, pod = job["spec"], job["spec"]["template"]["spec"]
        safe(pod)
        assert spec["backoffLimit"] == 0 and spec["activeDeadlineSeconds"] == DEADLINE_S
        assert {r["action"] for r in spec["podFailurePolicy"]["rules"]} == {"FailJob"}
        assert pod["restartPolicy"] == "Never" and pod["automountServiceAccountToken"] is False
        (container,) = pod["containers"]
        asks = "nvidia.com/gpu" in container["resources"]["limits"]
        assert asks == (step.tags.get("itrialspace/location") == "gpu") == (DOCKER in step.tags)
        assert asks == ("/dev/shm" in {m["mountPath"] for m in container["volumeMounts"]})
        assert pod.get("nodeSelector") == ({"gpu": "a100"} if asks else None)
        assert pod.get("tolerations") == ([GPU_TOLERATION] if asks else None)
        asking += [step.tags["itrialspace/stage"]] if asks else []
    assert len(cluster.bodies) == len(kinds) > 10
    assert sorted(asking) == ["read", "synthesise"]


def steps_of(
    instance: dg.DagsterInstance, executor: dg.ExecutorDefinition, monkeypatch: pytest.MonkeyPatch
) -> tuple[Callable[[str, Mapping[str, str]], Any], Any]:
    """The executor's own code that makes a step's job, and itself, without a run around it."""
    config = executor.apply_config_mapping({"config": {}}).value["config"]
    init = SimpleNamespace(instance=instance, executor_config=config)
    handler = executor.executor_creation_fn(init)._step_handler
    monkeypatch.setattr("dagster_k8s.executor.DagsterEvent.step_worker_starting", lambda *a, **k: None)
    monkeypatch.setattr("dagster_k8s.executor.DagsterEvent.engine_event", lambda *a, **k: None)
    origin = origin_of("cpu")
    run = dg.DagsterRun(job_name="pair_job", job_code_origin=origin)

    def launch(key: str, tags: Mapping[str, str]) -> Any:
        args = ExecuteStepArgs(
            job_origin=origin,
            run_id=run.run_id,
            step_keys_to_execute=[key],
            instance_ref=instance.get_ref(),
            retry_mode=None,
            known_state=None,
            should_verify_step=True,
            print_serialized_events=False,
        )
        step = SimpleNamespace(step=SimpleNamespace(op_name=key))
        context = SimpleNamespace(
            instance=instance,
            dagster_run=run,
            execute_step_args=args,
            step_tags={key: tags},
            get_step_context=lambda _: step,
        )
        list(handler.launch_step(context))
        return context

    return launch, handler


def origin_of(location: str) -> JobPythonOrigin:
    pointer = ModuleCodePointer(f"itrialspace_assets.locations.{location}", "defs", None)
    place = RepositoryPythonOrigin("python", pointer, f"itrialspace-{location}", ["dagster"], {})
    return JobPythonOrigin("pair_job", place)


@pytest.mark.slow
def test_the_executor_watches_and_ends_the_jobs_of_steps(
    instance: dg.DagsterInstance, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch, handler = steps_of(instance, executor_of(load_settings(executor="k8s")), monkeypatch)
    wrong = {"dagster-k8s/config": json.dumps({"container_config": {"resources": {"limit": {"cpu": "1"}}}})}
    with pytest.raises(Exception, match=r"Unexpected keys in model class V1ResourceRequirements: {'limit'}"):
        launch("misspelt", wrong)
    assert not cluster.bodies
    cluster.fate = lambda body, before: ("waits", "fails", "vanishes")[before]
    waits, fails, vanishes = (launch(key, {}) for key in "abc")
    assert handler.check_step_health(waits).is_healthy
    assert "Discovered failed Kubernetes job" in handler.check_step_health(fails).unhealthy_reason
    assert "could not be found" in handler.check_step_health(vanishes).unhealthy_reason
    list(handler.terminate_step(waits))
    assert "could not be found" in handler.check_step_health(waits).unhealthy_reason
    assert cluster.asked <= allowed()


def allowed() -> set[tuple[str, str, str]]:
    """What the role allows, as (verb, API group, resource)."""
    (role,) = [m for m in manifests() if m["kind"] == "Role"]
    return {a for rule in role["rules"] for a in product(rule["verbs"], rule["apiGroups"], rule["resources"])}


@pytest.mark.slow
def test_a_run_is_launched_watched_and_ended_within_the_role(
    instance: dg.DagsterInstance, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.fate = lambda body, before: "waits" if before == 0 else "fails"
    origin = origin_of("gpu")
    job = dg.GraphDefinition(name="empty").to_job()
    first, second = (
        instance.create_run_for_job(job, job_code_origin=origin, status=dg.DagsterRunStatus.STARTED) for _ in range(2)
    )
    launcher = instance.run_launcher
    for run in (first, second):
        launcher.launch_run(LaunchRunContext(run, workspace=None))
    body = cluster.bodies[0]["spec"]["template"]["spec"]
    safe(body)
    assert body["containers"][0]["image"] == "itrialspace-gpu" and body["serviceAccountName"] == "itrialspace-runs"
    assert body["automountServiceAccountToken"] is True, "it makes the jobs of steps"
    assert launcher.check_run_worker_health(first).status == WorkerStatus.RUNNING
    assert launcher.check_run_worker_health(second).status == WorkerStatus.FAILED
    assert launcher.terminate(first.run_id)
    assert not launcher.terminate(first.run_id), "it is gone"
    assert cluster.asked >= {("create", "batch", "jobs"), ("delete", "batch", "jobs"), ("delete", "", "pods")}
    assert cluster.asked <= allowed()


def test_settings_and_packages_that_lack_something_say_so() -> None:
    with pytest.raises(ConfigError, match=r"K8S_GPU_NODES: expected label=value, got 'a100'"):
        assert load_settings(k8s_gpu_nodes="gpu=yes, a100").k8s_gpu_labels
    with pytest.raises(ConfigError, match=r"expected the package no_such, found none; pip install .*\[k8s\]"):
        require_package("no_such", "k8s")


def test_helm_values_name_what_the_manifests_have_and_confine_every_pod() -> None:
    values = yaml.safe_load((DEPLOY / "values.yaml").read_text())
    named = {(m["kind"], m["metadata"]["name"]) for m in manifests()}
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    deployed = values["dagster-user-deployments"]["deployments"]
    for part in (*deployed, launcher):
        assert [("ConfigMap", c["name"]) in named for c in part["envConfigMaps"]] == [True]
        for volume in part["volumes"]:
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            assert claim is None or ("PersistentVolumeClaim", claim) in named
    for part in (*deployed, values["dagsterWebserver"], values["dagsterDaemon"]):
        container = {"securityContext": part["securityContext"], "resources": part["resources"]}
        safe(
            {
                "securityContext": part["podSecurityContext"],
                "containers": [container | {"volumeMounts": part["volumeMounts"]}],
            }
        )
    config = instance_config()["run_launcher"]["config"]
    run = launcher["runK8sConfig"]
    pod = {"securityContext": run["podSpecConfig"]["securityContext"]}
    safe(pod | {"containers": [run["containerConfig"] | {"volumeMounts": launcher["volumeMounts"]}]})
    assert run["containerConfig"]["resources"] == config["run_k8s_config"]["container_config"]["resources"]
    assert values["global"]["postgresqlSecretName"] == config["postgres_password_secret"]
    assert values["dagsterWebserver"]["service"]["type"] == "ClusterIP"
    assert [d["dagsterApiGrpcArgs"][-1].rpartition(".")[2] for d in deployed] == ["cpu", "gpu"]
    locked = (DEPLOY.parents[1] / "constraints.txt").read_text()
    assert all(
        f"dagster=={v}\n" in locked for v in re.findall(r"--version ([\d.]+)", (DEPLOY / "README.md").read_text())
    )
