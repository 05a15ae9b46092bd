"""CLIP models end to end: from a folder in the published layout, offline, to scores that are open_clip's own."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.readers import build
from itrialspace_assets.readers.api import Reader, Request
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment
from itrialspace_assets.readers.registry import make, readers
from itrialspace_assets.readers.vision import clip
from itrialspace_assets.readers.vision.captions import captions_in, captions_of
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import read_table
from itrialspace_assets.records.tables import TASK_OPTIONS

from ..conftest import PART, WHERE, slice_rows

Study = Callable[..., Settings]
DRAW = np.random.default_rng(3)
#: Wide, high and square; grey and coloured.
PICTURES = [DRAW.integers(0, 256, shape, np.uint8) for shape in ((48, 30), (30, 48, 3), (40, 40), (22, 64))]


def reader(
    weights: Path | None, kind: str = "biomedclip", options: dict[str, Any] | None = None, **entry: Any
) -> Reader:
    """A reader that encodes three pictures at once, so that the four of these tests are two batches."""
    place = ReaderEnvironment(weights, (weights or Path("none")).with_name("hashes.sqlite"))
    given = {"batch": 3} | (options or {})
    return make(ReaderEntry(name=kind, kind=kind, location="gpu", options=given, **entry), place)


def requests_of(made: Reader, pictures: list[Any], task: str = "lobe") -> list[Request]:
    prompt = made.prompts[task]
    return [
        Request(str(i), (picture,), (0.7, 0.7), "plain", "none", task, prompt.id, prompt.text, TASK_OPTIONS[task])
        for i, picture in enumerate(pictures)
    ]


def scores(made: Reader, requests: list[Request]) -> np.ndarray:
    return np.array([generation.option_scores for generation in made.load()(requests)])


@pytest.fixture(scope="session")
def biomedclip_scores(clip_weights: Path) -> np.ndarray:
    made = reader(clip_weights)
    return scores(made, requests_of(made, PICTURES))


def test_scores_are_those_of_open_clip_for_the_padded_picture(
    clip_weights: Path, biomedclip_scores: np.ndarray
) -> None:
    """The same folder by the library alone: its own transform, tokenizer and logits."""
    import open_clip
    import torch
    from PIL import Image, ImageOps

    folder = clip_weights / "biomedclip"
    text = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]
    text |= {"hf_model_name": str(folder / "text_tower"), "hf_model_pretrained": False}
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}", text_cfg=text)
    captions = captions_in(reader(clip_weights).prompts["lobe"].text)
    ids = open_clip.get_tokenizer(f"local-dir:{folder}")([captions[option] for option in TASK_OPTIONS["lobe"]])
    assert len({tuple(row) for row in ids.tolist()}) == 5
    square = [ImageOps.pad(Image.fromarray(p).convert("RGB"), (max(p.shape[:2]),) * 2) for p in PICTURES]
    with torch.inference_mode():
        wanted, _ = model.eval().get_logits(torch.stack([transform(image) for image in square]), ids)
    np.testing.assert_allclose(biomedclip_scores, wanted.numpy(), rtol=1e-4, atol=1e-4)
    assert np.ptp(biomedclip_scores, axis=1).min() > 1e-2, "captions differ"
    assert np.ptp(biomedclip_scores, axis=0).min() > 1e-2, "pictures differ"


def test_what_a_picture_scores_depends_on_nothing_it_is_read_with(
    clip_weights: Path, biomedclip_scores: np.ndarray
) -> None:
    made = reader(clip_weights)
    requests = requests_of(made, PICTURES)
    read = made.load()
    alone = [read([request])[0].option_scores for request in reversed(requests)][::-1]
    np.testing.assert_array_equal(np.array(alone), biomedclip_scores)
    turned = [replace(r, options=r.options[1:] + r.options[:1]) for r in requests]
    np.testing.assert_array_equal(np.roll([g.option_scores for g in read(turned)], 1, axis=1), biomedclip_scores)
    others = requests_of(made, [DRAW.integers(0, 256, (50, 50), np.uint8) for _ in range(4)])
    mixed = [request for pair in zip(others, requests, strict=True) for request in pair]
    np.testing.assert_array_equal([g.option_scores for g in read(mixed)[1::2]], biomedclip_scores)


def test_a_batch_is_halved_where_memory_does_not_suffice(
    clip_weights: Path, biomedclip_scores: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    encode, sizes = clip.Towers._encode, []

    def small(towers: clip.Towers, pixels: torch.Tensor) -> Any:
        sizes.append(len(pixels))
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("too small")
        return encode(towers, pixels)

    monkeypatch.setattr(clip.Towers, "_encode", small)
    made = reader(clip_weights, options={"batch": 4})
    np.testing.assert_allclose(scores(made, requests_of(made, PICTURES)), biomedclip_scores, rtol=1e-5)
    assert sizes == [4, 2, 2]


def test_slices_of_a_request_are_one_score(clip_weights: Path, biomedclip_scores: np.ndarray) -> None:
    for how, one in (("mean", biomedclip_scores.mean(axis=0)), ("max", biomedclip_scores.max(axis=0))):
        made = reader(clip_weights, options={"over_slices": how}, z_offsets=(-2, -1, 0, 1))
        (request, *_) = requests_of(made, PICTURES)
        got = scores(made, [replace(request, pictures=tuple(PICTURES))])
        np.testing.assert_allclose(got[0], one, rtol=1e-12)


def test_any_model_of_open_clip_reads_and_a_crop_is_a_rejection(clip_weights: Path, tmp_path: Path) -> None:
    from .tiny import tiny_clip

    made = reader(clip_weights, "clip", options={"dtype": "bfloat16"})
    half = scores(made, requests_of(made, PICTURES, "size"))
    whole = scores(reader(clip_weights, "clip"), requests_of(made, PICTURES, "size"))
    assert half.shape == (4, 4) and 0 < np.abs(half - whole).max() < 0.2 * np.ptp(whole)
    tiny_clip(tmp_path / "clip", image_size=(64, 48))  # cuts the sides off a square
    wide = reader(tmp_path, "clip")
    first, last = wide.load()(requests_of(wide, [PICTURES[2], np.zeros((64, 40), np.uint8)]))
    assert first.option_scores is None and first.failure is not None and "400 pixels" in first.failure
    assert last.failure is None and last.option_scores is not None, "only its padding was cut off"


def test_what_is_missing_is_said(clip_weights: Path, tmp_path: Path) -> None:
    assert reader(clip_weights).needs() == []
    assert "ITRIALSPACE_WEIGHTS_DIR is not set" in reader(None).needs()[0].what
    copy = tmp_path / "weights" / "mine"
    shutil.copytree(clip_weights / "biomedclip", copy)
    made = reader(copy.parent, options={"weights": "mine"})
    first = made.revision
    shutil.move(copy / "text_tower", tmp_path / "elsewhere")
    (need,) = made.needs()
    assert need.what == f"{copy}: expected text_tower/config.json, found none"
    assert "config.json of some/BERT as text_tower/config.json" in need.fix and "MIT" in need.fix
    with pytest.raises(ConfigError, match="text_tower"):
        made.files()
    shutil.move(tmp_path / "elsewhere", copy / "text_tower")
    assert made.revision == first
    (copy / "open_clip_pytorch_model.bin").write_bytes(b"garbage")
    assert made.revision != first
    with pytest.raises(ConfigError, match=r"mine: expected a CLIP model that open_clip can load, got "):
        made.load()
    (copy / "open_clip_config.json").write_text("{}")
    assert "expected model_cfg" in made.needs()[0].what
    with pytest.raises(ConfigError, match="expected model_cfg"):
        made.files()


def test_captions_name_every_option_once() -> None:
    entry = ReaderEntry(name="a", kind="clip")
    found = captions_of(entry, tuple(TASK_OPTIONS))
    for task, prompt in found.items():
        for text in (prompt.text, prompt.paraphrase):
            given = captions_in(text)
            assert set(given) == set(TASK_OPTIONS[task])
            assert len(set(given.values())) == len(given)
    words = {"id": "mine", "text": "present: a\nabsent: b", "paraphrase": "present: c"}
    own = ReaderEntry(name="a", kind="clip", prompts={"presence": words})
    with pytest.raises(ConfigError, match=r"prompts\.presence\.paraphrase: expected a caption for each of present, ab"):
        captions_of(own, ("presence",))
    with pytest.raises(ConfigError, match="expected one line `option: caption`"):
        captions_in("present: a\npresent: b")
    with pytest.raises(ConfigError, match="take text_only out"):
        reader(None, controls=("text_only",))


def test_a_partition_is_read_and_answered(clip_weights: Path, study: Study, tmp_path: Path) -> None:
    config = tmp_path / "own.yaml"
    config.write_text(
        "readers: {blob: {enabled: false}, biomedclip: {enabled: true, tasks: [presence, size], options: {batch: 4},"
        " controls: [options_rotated]}}"
    )
    rows = slice_rows(tmp_path / "out", range(6))
    settings = study(rows=rows, readers_config=config, weights_dir=clip_weights, device="cpu")
    how = readers(settings)["biomedclip"]
    assert how.location == "gpu" and how.device == "cpu" and how.needs() == []
    for shard in build.plan(settings, REAL, "biomedclip", PART, "r1"):
        build.work(settings, REAL, "biomedclip", PART, "r1", shard)
    done = build.collect(settings, REAL, "biomedclip", PART, "r1")
    assert done.rejected == 0
    answers = read_table(settings.output, "answers", reader="biomedclip", **WHERE)
    asked = answers.filter(pl.col("task") != "lobe")
    assert asked.height == 6 * 2 * 2 * 2 and asked["status"].unique().to_list() == ["ok"]
    assert answers.filter(pl.col("task") == "lobe")["status"].unique().to_list() == ["unsupported"]
    plain = asked.filter(pl.col("task") == "presence").pivot(
        "control", index=["target_uid", "condition"], values="score"
    )
    np.testing.assert_array_equal(plain["none"].to_numpy(), plain["options_rotated"].to_numpy())
    assert plain["none"].n_unique() == 12
