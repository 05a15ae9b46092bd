"""Every setting reaches every process, whatever its environment says; secrets do not travel."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from itrialspace_assets import drive
from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.base.settings import Settings, freeze, load_settings
from itrialspace_assets.casework.steps import Result
from itrialspace_assets.cli.serve import child_environment
from itrialspace_assets.profiles import build
from itrialspace_assets.resources.workspace import Workspace, failure

SECRETS = {"hf_token", "webhook"}
PACKAGE = Path(__file__).parents[2] / "itrialspace_assets"


@pytest.fixture
def values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A value that is not the default for every setting, with the files that they name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    for folder in ("data/profiles", "trials", "studies", "weights"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "data/profiles/LUNA25_nodule_profiles.csv").write_text("")
    (tmp_path / "datasets.yaml").write_text("datasets: {}\n")
    (tmp_path / "readers.yaml").write_text("readers: {}\n")
    text = (PACKAGE / "trials/modes/m02_size_detection_curve.yaml").read_text()
    text = text.replace("mode: m02_size_detection_curve", "mode: x_mine").replace("size_detection_curve", "mine")
    (tmp_path / "trials/x_mine.yaml").write_text(text)
    study = (PACKAGE / "analysis/protocol/studies/demo.yaml").read_text()
    (tmp_path / "studies/mine.yaml").write_text(study.replace("study: demo", "study: mine"))
    (tmp_path / "cases.txt").write_text("real/LUNA16/1\n")
    return {
        "data_dir": tmp_path / "data",
        "output_dir": tmp_path / "out",
        "datasets_config": tmp_path / "datasets.yaml",
        "readers_config": tmp_path / "readers.yaml",
        "weights_dir": tmp_path / "readers",
        "trials_dir": tmp_path / "trials",
        "studies_dir": tmp_path / "studies",
        "study": "mine",
        "split": "mine_v2",
        "size": "paper",
        "overrides": "cohort.n_cases=8; cohort.donors.max_uses=2",
        "relax": True,
        "renderers": "tissue,nodmaisi",
        "masks": "delta",
        "placement": "compat",
        "cts": "slices",
        "profiles": "lung_axial,lung_axial_medgemma",
        "z_offsets": "-1,0,1",
        "conditions": "plain,bbox",
        "controls": "blank,box_only",
        "workers": 7,
        "device": "cpu",
        "per_gpu": 5,
        "nodmaisi_schedule": "compat",
        "executor": "multiprocess",
        "slurm_partition": "cpu",
        "slurm_gpu_partition": "vram48",
        "slurm_account": "lab",
        "slurm_options": "--qos=long",
        "automation": "on",
        "layouts": "UMAP_2D",
        "log": "json",
        "docker_image": "itrialspace-cpu:1",
        "docker_network": "inner",
        "docker_volumes": "data:/data:ro,out:/out",
        "docker_env": "MY_KEY",
        "k8s_gpu_nodes": "gpu=a100",
        "shards": 3,
        "batch": 5,
        "case_ids": tmp_path / "cases.txt",
        "max_cases": 9,
        "ask": False,
        "seed": 4711,
        "max_rejected": 0.25,
        "nodmaisi_models_dir": tmp_path / "weights",
        "fid_weights": tmp_path / "fid.pt",
        "hf_token": SecretStr("hf_secret"),
        "webhook": SecretStr("http://hf_hook"),
    }


def differences(found: Settings, wanted: Settings) -> dict[str, tuple[Any, Any]]:
    return {
        name: (getattr(found, name), getattr(wanted, name))
        for name in Settings.model_fields
        if name not in SECRETS and getattr(found, name) != getattr(wanted, name)
    }


@pytest.fixture
def settings(values: dict[str, Any]) -> Settings:
    settings = load_settings(**values)
    assert set(values) == set(Settings.model_fields), "a new setting needs a value here"
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        assert getattr(settings, name) != default, f"{name}: the value here is the default"
    return settings


def test_every_setting_survives_the_workspace(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace.of(settings)
    for name in ("SEED", "SIZE", "MASKS", "TRIALS_DIR"):
        monkeypatch.setenv(f"ITRIALSPACE_{name}", "")
    monkeypatch.setenv("ITRIALSPACE_SEED", "1")
    assert differences(workspace.settings(), settings) == {}
    assert workspace.settings(size="demo").size == "demo"
    with pytest.raises(ConfigError, match="ITRIALSPACE_SIZE"):
        workspace.settings(size="huge")


def test_secrets_are_not_in_the_dump(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    dump = Workspace.of(settings).dump
    assert "hf_" not in dump
    assert set(json.loads(dump)) == set(Settings.model_fields) - SECRETS
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    token = Workspace.of(settings).settings().hf_token
    assert token is not None
    assert token.get_secret_value() == "hf_other", "each process reads its own"


def test_every_setting_survives_the_environment_of_a_child(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ITRIALSPACE_SEED=1\nITRIALSPACE_MASKS=nifti\n")
    code = (
        "import json; from itrialspace_assets.base.settings import freeze, load_settings; "
        "print(json.dumps(freeze(load_settings())))"
    )
    environment = child_environment(settings)
    assert "hf_secret" not in environment.values()
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert json.loads(done.stdout) == freeze(settings)


def test_every_setting_reaches_a_driven_run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Settings] = []

    def stub(given: Settings, partition: dict[str, str]) -> Result:
        seen.append(given)
        return Result()

    monkeypatch.setattr(build, "build", stub)
    monkeypatch.setattr("itrialspace_assets.profiles.checks.checks", lambda *_: [])
    monkeypatch.setenv("ITRIALSPACE_SEED", "1")
    choice = drive.choose(settings, "x_mine", "LUNA25", "profiles", None)
    assert not drive.drive(settings, choice)
    assert len(seen) == 1
    assert differences(seen[0], settings) == {}


def test_a_platform_error_is_a_failure_that_is_not_retried() -> None:
    found = failure(TableError("what"))
    assert isinstance(found, dg.Failure)
    assert (found.description, found.allow_retries) == ("what", False)
    assert found.metadata["kind"].value == "TableError"
