"""Converting LLaVA-Med: a round trip over the published names, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer.testing

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.cli.main import app
from itrialspace_assets.readers.chat.llava_med import convert, renamed


def _convert(source: Path, target: Path, tower: Path | None = None) -> dict[str, int]:
    return convert(source, target, tower, lambda _: None)


@pytest.fixture
def source(published: Path, tmp_path: Path) -> Path:
    """A copy of the published folder that a test may spoil."""
    return Path(shutil.copytree(published, tmp_path / "source"))


def _change(source: Path, add: dict[str, object] | None = None, drop: str | None = None) -> None:
    """Add tensors to the first file, or drop the one of a name."""
    from safetensors.torch import load_file, save_file

    for file in sorted(source.glob("*.safetensors")):
        tensors = {name: t for name, t in load_file(file).items() if name != drop} | (add or {})
        save_file(tensors, file, metadata={"format": "pt"})
        add = None


def test_every_tensor_arrives_under_its_new_name(published: Path, weights: Path) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForImageTextToText

    old = {name: t for file in published.glob("*.safetensors") for name, t in load_file(file).items()}
    model = AutoModelForImageTextToText.from_pretrained(weights / "llava", dtype="bfloat16", local_files_only=True)
    assert type(model).__name__ == "LlavaForConditionalGeneration"
    new = model.state_dict()
    derived = {name for name in old if renamed(name) is None}
    assert derived == {"model.vision_tower.vision_tower.vision_model.embeddings.position_ids"}
    assert {renamed(name) for name in old} - {None} == set(new)
    for name, tensor in old.items():
        if name not in derived:
            assert torch.equal(new[renamed(name)][: len(tensor)], tensor), name
    words = new["model.language_model.embed_tokens.weight"]
    assert len(words) == len(old["model.embed_tokens.weight"]) + 1 == model.config.image_token_id + 1
    assert torch.equal(words[-1], words[0]), "the picture's token has the unknown token's row"
    assert model.config.vision_feature_layer == -2
    assert model.config.text_config.rope_parameters["rope_theta"] == 1e6


def test_the_tokenizer_is_the_sentencepiece_model(published: Path, weights: Path) -> None:
    import sentencepiece
    from transformers import AutoProcessor

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(published / "tokenizer.model"))
    processor = AutoProcessor.from_pretrained(weights / "llava", local_files_only=True)
    assert type(processor).__name__ == "LlavaProcessor"
    for text in ("right upper lobe", "Yes", "no nodule é 7 mm", "\nIs it visible? [/INST]"):
        assert processor.tokenizer.encode(text, add_special_tokens=False) == pieces.encode(text), text
    told = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Is it visible?"}]}]
    assert processor.apply_chat_template(told) == "<s>[INST] <image>\nIs it visible? [/INST]"


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        ("model.mm_projector.2.bias", r"missing: model.multi_modal_projector.linear_2.bias"),
        ("lm_head.weight", r"missing: lm_head.weight"),
    ],
)
def test_a_missing_tensor_refuses_all(source: Path, tmp_path: Path, drop: str, message: str) -> None:
    _change(source, drop=drop)
    with pytest.raises(ConfigError, match=message):
        _convert(source, tmp_path / "made")
    assert not (tmp_path / "made").exists() and not list(tmp_path.glob(".tmp-*"))


def test_an_unknown_or_misshapen_tensor_refuses_all(source: Path, tmp_path: Path) -> None:
    import torch

    _change(source, add={"model.image_newline": torch.zeros(3)})
    with pytest.raises(ConfigError, match=r"expected tensors of LLaVA-Med v1\.5 alone, got also: model\.image_newline"):
        _convert(source, tmp_path / "made")
    _change(source, drop="model.image_newline")
    _change(source, drop="model.norm.weight", add={"model.norm.weight": torch.zeros(3)})
    with pytest.raises(
        ConfigError, match=r"of another shape: model\.language_model\.norm\.weight \(3,\), expected \(16,\)"
    ):
        _convert(source, tmp_path / "made")


def test_weights_without_a_vision_tower_need_its_folder(source: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    prefix = "model.vision_tower.vision_tower."
    tower: dict[str, Any] = {}
    for file in sorted(source.glob("*.safetensors")):
        tensors = load_file(file)
        tower |= {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        save_file({n: t for n, t in tensors.items() if not n.startswith(prefix)}, file, metadata={"format": "pt"})
    with pytest.raises(ConfigError, match="give the folder of openai/clip-vit-large-patch14-336 with --vision-tower"):
        _convert(source, tmp_path / "made")
    clip = tmp_path / "clip"
    clip.mkdir()
    unused = {"logit_scale": tower["vision_model.post_layernorm.bias"][:1].clone()}
    save_file(tower | unused, clip / "model.safetensors", metadata={"format": "pt"})
    told = _convert(source, tmp_path / "made", clip)
    assert told["tensors"] == 64
    assert {p.name for p in (tmp_path / "made").iterdir()} >= {"tokenizer.json", "chat_template.jinja", "config.json"}


def test_another_model_or_a_damaged_file_is_named(source: Path, tmp_path: Path) -> None:
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"model_type": "llava_llama"}))
    with pytest.raises(ConfigError, match="expected model_type llava_mistral"):
        _convert(source, tmp_path / "made")
    (source / "config.json").write_text(json.dumps({key: v for key, v in config.items() if key != "rope_theta"}))
    with pytest.raises(ConfigError, match="found no rope_theta"):
        _convert(source, tmp_path / "made")
    (source / "config.json").write_text(json.dumps(config | {"vocab_size": 7}))
    with pytest.raises(ConfigError, match="expected a tokenizer of 7 tokens"):
        _convert(source, tmp_path / "made")
    (source / "tokenizer.model").write_bytes(b"no model")
    with pytest.raises(ConfigError, match=r"tokenizer\.model: expected the sentencepiece model"):
        _convert(source, tmp_path / "made")
    next(source.glob("*.safetensors")).write_bytes(b"short")
    with pytest.raises(ConfigError, match=r"\.safetensors: expected a file of tensors"):
        _convert(source, tmp_path / "made")


def test_the_command_converts_and_says_where(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = typer.testing.CliRunner()
    arguments = ["weights", "convert", "llava-med", str(published), "--dir", str(tmp_path)]
    missing = run.invoke(app, arguments)
    assert isinstance(missing.exception, ConfigError) and "ITRIALSPACE_WEIGHTS_DIR" in str(missing.exception)
    monkeypatch.setenv("ITRIALSPACE_WEIGHTS_DIR", str(tmp_path / "weights"))
    done = run.invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "64 tensors renamed, none missing, none unknown; 1 left out" in done.output
    assert done.output.strip().endswith(f"Result: {tmp_path / 'weights' / 'llava_med'}")
    again = run.invoke(app, arguments)
    assert isinstance(again.exception, ConfigError) and "expected no such folder yet" in str(again.exception)
