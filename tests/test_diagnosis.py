"""What ``its doctor`` finds."""

import os
import time
from pathlib import Path

import pytest

from itrialspace_assets import diagnosis
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.diagnosis import findings


def found(settings: Settings, **environment: str) -> dict[str, diagnosis.PartState]:
    return {f.part: f for f in findings(settings, environment)}


def test_a_small_root_is_ready(settings: Settings) -> None:
    parts = found(settings, ITRIALSPACE_DATA_DIR="x", PATH="/bin")
    assert {p: f.state for p, f in parts.items() if f.state == "wrong"} == {}
    assert parts["data root"].seen == f"{settings.data}, procedural anatomy"
    assert {"clock", "executor in_process", "renderer tissue", "reader blob"} <= set(parts)


def test_each_fault_is_named_with_what_mends_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(diagnosis, "LEAST_FREE_GIB", 1e9)
    wrong = load_settings(
        data_dir=settings.data.parent / "none",
        output_dir=settings.output,
        executor="slurm",
        renderers="tissue,nodmaisi",
    )
    parts = found(wrong, ITRIALSPACE_WORKER="3")
    states = {p: f for p, f in parts.items() if f.state == "wrong"}
    assert set(states) == {
        "variable ITRIALSPACE_WORKER",
        "data root",
        "disk of the outputs",
        "executor slurm",
        "renderer nodmaisi",
    }
    assert states["variable ITRIALSPACE_WORKER"].fix == "did you mean ITRIALSPACE_WORKERS?"
    assert "sbatch" in states["executor slurm"].seen
    assert "NODMAISI_MODELS_DIR is not set" in states["renderer nodmaisi"].seen
    assert parts["GPU"].state == "absent"


def test_a_clock_that_is_off_is_found(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 60)
    assert found(settings)["clock"].state == "wrong"
    assert "-60" in found(settings)["clock"].seen


def test_a_folder_that_cannot_be_written_is_found(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    parts = found(load_settings(data_dir=settings.data, output_dir=tmp_path / "file" / "out"))
    assert parts["data root"].state == "wrong"
    assert "file" in parts["data root"].seen


@pytest.mark.parametrize(("answer", "state"), [("echo 'NVIDIA H100, 81559 MiB'", "ready"), ("exit 9", "wrong")])
def test_a_gpu_is_asked_for_by_name(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, state: str
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert found(settings)["GPU"].state == state
