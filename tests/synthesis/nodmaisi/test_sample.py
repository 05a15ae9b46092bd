"""Sampling with small random networks: steps, seeds, the embedding, memory, numbers that are none."""

import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.casework.cases import RETRYABLE
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.synthesis.nodmaisi import sample as module
from itrialspace_assets.synthesis.nodmaisi.networks import Architecture, Networks, build, load
from itrialspace_assets.synthesis.nodmaisi.prepare import Legal, Prepared, prepare
from itrialspace_assets.synthesis.nodmaisi.sample import sample, schedule
from itrialspace_assets.synthesis.nodmaisi.weights import find

from ...conftest import small_chest
from .tiny import TINY, tiny_weights

SEED = np.random.SeedSequence(5)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Networks:
    return load(find(tiny_weights(tmp_path_factory.mktemp("weights"))), "cpu")


@pytest.fixture(scope="module")
def chest() -> Prepared:
    return prepare(small_chest(), TINY.legal)


@pytest.mark.parametrize(
    "voxels, first, last, step, total",
    [
        (128 * 128 * 64, [1000, 989.5, 978, 966], [328.25, 260.75, 184.88, 98.69], 0.0987, 1.0088),
        (128 * 128 * 32, [1000, 986.5, 972.5, 958], [279.25, 218.75, 152.5, 79.94], 0.0799, None),
    ],
)
def test_the_steps_are_those_of_the_published_table(
    voxels: int, first: list[float], last: list[float], step: float, total: float | None
) -> None:
    """Table of docs/facts/synthesis.md#sampling-steps; the sum of the original's steps is from its text."""
    made = schedule(30, voxels, compat=True)
    times = [t for t, _ in made]
    assert times[:4] == first
    np.testing.assert_allclose(times[-4:], last, atol=0.005)
    assert made[-1][1] == pytest.approx(step, abs=5e-5)
    if total is not None:
        assert sum(s for _, s in made) == pytest.approx(total, abs=5e-5)
    assert sum(s for _, s in schedule(30, voxels, compat=False)) == pytest.approx(1.0, abs=1e-9)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(networks: Networks, chest: Prepared) -> None:
    first = sample(networks, chest, SEED)
    assert first.hu.shape == chest.labels.shape
    assert sample(networks, chest, SEED).hu.tobytes() == first.hu.tobytes()
    assert sample(networks, chest, np.random.SeedSequence(6)).hu.tobytes() != first.hu.tobytes()
    assert (first.hu[chest.labels == 0] == -1000).all()
    assert first.hu.min() >= -1000 and first.hu.max() <= 1000


def test_the_image_depends_on_the_map_and_the_steps(networks: Networks, chest: Prepared) -> None:
    first = sample(networks, chest, SEED).hu
    labels = chest.labels.copy()
    labels[20:26, 20:26, 10:14] = 23
    body = chest.labels > 0
    other = sample(networks, Prepared(labels, chest.spacing, chest.inside, None), SEED).hu
    assert np.abs(other - first)[body].max() > 5
    assert np.abs(sample(networks, chest, SEED, compat=True).hu - first)[body].max() > 0.1


