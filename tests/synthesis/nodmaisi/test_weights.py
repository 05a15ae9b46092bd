"""Weights: faults are named before any work; the published networks have the published size."""

import json
from pathlib import Path

import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.synthesis import devices
from itrialspace_assets.synthesis.nodmaisi import render
from itrialspace_assets.synthesis.nodmaisi.networks import Architecture, build, load, parameters, read_architecture
from itrialspace_assets.synthesis.nodmaisi.weights import ARCHITECTURE, FILES, LOCK, find, lock, locked_hash
from itrialspace_assets.synthesis.renderers import weights_version

from .tiny import SCALE, TINY, settings_for, tiny_weights


def test_the_published_networks_have_the_size_of_the_published_files(capsys: pytest.CaptureFixture[str]) -> None:
    """docs/facts/synthesis.md#weights: 84 MB and 275 to 288 MB of single precision.

    180 of the ControlNet's 231 tensors have the UNet's shape.
    """
    count = parameters(Architecture())
    print(count)
    assert count["autoencoder"] * 4 == pytest.approx(84e6, rel=0.01)
    assert 275e6 <= count["controlnet"] * 4 <= 289e6
    _, unet, controlnet = (n.state_dict() for n in build(Architecture(), "meta"))
    assert len(controlnet) == 231
    assert sum(k in unet and unet[k].shape == v.shape for k, v in controlnet.items()) == 180


def test_an_architecture_travels_as_json(tmp_path: Path) -> None:
    tiny_weights(tmp_path)
    assert read_architecture(tmp_path / ARCHITECTURE) == TINY
    assert read_architecture(None) == Architecture()
    (tmp_path / ARCHITECTURE).write_text('{"legal": 3}')
    with pytest.raises(ConfigError, match=f"{ARCHITECTURE}: expected autoencoder, unet"):
        read_architecture(tmp_path / ARCHITECTURE)


def test_missing_files_are_named_with_where_they_belong(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"NODMAISI_MODELS_DIR is not set: expected a folder with autoencoder\.pt"):
        find(settings_for(tmp_path).model_copy(update={"nodmaisi_models_dir": None}))
    with pytest.raises(ConfigError, match="found none"):
        find(settings_for(tmp_path / "nowhere"))
    settings = tiny_weights(tmp_path)
    (tmp_path / FILES["controlnet"][0]).unlink()
    with pytest.raises(
        ConfigError, match=r"missing controlnet: Experiments_NoMAISI.*in the public MAISI set controlnet_3d_rflow-ct.pt"
    ):
        find(settings)


def test_the_version_of_weights_is_that_of_the_lock_whatever_they_are_used_for(tmp_path: Path) -> None:
    settings = tiny_weights(tmp_path)
    version = weights_version(settings, "nodmaisi")
    assert version == locked_hash(settings)
    other = settings.model_copy(update={"nodmaisi_schedule": "compat"})
    assert render.weights_hash(other) != render.weights_hash(settings)
    assert weights_version(other, "nodmaisi") == version
    path = tmp_path / FILES["autoencoder"][0]
    path.write_bytes(path.read_bytes() + b"x")
    assert weights_version(settings, "nodmaisi") == version, "until they are locked again"
    lock(settings)
    assert weights_version(settings, "nodmaisi") != version
    assert weights_version(settings, "tissue") is None
    with pytest.raises(ConfigError, match="expected one of tissue, nodmaisi, got 'other'"):
        weights_version(settings, "other")
    with pytest.raises(ConfigError, match="NODMAISI_MODELS_DIR is not set"):
        weights_version(settings.model_copy(update={"nodmaisi_models_dir": None}), "nodmaisi")


def test_weights_are_used_only_as_they_were_locked(tmp_path: Path) -> None:
    settings = tiny_weights(tmp_path)
    found = find(settings)
    assert found.sha256 == locked_hash(settings) and len(found.sha256) == 64
    (tmp_path / LOCK).unlink()
    with pytest.raises(ConfigError, match="its weights lock"):
        find(settings)
    lock(settings)
    assert find(settings) == found
    path = tmp_path / FILES["autoencoder"][0]
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ConfigError, match=r"autoencoder.pt: expected SHA-256 [0-9a-f]{64}.*got [0-9a-f]{64}"):
        find(settings)
    (tmp_path / LOCK).write_text('{"autoencoder": 3}')
    with pytest.raises(ConfigError, match="expected file and sha256 of each network"):
        locked_hash(settings)
    (tmp_path / LOCK).write_text('{"autoencoder": {"sha256": "a"}}')
    with pytest.raises(ConfigError, match="run `its weights lock`"):
        find(settings)


