"""Converts LLaVA-Med v1.5 as published into a folder that transformers loads (its class for it is gone).

Every tensor is renamed, none is computed, but for one row: ``<image>`` becomes a token of its own, which gets the rows
of the unknown token. A tensor that is missing, unknown or of another shape refuses the whole conversion. Files are
written shard by shard below a temporary name; the folder is renamed when it is whole.
"""

import json
import math
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itrialspace_assets.base.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from transformers import LlavaConfig

#: Beginnings of names of tensors, as published and as ``LlavaForConditionalGeneration`` has them, first match first
#: (docs/facts/readers.md#llava-med).
RENAMED = (
    (r"^model\.mm_projector\.0\.", "model.multi_modal_projector.linear_1."),
    (r"^model\.mm_projector\.2\.", "model.multi_modal_projector.linear_2."),
    (r"^model\.vision_tower\.vision_tower\.(vision_model\.)?", "model.vision_tower."),
    (r"^(vision_model\.)", "model.vision_tower."),
    (r"^model\.(embed_tokens|layers|norm)\.", r"model.language_model.\1."),
    (r"^lm_head\.", "lm_head."),
)
#: Tables that older versions of the library stored and that follow from the configuration.
DERIVED = re.compile(r"\.(position_ids|rotary_emb\.inv_freq)$")
#: What a vision tower's own folder holds besides: its text half and the heads, which LLaVA never uses.
_UNUSED = re.compile(r"^(text_model\.|text_projection\.|visual_projection\.|logit_scale$)")
IMAGE_TOKEN = "<image>"
#: Keys of the published configuration that the language model needs, and others that it may state.
_NEEDED = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "rms_norm_eps",
    "rope_theta",
    "sliding_window",
)
_MAYBE = (
    "head_dim",
    "hidden_act",
    "max_position_embeddings",
    "attention_dropout",
    "initializer_range",
    "bos_token_id",
    "eos_token_id",
    "tie_word_embeddings",
)
#: Width of an attention head of every published CLIP vision transformer.
_HEAD_WIDTH = 64
#: Turns of the model's language model: pictures and question in [INST] [/INST] (docs/facts/readers.md#llava-med).
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}[INST] "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}"
    "{% endif %}{% endfor %} [/INST]{% else %}{% for part in message['content'] %} {{ part['text'] }}{% endfor %}"
    "{{ eos_token }}{% endif %}{% endfor %}"
)


@dataclass(frozen=True)
class Stored:
    """A tensor in a file: the name that it gets, its name there, and its shape."""

    file: Path
    name: str
    shape: tuple[int, ...]


def renamed(name: str) -> str | None:
    """The name that a published tensor gets; None for one that the configuration makes superfluous.

    Raises:
        KeyError: no rule knows it.
    """
    if DERIVED.search(name):
        return None
    for pattern, new in RENAMED:
        if re.match(pattern, name):
            return re.sub(pattern, new, name)
    raise KeyError(name)


