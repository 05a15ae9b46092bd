"""What models of the published sizes take on a GPU: images a second, seconds a volume, memory. Weights are random.

One script of at most eight minutes. Each part has a time box; a part that fails is written as its error and the others
go on. The JSON is written again after each part, so that nothing is lost where the machine is taken away. Besides speed
it checks that small models and small networks give the same on the processor and on the GPU. Models are built on the
GPU in their own precision, because random numbers for seven billion weights take minutes on a processor.

    python -m bench.gpu OUT.json [--tiny] [--parts agreement,biomedclip,...] [--seconds 460]

``--tiny`` runs every part with small shapes, on the processor where there is no GPU: a test of the script itself.
"""

import argparse
import gc
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

#: Most seconds of each part, in the order in which they run.
PARTS = {"agreement": 60, "biomedclip": 40, "retinanet": 60, "nodmaisi": 150, "medgemma": 100, "llava": 70}
#: Seconds that repeats of one measurement may take, and how many there are at least and at most.
REPEAT_S, LEAST, MOST = 3.0, 3, 30
PACKAGES = ("torch", "torchvision", "transformers", "timm", "open_clip_torch", "monai", "numpy", "flash_attn")
GIB = 2**30


class Bench:
    """The device, the sizes, and what was measured so far."""

    def __init__(self, out: Path, tiny: bool) -> None:
        self.out, self.tiny = out, tiny
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        if self.device == "cpu" and not tiny:
            raise SystemExit("bench.gpu: expected a GPU that torch can use, found none; --tiny runs without one")
        self.half = torch.bfloat16
        self.found: dict[str, Any] = {
            "device": torch.cuda.get_device_name() if self.device == "cuda" else platform.processor() or "cpu",
            "gpu_gib": round(torch.cuda.get_device_properties(0).total_memory / GIB, 1)
            if self.device == "cuda"
            else None,
            "driver": _driver(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "versions": {name: _version(name) for name in PACKAGES},
            "weights": "random",
            "sizes": "tiny" if tiny else "as published",
            "parts": {},
        }

    def write(self) -> None:
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_text(json.dumps(self.found, indent=1, allow_nan=False) + "\n")

    def note(self, found: dict[str, Any], name: str, value: Any) -> None:
        """Add a measurement to a part, and say and keep it at once."""
        found[name] = value
        print(f"  {name}: {json.dumps(value)}", flush=True)
        self.write()

    def wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def clear(self) -> None:
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak(self) -> float | None:
        """GiB that tensors took at most since the last ``clear``; None without a GPU."""
        return round(torch.cuda.max_memory_allocated() / GIB, 3) if self.device == "cuda" else None

    def seconds(self, call: Callable[[], Any]) -> float:
        """Median seconds of a call after one to warm up."""
        call()
        self.wait()
        times: list[float] = []
        while len(times) < LEAST or (sum(times) < REPEAT_S and len(times) < MOST):
            started = time.perf_counter()
            call()
            self.wait()
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    def once(self, call: Callable[[], Any]) -> tuple[float, Any]:
        started = time.perf_counter()
        got = call()
        self.wait()
        return round(time.perf_counter() - started, 3), got

    def rate(self, call: Callable[[], Any], images: int) -> dict[str, Any]:
        """Images a second, seconds a call and peak memory of a call over so many images; or that memory fell short."""
        self.clear()
        try:
            seconds = self.seconds(call)
        except torch.OutOfMemoryError as error:
            self.clear()
            return {"error": f"out of memory: {str(error).splitlines()[0]}"}
        return {"images_per_s": round(images / seconds, 2), "seconds": round(seconds, 4), "peak_gib": self.peak()}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _driver() -> str | None:
    path = Path("/proc/driver/nvidia/version")
    return path.read_text().splitlines()[0] if path.is_file() else None


# --- the models


def clip_model(tiny: bool) -> tuple[Any, str, int, int, int]:
    """BiomedCLIP's shape: image tower ViT-B/16 of 224 px, text tower BERT-base of 256 tokens, 512 features.

    Returns:
        The model, the library that built it, pixels of an image, tokens of a text, and words that it knows.
    """
    import timm
    from transformers import BertConfig, BertModel

    width, layers, words, tokens, features = (64, 2, 99, 16, 32) if tiny else (768, 12, 30522, 256, 512)
    image = "vit_tiny_patch16_224" if tiny else "vit_base_patch16_224"
    text = BertConfig(
        vocab_size=words,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64 if not tiny else 2,
        intermediate_size=4 * width,
        max_position_embeddings=2 * tokens,
    )
    if importlib.util.find_spec("open_clip") is not None:
        from open_clip.model import CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP

        with tempfile.TemporaryDirectory() as folder:
            text.save_pretrained(folder)
            made: Any = CustomTextCLIP(
                features,
                CLIPVisionCfg(timm_model_name=image, timm_pool="", timm_proj="linear", image_size=224),
                CLIPTextCfg(
                    hf_model_name=folder,
                    hf_model_pretrained=False,
                    hf_pooler_type="cls_last_hidden_state_pooler",
                    context_length=tokens,
                ),
            )
        return made.eval(), "open_clip", 224, tokens, words

    class Towers(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image = timm.create_model(image, num_classes=features)
            self.text = BertModel(text, add_pooling_layer=False)
            self.project = torch.nn.Linear(width, features, bias=False)

        def encode_image(self, pixels: torch.Tensor, normalize: bool = False) -> torch.Tensor:
            return torch.nn.functional.normalize(self.image(pixels), dim=-1)

        def encode_text(self, ids: torch.Tensor, normalize: bool = False) -> torch.Tensor:
            states = self.text(ids).last_hidden_state[:, 0]
            return torch.nn.functional.normalize(self.project(states), dim=-1)

    return Towers().eval(), "timm and transformers (no open_clip here)", 224, tokens, words


def gemma_model(tiny: bool, dtype: torch.dtype) -> Any:
    """MedGemma's shape: Gemma 3 of 4 billion weights, SigLIP of 896 px, 256 tokens an image."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3TextConfig, SiglipVisionConfig

    text = Gemma3TextConfig(
        vocab_size=512 if tiny else 262208,
        hidden_size=64 if tiny else 2560,
        intermediate_size=128 if tiny else 10240,
        num_hidden_layers=2 if tiny else 34,
        num_attention_heads=2 if tiny else 8,
        num_key_value_heads=1 if tiny else 4,
        head_dim=32 if tiny else 256,
        sliding_window=1024,
    )
    vision = SiglipVisionConfig(
        hidden_size=32 if tiny else 1152,
        intermediate_size=64 if tiny else 4304,
        num_hidden_layers=2 if tiny else 27,
        num_attention_heads=2 if tiny else 16,
        image_size=56 if tiny else 896,
        patch_size=14,
        vision_use_head=False,
    )
    at = 508 if tiny else 255999
    config = Gemma3Config(
        text_config=text.to_dict(),
        vision_config=vision.to_dict(),
        mm_tokens_per_image=4 if tiny else 256,
        boi_token_index=at,
        eoi_token_index=at + 1,
        image_token_index=at + 2 if tiny else 262144,
    )
    return Gemma3ForConditionalGeneration._from_config(config, attn_implementation="sdpa", dtype=dtype).eval()


def llava_model(tiny: bool, dtype: torch.dtype, attention: str) -> Any:
    """LLaVA-Med 1.5's shape: CLIP ViT-L/14 of 336 px and Mistral of 7 billion weights, 576 tokens an image."""
    from transformers import CLIPVisionConfig, LlavaConfig, LlavaForConditionalGeneration, MistralConfig

    text = MistralConfig(
        vocab_size=512 if tiny else 32064,
        hidden_size=64 if tiny else 4096,
        intermediate_size=128 if tiny else 14336,
        num_hidden_layers=2 if tiny else 32,
        num_attention_heads=2 if tiny else 32,
        num_key_value_heads=1 if tiny else 8,
    )
    vision = CLIPVisionConfig(
        hidden_size=32 if tiny else 1024,
        intermediate_size=64 if tiny else 4096,
        num_hidden_layers=3 if tiny else 24,
        num_attention_heads=2 if tiny else 16,
        image_size=56 if tiny else 336,
        patch_size=14,
    )
    config = LlavaConfig(
        vision_config=vision.to_dict(),
        text_config=text.to_dict(),
        image_token_index=511 if tiny else 32000,
        image_seq_length=16 if tiny else 576,
    )
    return LlavaForConditionalGeneration._from_config(config, attn_implementation=attention, dtype=dtype).eval()


def prompt(model: Any, images: int, batch: int, words: int, device: str) -> dict[str, Any]:
    """Inputs of a batch of prompts: images one after another, then the words of a question."""
    config = model.config
    gemma = config.model_type == "gemma3"
    tokens = config.mm_tokens_per_image if gemma else config.image_seq_length
    one = [config.image_token_index] * tokens
    if gemma:
        one = [config.boi_token_index, *one, config.eoi_token_index]
    draw = np.random.default_rng(7)
    ids = [1, *one * images, *draw.integers(2, 100, words).tolist()]
    size = config.vision_config.image_size
    pixels = draw.standard_normal((batch * images, 3, size, size), dtype=np.float32)
    made: dict[str, Any] = {
        "input_ids": torch.tensor([ids] * batch, device=device),
        "attention_mask": torch.ones(batch, len(ids), dtype=torch.long, device=device),
        "pixel_values": torch.from_numpy(pixels).to(device, next(model.parameters()).dtype),
    }
    if gemma:
        made["token_type_ids"] = (made["input_ids"] == config.image_token_index).long()
    return made


def first_token(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """Log-probabilities (prompts, vocabulary) of the first token of an answer."""
    with torch.inference_mode():
        return torch.log_softmax(model(**inputs, logits_to_keep=1, use_cache=False).logits[:, -1].float(), dim=-1)


def chat_rates(
    bench: Bench, found: dict[str, Any], model: Any, images: tuple[int, ...], batches: tuple[int, ...]
) -> None:
    """Adds rates of first-token scores by images of a prompt and prompts of a batch."""
    found["parameters"] = _count(model)
    for count in images:
        for batch in batches:
            inputs = prompt(model, count, batch, 64, bench.device)
            measured = bench.rate(partial(first_token, model, inputs), batch * count)
            if "seconds" in measured:
                measured["prompts_per_s"] = round(batch / measured["seconds"], 2)
            measured["tokens"] = inputs["input_ids"].shape[1]
            bench.note(found, f"{count} images a prompt, {batch} prompts", measured)
            if "error" in measured:
                break
    scores = first_token(model, prompt(model, 1, 1, 8, bench.device))
    found["finite"] = bool(torch.isfinite(scores).all())


# --- the parts


def biomedclip(bench: Bench, found: dict[str, Any]) -> None:
    for name, dtype in (("float32", torch.float32), ("bfloat16", bench.half)):
        torch.manual_seed(0)
        with torch.device(bench.device):
            model, library, pixels, tokens, words = clip_model(bench.tiny)
        model = model.to(bench.device, dtype)
        found |= {"library": library, "parameters": _count(model)}
        with torch.inference_mode():
            for batch in (2,) if bench.tiny else (1, 64, 256):
                images = torch.randn(batch, 3, pixels, pixels, device=bench.device, dtype=dtype)
                bench.note(found, f"{name}, {batch} images", bench.rate(partial(model.encode_image, images), batch))
            ids = torch.randint(1, words, (11, tokens), device=bench.device)
            found[f"{name}, 11 texts"] = {"seconds": round(bench.seconds(partial(model.encode_text, ids)), 4)}
        del model
        bench.clear()


def retinanet(bench: Bench, found: dict[str, Any]) -> None:
    from itrialspace_assets.readers.detector import network

    shape, window = ((48, 48, 32), (32, 32, 24)) if bench.tiny else ((512, 512, 256), network.WINDOW)
    torch.manual_seed(0)
    net = network.build(bench.device)
    detector = network.detector(net, window)
    image = torch.rand(1, *shape, device=bench.device)
    found |= {"voxels": list(shape), "window": list(window), "parameters": _count(net)}
    for name, half in (("float16", True), ("float32", False)):
        if half and bench.device == "cpu":
            continue
        bench.clear()

        def read(half: bool = half) -> Any:
            with torch.inference_mode(), torch.autocast(bench.device, torch.float16, enabled=half):
                return detector([image], use_inferer=True)

        first, _ = bench.once(read)
        again, boxes = bench.once(read)
        measured = {"first_volume_s": first, "volume_s": again, "peak_gib": bench.peak(), "boxes": len(boxes[0]["box"])}
        bench.note(found, name, measured)


def _count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _nodmaisi(tiny: bool) -> Any:
    """The published networks' arguments, or small ones of the same kinds."""
    from itrialspace_assets.synthesis.nodmaisi.networks import Architecture
    from itrialspace_assets.synthesis.nodmaisi.prepare import Legal

    full = Architecture()
    if not tiny:
        return full
    small = {
        "num_channels": [32, 64],
        "num_res_blocks": 1,
        "attention_levels": [False, True],
        "num_head_channels": [0, 32],
    }
    return replace(
        full,
        autoencoder=full.autoencoder | {"num_channels": [32, 32, 32], "num_res_blocks": [1, 1, 1], "num_splits": 1},
        unet=full.unet | small,
        controlnet=full.controlnet | small,
        legal=Legal((48, 64), (32, 48), 0.0),
        steps=3,
        windows=((8, 8, 8), (8, 8, 4)),
    )


def chest(shape: tuple[int, int, int], spacing: float, lesion: tuple[float, float, float] | None = None) -> Any:
    """A label map: body, two lungs, spine; and a nodule of 12 mm where ``lesion`` (shares of the edges) says."""
    from itrialspace_assets.imaging.geometry import Volume

    grid = [np.linspace(-1, 1, n, dtype=np.float32) for n in shape]
    x, y, z = np.ix_(*grid)
    labels = np.zeros(shape, np.uint8)
    labels[np.broadcast_to((x / 0.8) ** 2 + (y / 0.6) ** 2 < 1, shape)] = 200
    for middle, lobe in ((-0.38, 32), (0.38, 28)):
        labels[((x - middle) / 0.28) ** 2 + (y / 0.42) ** 2 + (z / 0.85) ** 2 < 1] = lobe
    labels[np.broadcast_to((x / 0.08) ** 2 + ((y + 0.45) / 0.08) ** 2 < 1, shape)] = 50
    if lesion is not None:
        at = [int(share * n) for share, n in zip(lesion, shape, strict=True)]
        reach = max(2, round(6 / spacing))
        box = tuple(slice(a - reach, a + reach + 1) for a in at)
        near = np.ogrid[box]
        labels[box][sum((g - a) ** 2 for g, a in zip(near, at, strict=True)) <= reach**2] = 23
    return Volume(labels, np.diag([spacing, spacing, 2 * spacing, 1.0]))


def nodmaisi(bench: Bench, found: dict[str, Any]) -> None:
    """Seconds of a lesion-free volume, and of a lesion in the same host, which shares its networks but no sampling."""
    from itrialspace_assets.synthesis.nodmaisi import networks as net
    from itrialspace_assets.synthesis.nodmaisi import sample as sampling
    from itrialspace_assets.synthesis.nodmaisi.prepare import prepare

    architecture = _nodmaisi(bench.tiny)
    torch.manual_seed(0)
    building, (autoencoder, unet, controlnet) = bench.once(lambda: net.build(architecture, bench.device))
    for network in (autoencoder, unet, controlnet):
        network.eval().requires_grad_(False)
    networks = net.Networks(autoencoder, unet, controlnet, 1.0, architecture, torch.device(bench.device))
    shape, spacing = ((48, 48, 32), 2.0) if bench.tiny else ((512, 512, 256), 0.7)
    seed = np.random.SeedSequence(5)
    found |= {
        "voxels": list(shape),
        "steps": architecture.steps,
        "precision": "float16 (autocast)" if bench.device == "cuda" else "float32",
        "building_s": building,
        "parameters": [_count(network) for network in (autoencoder, unet, controlnet)],
    }

    def image(lesion: tuple[float, float, float] | None) -> dict[str, Any]:
        bench.clear()
        preparing, prepared = bench.once(lambda: prepare(chest(shape, spacing, lesion), architecture.legal))
        with torch.inference_mode(), sampling._precision(networks.device):
            denoising, latent = bench.once(lambda: sampling._denoise(networks, prepared, seed, False))
            held = bench.peak()
            decoding, (hu, window) = bench.once(lambda: sampling._decode(networks, latent))
        return {
            "preparing_s": preparing,
            "denoising_s": denoising,
            "decoding_s": decoding,
            "volume_s": round(denoising + decoding, 3),
            "denoising_peak_gib": held,
            "peak_gib": bench.peak(),
            "window": list(window),
            "finite": bool(np.isfinite(hu).all()),
        }

    for name, lesion in (("first volume", None), ("lesion-free volume", None), ("lesion, same host", (0.7, 0.5, 0.5))):
        bench.note(found, name, image(lesion))


def medgemma(bench: Bench, found: dict[str, Any]) -> None:
    building, model = bench.once(lambda: _on(bench, lambda: gemma_model(bench.tiny, bench.half)))
    batches = (1, 2) if bench.tiny else (1, 8, 16)
    found |= {"building_s": building, "dtype": "bfloat16", "attention": "sdpa"}
    chat_rates(bench, found, model, (1, 3), batches)


def llava(bench: Bench, found: dict[str, Any]) -> None:
    attention = "flash_attention_2" if importlib.util.find_spec("flash_attn") is not None else "sdpa"
    building, model = bench.once(lambda: _on(bench, lambda: llava_model(bench.tiny, bench.half, attention)))
    batches = (1, 2) if bench.tiny else (1, 8, 32)
    found |= {"building_s": building, "dtype": "bfloat16", "attention": attention}
    chat_rates(bench, found, model, (1,), batches)


def _on(bench: Bench, make: Callable[[], Any]) -> Any:
    torch.manual_seed(0)
    with torch.device(bench.device):
        return make().to(bench.device)


# --- does the GPU give what the processor gives


def agreement(bench: Bench, found: dict[str, Any]) -> None:
    """Small models with the same weights on both: greatest difference over the spread of what the processor gives."""
    for name, check, tolerance in (
        ("medgemma float32", lambda: _chat_agrees(bench, gemma_model(True, torch.float32), torch.float32, 3), 1e-3),
        ("medgemma bfloat16", lambda: _chat_agrees(bench, gemma_model(True, torch.float32), bench.half, 3), 0.05),
        (
            "llava float32",
            lambda: _chat_agrees(bench, llava_model(True, torch.float32, "sdpa"), torch.float32, 1),
            1e-3,
        ),
        ("llava bfloat16", lambda: _chat_agrees(bench, llava_model(True, torch.float32, "sdpa"), bench.half, 1), 0.05),
        ("biomedclip float32", lambda: _clip_agrees(bench, torch.float32), 1e-3),
        ("biomedclip bfloat16", lambda: _clip_agrees(bench, bench.half), 0.05),
        ("retinanet float32", lambda: _detector_agrees(bench, half=False), 5e-3),
        ("retinanet float16", lambda: _detector_agrees(bench, half=True), 0.05),
        ("retinanet marks, mm", lambda: _marks_agree(bench), 0.05),
        ("nodmaisi float16", lambda: _render_agrees(bench), 0.05),
    ):
        torch.manual_seed(1)
        try:
            difference = check()
        except Exception as error:  # the other models are compared all the same
            bench.note(found, name, {"error": f"{type(error).__name__}: {error}"})
            continue
        finite = math.isfinite(difference)
        agrees = {"agrees": finite and difference <= tolerance, "tolerance": tolerance}
        bench.note(found, name, {"difference": round(difference, 6) if finite else None} | agrees)


def _difference(wanted: torch.Tensor, got: torch.Tensor) -> float:
    """Root mean square of the difference over that of the processor's values about their mean."""
    wanted, got = wanted.double().cpu(), got.double().cpu()
    return float((got - wanted).square().mean().sqrt() / (wanted - wanted.mean()).square().mean().sqrt())


def _chat_agrees(bench: Bench, model: Any, dtype: torch.dtype, images: int) -> float:
    wanted = first_token(model, prompt(model, images, 2, 8, "cpu"))
    model = model.to(bench.device, dtype)
    return _difference(wanted, first_token(model, prompt(model, images, 2, 8, bench.device)))


def _clip_agrees(bench: Bench, dtype: torch.dtype) -> float:
    model, _, pixels, tokens, words = clip_model(True)
    images, ids = torch.randn(4, 3, pixels, pixels), torch.randint(1, words, (3, tokens))

    def scores(device: str, dtype: torch.dtype) -> torch.Tensor:
        with torch.inference_mode():
            seen = model.encode_image(images.to(device, dtype), normalize=True).float()
            said = model.encode_text(ids.to(device), normalize=True).float()
        return 100 * seen @ said.T

    wanted = scores("cpu", torch.float32)
    model.to(bench.device, dtype)
    return _difference(wanted, scores(bench.device, dtype))


def _detector_agrees(bench: Bench, half: bool) -> float:
    from itrialspace_assets.readers.detector import network

    net = network.build("cpu").eval()
    image = torch.rand(1, 1, 32, 32, 16)

    def maps(device: str, half: bool) -> torch.Tensor:
        with torch.inference_mode(), torch.autocast(device, torch.float16, enabled=half and device == "cuda"):
            got = net.to(device)(image.to(device))
        return torch.cat([level.float().flatten() for levels in got.values() for level in levels])

    wanted = maps("cpu", False)
    return _difference(wanted, maps(bench.device, half))


def _marks_agree(bench: Bench) -> float:
    """Of the reader's own way from a scan to marks: the middle distance of the processor's best twenty to the GPU's."""
    from itrialspace_assets.imaging.geometry import Volume
    from itrialspace_assets.readers.detector import network
    from itrialspace_assets.readers.detector.marks import marks_of

    net = network.build("cpu")
    torch.nn.init.normal_(net.classification_head.cls_logits.weight, 0, 0.5)  # so that some boxes stand out
    hu = np.random.default_rng(5).integers(-900, 100, (40, 28, 30)).astype(np.int16)
    scan = Volume(hu, np.diag([0.8, 0.9, 1.0, 1.0]))

    def middles(device: str, most: int | None) -> np.ndarray:
        found = marks_of(network.detector(net.to(device)), scan, network.WINDOW, "float32", device)
        return np.array([mark.world for mark in found[:most]])

    wanted = middles("cpu", 20)
    got = middles("cuda:0" if bench.device == "cuda" else "cpu", None)
    return float(np.median(np.linalg.norm(wanted[:, None] - got[None], axis=2).min(axis=1)))


def _render_agrees(bench: Bench) -> float:
    """Of HU: the networks as they are built for each device, with one set of weights."""
    from itrialspace_assets.synthesis.nodmaisi import networks as net
    from itrialspace_assets.synthesis.nodmaisi import sample as sampling
    from itrialspace_assets.synthesis.nodmaisi.prepare import prepare

    architecture = _nodmaisi(True)
    prepared = prepare(chest((48, 48, 32), 2.0, (0.7, 0.5, 0.5)), architecture.legal)
    there = net.build(architecture, "cpu")
    last = [m for m in there[0].decoder.modules() if isinstance(m, torch.nn.Conv3d)][-1]
    torch.nn.init.constant_(last.bias, 0.5)  # between air and bone, where nothing is clipped away

    def hu(device: str) -> torch.Tensor:
        made = net.build(architecture, device)
        for mine, theirs in zip(made, there, strict=True):
            mine.load_state_dict(theirs.state_dict())
            mine.eval().requires_grad_(False)
        networks = net.Networks(made[0], made[1], made[2], 1.0, architecture, torch.device(device))
        return torch.from_numpy(sampling.sample(networks, prepared, np.random.SeedSequence(5)).hu[prepared.labels > 0])

    return _difference(hu("cpu"), hu(bench.device))


# --- the run


class OutOfTime(Exception):
    """A part took longer than its box."""


def run(bench: Bench, names: list[str], seconds: float) -> None:
    """Every part in turn, each in its box and all of them in ``seconds``."""
    began = time.monotonic()

    def stop(*_: Any) -> None:
        raise OutOfTime

    signal.signal(signal.SIGALRM, stop)
    for name in names:
        left = seconds - (time.monotonic() - began)
        box = min(float(PARTS[name]), left)
        if box < 5:
            bench.found["parts"][name] = {"error": f"not begun: {left:.0f} s left of {seconds:.0f}"}
            continue
        found: dict[str, Any] = {}
        bench.found["parts"][name] = found
        print(f"{name}: at most {box:.0f} s", flush=True)
        started = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, box)
        try:
            globals()[name](bench, found)
        except OutOfTime:
            found["error"] = f"not finished in {box:.0f} s"
        except Exception as error:  # whatever it is, the other parts go on
            traceback.print_exc()
            found["error"] = f"{type(error).__name__}: {error}"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        found["part_s"] = round(time.monotonic() - started, 1)
        bench.clear()
        bench.found["seconds"] = round(time.monotonic() - began, 1)
        bench.write()
        print(f"{name}: {found.get('error', 'done')} in {found['part_s']} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="JSON file to write")
    parser.add_argument("--tiny", action="store_true", help="small shapes: a test of this script")
    parser.add_argument("--parts", default=",".join(PARTS), help="which parts, separated by commas")
    parser.add_argument("--seconds", type=float, default=460, help="most seconds in all")
    given = parser.parse_args()
    names = given.parts.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        sys.exit(f"--parts: expected names out of {', '.join(PARTS)}, got {', '.join(unknown)}")
    bench = Bench(given.out, given.tiny)
    print(f"{bench.found['device']}, torch {torch.__version__}", flush=True)
    run(bench, names, given.seconds)
    failed = [name for name, part in bench.found["parts"].items() if "error" in part]
    print(f"{len(names) - len(failed)} of {len(names)} parts in {bench.found.get('seconds', 0)} s; in {given.out}")


if __name__ == "__main__":
    main()