def spoil(path: Path, how: str) -> None:
    import torch

    content = torch.load(path, weights_only=True)
    state = content["controlnet_state_dict"]
    name = next(k for k in state if k.endswith("weight"))
    if how == "missing":
        del state[name]
    elif how == "unknown":
        state["stranger"] = torch.zeros(1)
    elif how == "misshapen":
        state[name] = state[name][:1]
    elif how == "no tensor":
        state[name] = 3
    elif how == "no part":
        content = {"unet": state}
    torch.save(content, path)


@pytest.mark.parametrize(
    "how, says",
    [
        ("missing", r"missing conv_in\.conv\.weight"),
        ("unknown", "unknown stranger"),
        ("misshapen", r"conv_in\.conv\.weight: expected \(8, 4, 3, 3, 3\), got \(1, 4, 3, 3, 3\)"),
        ("no tensor", "got None"),
        ("no part", "expected controlnet_state_dict in the checkpoint, got unet"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_with_its_keys(tmp_path: Path, how: str, says: str) -> None:
    settings = tiny_weights(tmp_path)
    spoil(tmp_path / FILES["controlnet"][0], how)
    lock(settings)
    for refuse in (lambda: load(find(settings), "cpu"), lambda: render.require_weights(settings)):
        with pytest.raises(ConfigError, match=says):
            refuse()


def test_what_is_no_checkpoint_says_so(tmp_path: Path) -> None:
    import torch

    settings = tiny_weights(tmp_path)
    path = tmp_path / FILES["autoencoder"][0]
    path.write_bytes(path.read_bytes()[:200])
    lock(settings)
    with pytest.raises(ConfigError, match=r"autoencoder\.pt: expected a PyTorch checkpoint"):
        load(find(settings), "cpu")
    torch.save([1, 2], path)
    lock(settings)
    with pytest.raises(ConfigError, match="expected a dictionary of tensors, got list"):
        load(find(settings), "cpu")


def test_a_scale_is_needed_and_read(tmp_path: Path) -> None:
    import torch

    settings = tiny_weights(tmp_path)
    assert load(find(settings), "cpu").scale_factor == pytest.approx(SCALE)
    path = tmp_path / FILES["diffusion_unet"][0]
    torch.save({"unet_state_dict": torch.load(path, weights_only=True)["unet_state_dict"]}, path)
    lock(settings)
    with pytest.raises(ConfigError, match="expected a positive scale_factor, got None"):
        load(find(settings), "cpu")


def test_an_unknown_argument_of_a_network_is_refused(tmp_path: Path) -> None:
    settings = tiny_weights(tmp_path)
    content = json.loads((tmp_path / ARCHITECTURE).read_text())
    content["unet"]["colour"] = "blue"
    (tmp_path / ARCHITECTURE).write_text(json.dumps(content))
    lock(settings)
    with pytest.raises(ConfigError, match=r"NodMAISI architecture: .*colour"):
        load(find(settings), "cpu")


def test_without_a_gpu_it_says_so_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    settings = tiny_weights(tmp_path, device="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    render.require_weights(settings)  # a planning step may run where there is no GPU
    with pytest.raises(ConfigError, match=r"ITRIALSPACE_DEVICE=cuda: expected a GPU.*ITRIALSPACE_DEVICE=cpu"):
        render.require_device(settings)
    render.require_device(settings.model_copy(update={"device": "cpu"}))


def test_workers_are_assigned_to_the_visible_gpus_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    settings = settings_for(tmp_path, device="cuda", per_gpu=3)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert render.workers(settings) == 6
    assert render.workers(settings.model_copy(update={"device": "cpu"})) == 1

    class Worker:
        _identity: tuple[int, ...] = ()

    worker = Worker()
    monkeypatch.setattr(devices.multiprocessing, "current_process", lambda: worker)
    assigned = []
    for number in range(1, 7):
        worker._identity = (number,)
        assigned.append(devices.assigned("cuda"))
    assert assigned == ["cuda:0", "cuda:1"] * 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert devices.turn_file("cuda:1").name.endswith("cuda-7.lock"), (
        "a turn belongs to the card, whatever it is called here"
    )