def convert(source: Path, target: Path, tower: Path | None, told: Callable[[int], None]) -> dict[str, int]:
    """Write the converted folder.

    Args:
        source: folder of ``microsoft/llava-med-v1.5-mistral-7b``.
        target: folder to make; must not exist.
        tower: folder of the vision tower ``openai/clip-vit-large-patch14-336``, for weights that hold none.
        told: is told how many tensors were written each time.

    Returns:
        How many tensors were renamed, were left out as derived, and hold how many numbers: ``tensors``, ``derived``,
        ``parameters``.

    Raises:
        ConfigError: a file is missing or of another model, tensors are missing, unknown or of another shape, or the
            target exists.
    """
    if target.exists():
        raise ConfigError(f"{target}: expected no such folder yet; remove it, or name another one with --to")
    published = _published(source)
    stored, derived = _stored(source, tower)
    processor = _processor(source, published, stored)
    config = _config(published, stored, processor)
    _require_all(source, config, {name: at.shape for name, at in stored.items()})
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=".tmp-"))
    try:
        numbers = _write(stored, draft, told)
        config.save_pretrained(draft)
        _generation(processor).save_pretrained(draft)
        processor.save_pretrained(draft)
        draft.chmod(0o755)
        draft.replace(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return {"tensors": len(stored), "derived": derived, "parameters": numbers}


def _published(source: Path) -> dict[str, Any]:
    """The published configuration."""
    path = source / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: expected the configuration of LLaVA-Med v1.5, got: {error}") from None
    if config.get("model_type") != "llava_mistral":
        raise ConfigError(f"{path}: expected model_type llava_mistral (LLaVA-Med v1.5), got {config.get('model_type')}")
    if config.get("mm_projector_type") != "mlp2x_gelu" or config.get("mm_vision_select_feature", "patch") != "patch":
        raise ConfigError(
            f"{path}: expected mm_projector_type mlp2x_gelu and mm_vision_select_feature patch, got "
            f"{config.get('mm_projector_type')} and {config.get('mm_vision_select_feature')}"
        )
    return config


def _stored(source: Path, tower: Path | None) -> tuple[dict[str, Stored], int]:
    """Every tensor by its new name, and how many are left out as derived."""
    found: dict[str, Stored] = {}
    unknown, derived = [], 0
    for at in _tensors(source):
        try:
            new = renamed(at.name)
        except KeyError:
            unknown.append(at.name)
            continue
        if new is None:
            derived += 1
        elif new in found:
            raise ConfigError(f"{source}: expected each tensor once, got {at.name} and {found[new].name}")
        else:
            found[new] = at
    if unknown:
        raise ConfigError(f"{source}: {_listed('expected tensors of LLaVA-Med v1.5 alone, got also', unknown)}")
    if not any(name.startswith("model.vision_tower.") for name in found):
        if tower is None:
            raise ConfigError(
                f"{source}: expected the tensors of the vision tower among the weights, found none; give the folder of "
                "openai/clip-vit-large-patch14-336 with --vision-tower"
            )
        for at in _tensors(tower):
            new = None if _UNUSED.match(at.name) else renamed(at.name)
            if new is not None:
                found[new] = at
    return found, derived


def _tensors(folder: Path) -> Iterator[Stored]:
    """Names and shapes of the tensors of a folder, from the heads of its files."""
    from safetensors import SafetensorError, safe_open

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ConfigError(f"{folder}: expected files *.safetensors, found none")
    for file in files:
        try:
            with safe_open(file, "pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - it is no mapping
                    yield Stored(file, name, tuple(opened.get_slice(name).get_shape()))
        except SafetensorError as error:
            raise ConfigError(f"{file}: expected a file of tensors, got: {error}") from None


def _processor(source: Path, published: Mapping[str, Any], stored: Mapping[str, Stored]) -> Any:
    """Tokenizer with the token ``<image>``, and how pictures are prepared."""
    from transformers import CLIPImageProcessor, LlavaProcessor

    tokenizer = _tokenizer(source / "tokenizer.model")
    if len(tokenizer) != published["vocab_size"]:
        raise ConfigError(
            f"{source}: expected a tokenizer of {published['vocab_size']} tokens (vocab_size of config.json), got "
            f"{len(tokenizer)}"
        )
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE_TOKEN]})
    tokenizer.pad_token = tokenizer.unk_token
    edge, patch = _edge(stored)
    pictures = CLIPImageProcessor(size={"shortest_edge": edge}, crop_size={"height": edge, "width": edge})
    return LlavaProcessor(  # type: ignore[no-untyped-call]
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE_TOKEN,
        chat_template=TEMPLATE,
    )


def _tokenizer(path: Path) -> Any:
    """The sentencepiece model as a tokenizer of the library.

    A blank goes before each part between special tokens (``legacy``), as in the code of LLaVA, which tokenizes what is
    before and after a picture by itself.
    """
    from transformers import LlamaTokenizer
    from transformers.tokenization_utils_sentencepiece import SentencePieceExtractor

    try:
        vocabulary, _, merges = SentencePieceExtractor(str(path)).extract()
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"{path}: expected the sentencepiece model of LLaVA-Med v1.5, got: {error}") from None
    return LlamaTokenizer(vocab=vocabulary, merges=merges, legacy=True)


def _shape(stored: Mapping[str, Stored], name: str) -> tuple[int, ...]:
    if name not in stored:
        raise ConfigError(f"expected the tensor {name}, found none among the weights")
    return stored[name].shape


