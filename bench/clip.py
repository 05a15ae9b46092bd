"""A model of BiomedCLIP's shape on the processor, through the real stage: how much of the time is the model's.

Named baseline of the same run: the model alone on prepared pictures, as many as the stage reads. Ours: a partition of
512x512 slices planned, read by one worker and appended to the ledger. Times are processor seconds, so that other work
on the machine does not count. The model has random weights and is smaller than the published one, whose share would be
larger: an image tower of 224 px with a quarter of BiomedCLIP's arithmetic, or the one that is named.

    OMP_NUM_THREADS=1 python -m bench.clip [--image-tower vit_small_patch16_224] [--targets 24]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from itrialspace_assets.base.fingerprints import replace_file, sha256_bytes
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.imaging.pictures import png
from itrialspace_assets.readers import build
from itrialspace_assets.readers.vision.clip import Towers
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import write_table
from tests.readers.conftest import PART, WHERE, slice_rows
from tests.readers.vision.tiny import tiny_biomedclip

SIZE, PIXELS = 512, 224


def make(folder: Path, tower: str, targets: int) -> Settings:
    """Settings of a study with a CLIP reader and so many targets, each with a plain and a guided slice."""
    tiny_biomedclip(folder / "weights" / "biomedclip", image=(tower, PIXELS))
    (folder / "data" / "profiles").mkdir(parents=True)
    config = folder / "readers.yaml"
    config.write_text(
        "readers: {blob: {enabled: false}, biomedclip: {enabled: true, location: cpu, options: {batch: 8}}}"
    )
    settings = load_settings(
        data_dir=folder / "data",
        output_dir=folder / "out",
        weights_dir=folder / "weights",
        readers_config=config,
        workers=1,
    )
    rows = slice_rows(settings.output, range(targets))
    draw = np.random.default_rng(1)
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    chest = 180 * (x**2 + (y / 0.8) ** 2 < 0.8) - 150 * (((np.abs(x) - 0.4) / 0.3) ** 2 + (y / 0.5) ** 2 < 1)
    for row in rows:
        data = png(np.clip(chest + draw.normal(0, 12, (SIZE, SIZE)), 0, 255).astype(np.uint8))
        replace_file(settings.output / row["path"], data)
        row |= {"sha256": sha256_bytes(data), "width": SIZE, "height": SIZE}
    write_table(settings.output, "slices", rows, **WHERE)
    return settings


def read(settings: Settings, run_id: str) -> None:
    """Plan a partition and do its work, as a run does."""
    for shard in build.plan(settings, REAL, "biomedclip", PART, run_id):
        build.work(settings, REAL, "biomedclip", PART, run_id, shard)


class Clock:
    """Processor seconds of some calls, added up."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.pictures = 0

    @contextmanager
    def running(self) -> Any:
        began = time.process_time()
        try:
            yield
        finally:
            self.seconds += time.process_time() - began


def timed(method: Callable[..., Any], clock: Clock) -> Callable[..., Any]:
    """A method whose calls count on a clock."""

    def call(towers: Towers, given: Any) -> Any:
        with clock.running():
            clock.pictures += len(given) if isinstance(given, torch.Tensor) else 0
            return method(towers, given)

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image-tower", default="vit_small_patch16_224", help="timm's name, of 224 px")
    parser.add_argument("--targets", type=int, default=24, help="how many targets, of two slices each")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        settings = make(Path(name), given.image_tower, given.targets)
        read(settings.model_copy(update={"max_cases": 1}), "warm")  # loads the model and libraries, once a worker
        model, stage = Clock(), Clock()
        Towers._encode, Towers.text = timed(Towers._encode, model), timed(Towers.text, model)  # type: ignore[method-assign]
        with stage.running():
            read(settings, "bench")
        result = build.collect(settings, REAL, "biomedclip", PART, "bench")
        alone = baseline(Path(name) / "weights" / "biomedclip", model.pictures)
    requests = result.computed
    print(f"{given.image_tower}: {requests} requests about slices of {SIZE}x{SIZE}, three a slice")
    print(f"stage {stage.seconds:.2f} s of processor, {model.seconds:.2f} s of it in the model", end=": ")
    print(f"{model.seconds / stage.seconds:.1%}; the model alone {alone:.2f} s, ratio {stage.seconds / alone:.2f}")


def baseline(folder: Path, pictures: int) -> float:
    """Processor seconds of the model alone, on as many prepared pictures and in the same batches."""
    towers = Towers(folder, 8, "float32", "cpu")
    pixels = torch.randn(8, 3, PIXELS, PIXELS)
    clock = Clock()
    with clock.running(), torch.inference_mode():
        for _ in range(pictures // 8):
            towers._model.encode_image(pixels)
    return clock.seconds


if __name__ == "__main__":
    main()