def test_the_networks_are_told_spacing_class_and_time_as_published(networks: Networks, chest: Prepared) -> None:
    """docs/facts/synthesis.md#conditioning: spacing in mm times 100, class 1 for CT.

    The UNet is given the ControlNet's residuals at each time.
    """
    told: dict[str, list[Any]] = {"unet": [], "controlnet": []}
    hooks = [
        getattr(networks, name).register_forward_pre_hook(lambda _, a, k, to=to: to.append((a, k)), with_kwargs=True)
        for name, to in told.items()
    ]
    sample(networks, chest, SEED)
    for hook in hooks:
        hook.remove()
    times = [t for t, _ in schedule(TINY.steps, int(np.prod([n // 4 for n in chest.labels.shape])), compat=False)]
    for (arguments, named), (before, also), time in zip(told["unet"], told["controlnet"], times, strict=True):
        np.testing.assert_array_equal(named["spacing_tensor"], np.float32(chest.spacing[None] * 100))
        assert named["class_labels"].tolist() == also["class_labels"].tolist() == [1]
        assert arguments[1].tolist() == before[1].tolist() == [time]
        assert len(named["down_block_additional_residuals"]) > 2
        assert named["mid_block_additional_residual"].abs().sum() > 0
    first = told["controlnet"][0][0][0]
    np.testing.assert_array_equal(first, module.draw_noise(SEED, tuple(first.shape)))


def test_the_embedding_is_computed_once_and_is_the_one_that_the_controlnet_would_compute(
    networks: Networks, chest: Prepared
) -> None:
    import torch

    embed: Any = networks.controlnet.controlnet_cond_embedding
    count = []
    handle = embed.register_forward_hook(lambda *_: count.append(1))
    calls = []
    other = networks.controlnet.register_forward_hook(lambda *_: calls.append(1))
    made = sample(networks, chest, SEED).hu
    handle.remove()
    other.remove()
    assert (len(count), len(calls)) == (1, TINY.steps)
    assert networks.controlnet.controlnet_cond_embedding is embed, "the network is left as it was"

    def whole(self: Any, *a: Any) -> Any:  # as the original: the planes go in at each step
        planes = torch.from_numpy(module.bit_planes(chest.labels)[None]).float()
        return planes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_embedded", lambda n, labels: _Plain(whole(None)))
        np.testing.assert_allclose(sample(networks, chest, SEED).hu, made, atol=0.01)


class _Plain:
    def __init__(self, planes: Any) -> None:
        self.planes = planes

    def __enter__(self) -> Any:
        return self.planes

    def __exit__(self, *_: object) -> None: ...


def short_of_memory(networks: Networks, monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Let decoding of more than ``most`` latent voxels at once fail as on a full card; the sizes that were tried."""
    import torch

    whole: Any = networks.autoencoder.decode_stage_2_outputs
    tried: list[int] = []

    def decode(latent: torch.Tensor) -> torch.Tensor:
        tried.append(latent[0, 0].numel())
        if tried[-1] > most:
            held.append(weakref.ref(kept := torch.zeros(1000)))
            raise torch.OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {7 + 0 * kept.numel()} GiB\nmore lines"
            )
        return whole(latent)  # type: ignore[no-any-return]

    held: list[Any] = []
    monkeypatch.setattr(networks.autoencoder, "decode_stage_2_outputs", decode)
    monkeypatch.setattr(module, "_release", lambda networks: released.append(all(r() is None for r in held)))
    released.clear()
    return tried


#: Whether nothing of failed attempts was held any more, each time memory was given back.
released: list[bool] = []


def test_a_full_card_is_answered_by_the_next_smaller_window(
    networks: Networks, chest: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sample(networks, chest, SEED)
    assert whole.window == (32, 32, 20)
    tried = short_of_memory(networks, monkeypatch, 8 * 8 * 8)
    made = sample(networks, chest, SEED)
    assert made.window == (8, 8, 8)
    assert tried[0] == 12 * 12 * 8 and set(tried[1:]) == {8 * 8 * 8}
    assert released == [True, True]
    body = chest.labels > 0
    assert np.corrcoef(made.hu[body], whole.hu[body])[0, 1] > 0.9, "windows blend into about the same image"


def test_a_card_too_small_for_any_window_rejects_the_case_as_retryable(
    networks: Networks, chest: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = short_of_memory(networks, monkeypatch, 1)
    with pytest.raises(CaseRejected, match=r"Tried to allocate 7 GiB$") as refused:
        sample(networks, chest, SEED)
    assert refused.value.reason is Reason.OUT_OF_MEMORY
    assert refused.value.reason in RETRYABLE, "another time the card may be free"
    assert len(tried) == len(TINY.windows), "each once: bounded"
    assert released == [True, True, True], "what failed attempts computed is gone before the next worker's turn"


@pytest.mark.parametrize(
    "size, window, tried", [((12, 12, 8), (16, 16, 6), 12 * 12 * 8), ((12, 12, 8), (6, 16, 8), 6 * 12 * 8)]
)
def test_a_latent_is_decoded_at_once_if_its_voxels_fit_and_never_padded(
    networks: Networks,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int, int],
    window: tuple[int, int, int],
    tried: int,
) -> None:
    """docs/facts/synthesis.md#decoding: a single pass if the latent has no more voxels than the window."""
    import torch

    seen = short_of_memory(networks, monkeypatch, 10**9)
    with torch.inference_mode():
        module._decode_in(networks, torch.zeros(1, 4, *size), window)
    assert set(seen) == {tried}


def test_values_that_are_no_number_reject_the_case(
    networks: Networks, chest: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(
        networks.autoencoder,
        "decode_stage_2_outputs",
        lambda latent: torch.full((1, 1, *chest.labels.shape), float("nan")),
    )
    with pytest.raises(CaseRejected, match="no number") as refused:
        sample(networks, chest, SEED)
    assert refused.value.reason is Reason.IMPLAUSIBLE_HU


@pytest.mark.slow
def test_networks_of_the_published_width_compute_an_image() -> None:
    """Random weights, a map of 64 x 64 x 32 voxels and two steps: channels, norms and attention fit together."""
    import torch

    published = replace(Architecture(), legal=Legal((64,), (32,), 0.0), steps=2)
    made = build(published, "cpu")
    for network in made:
        network.eval().requires_grad_(False)
        for parameter in network.parameters():
            if not parameter.any():  # what training starts from: nothing would come through
                parameter.data.normal_(0, 0.02)
    autoencoder = made[0]
    next(reversed([m for m in autoencoder.decoder.modules() if isinstance(m, torch.nn.Conv3d)])).bias.data.fill_(0.5)  # type: ignore[union-attr]
    labels = np.zeros((32, 30, 26), np.uint8)
    labels[4:28, 4:26, 2:24] = 200
    prepared = prepare(Volume(np.asfortranarray(labels), np.eye(4)), published.legal)
    image = sample(Networks(*made, 1.03, published, torch.device("cpu")), prepared, SEED)
    assert image.hu.shape == (64, 64, 32) and image.window == published.windows[0]
    inside = image.hu[prepared.labels > 0]
    assert np.isfinite(inside).all() and inside.std() > 0 and abs(inside.mean()) < 900