def _edge(stored: Mapping[str, Stored]) -> tuple[int, int]:
    """Edge of the vision tower's pictures and of its patches, pixels."""
    patch = _shape(stored, "model.vision_tower.embeddings.patch_embedding.weight")[-1]
    positions = _shape(stored, "model.vision_tower.embeddings.position_embedding.weight")[0]
    return math.isqrt(positions - 1) * patch, patch


def _config(published: Mapping[str, Any], stored: Mapping[str, Stored], processor: Any) -> "LlavaConfig":
    """Configuration of the class: of the language model as published, of the vision tower as its tensors are."""
    from transformers import CLIPVisionConfig, LlavaConfig, MistralConfig

    edge, patch = _edge(stored)
    inner, width = _shape(stored, "model.vision_tower.encoder.layers.0.mlp.fc1.weight")
    layers = {m[1] for name in stored if (m := re.match(r"model\.vision_tower\.encoder\.layers\.(\d+)\.", name))}
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=len(layers),
        num_attention_heads=width // _HEAD_WIDTH,
        image_size=edge,
        patch_size=patch,
    )
    if missing := [key for key in _NEEDED if key not in published]:
        raise ConfigError(f"config.json: expected the keys {', '.join(_NEEDED)}, found no {', '.join(missing)}")
    of_text = {key: published[key] for key in (*_NEEDED, *_MAYBE) if key in published}
    text = MistralConfig(**of_text, vocab_size=len(processor.tokenizer))
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=processor.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        image_seq_length=(edge // patch) ** 2,
        vision_feature_layer=published.get("mm_vision_select_layer", -2),
        vision_feature_select_strategy="default",
        dtype=published.get("torch_dtype", published.get("dtype", "bfloat16")),
        architectures=["LlavaForConditionalGeneration"],
    )


def _require_all(source: Path, config: "LlavaConfig", shapes: Mapping[str, tuple[int, ...]]) -> None:
    """
    Raises:
        ConfigError: a tensor of the class is missing, one is not the class's, or one has another shape.
    """
    import torch
    from transformers import LlavaForConditionalGeneration

    with torch.device("meta"):
        wanted = {n: tuple(t.shape) for n, t in LlavaForConditionalGeneration(config).state_dict().items()}
    added = {n: (s[0] + 1, *s[1:]) if _has_words(n) else s for n, s in shapes.items()}
    told = []
    if missing := sorted(wanted.keys() - added.keys()):
        told.append(_listed("missing", missing))
    if unknown := sorted(added.keys() - wanted.keys()):
        told.append(_listed("unknown", unknown))
    if other := sorted(n for n in wanted.keys() & added.keys() if wanted[n] != added[n]):
        told.append(_listed("of another shape", [f"{n} {added[n]}, expected {wanted[n]}" for n in other]))
    if told:
        raise ConfigError(f"{source}: expected exactly the tensors of LLaVA-Med v1.5; {'; '.join(told)}")


def _listed(what: str, names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{what}: {', '.join(names[:5])}{more}"


def _has_words(name: str) -> bool:
    """Whether a tensor has a row a token."""
    return name in ("model.language_model.embed_tokens.weight", "lm_head.weight")


def _write(stored: Mapping[str, Stored], folder: Path, told: Callable[[int], None]) -> int:
    """Write the tensors, one file for each that held some, and the index; how many numbers they hold."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    files = sorted({at.file for at in stored.values()})
    places: dict[str, str] = {}
    numbers = size = 0
    for number, file in enumerate(files, 1):
        name = f"model-{number:05}-of-{len(files):05}.safetensors"
        tensors: dict[str, torch.Tensor] = {}
        with safe_open(file, "pt") as opened:
            for new, at in stored.items():
                if at.file == file:
                    tensor = opened.get_tensor(at.name)
                    tensors[new] = _with_image_row(tensor) if _has_words(new) else tensor
        save_file(tensors, folder / name, metadata={"format": "pt"})
        places |= dict.fromkeys(tensors, name)
        numbers += sum(t.numel() for t in tensors.values())
        size += sum(t.numel() * t.element_size() for t in tensors.values())
        told(len(tensors))
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
    return numbers


def _with_image_row(table: "torch.Tensor") -> "torch.Tensor":
    """A table with a row a token, and one more: that of the unknown token, id 0."""
    import torch

    return torch.cat([table, table[:1]])


def _generation(processor: Any) -> Any:
    from transformers import GenerationConfig

    tokenizer = processor.tokenizer
    return GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
