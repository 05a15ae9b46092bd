"""Tiny random language models in the layout of the published ones, written by the classes of the library itself.

Tokenizers are trained here on a few lines; nothing is downloaded. Pictures are 8 × 8 pixels and four tokens.
"""

import json
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPVisionConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessor,
    Gemma3Processor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

LINES = [
    "yes no Yes No present absent right upper lobe right middle lobe right lower lobe left upper lobe left lower lobe",
    "Is a lung nodule visible on this slice of the chest? SLICE 1 2 3 user model",
    "right_lung_upper_lobe right_lung_middle_lobe left_lung_lower_lobe <5mm 5-10mm 10-20mm >20mm <5 mm, yes no",
]
GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>user\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<start_of_image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "<end_of_turn>\n{% endfor %}<start_of_turn>model\n"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>user\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}<|im_start|>assistant\n"
)


def byte_level(special: list[str]) -> Tokenizer:
    """A byte-level vocabulary of 340 tokens that knows the words of ``LINES``."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([*LINES, "yes", "no", "Yes", "No", "present", "absent"] * 3, trainer)
    return tokenizer


def _saved(model: Any, processor: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def gemma(folder: Path) -> Path:
    """As ``google/medgemma-4b-it``: a sliding and a full layer of attention, pictures seen in both directions."""
    torch.manual_seed(0)
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>",
               "<end_of_image>", "<image_soft_token>"]  # fmt: skip
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_level(special),
        pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>",
        extra_special_tokens={"image_token": "<image_soft_token>", "boi_token": "<start_of_image>",
                              "eoi_token": "<end_of_image>"},
    )  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 8,
        "patch_size": 2,
    }  # fmt: skip
    text = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 8, "sliding_window": 16, "pad_token_id": 0, "eos_token_id": 1,
        "bos_token_id": 2, "query_pre_attn_scalar": 8, "layer_types": ["sliding_attention", "full_attention"],
    }  # fmt: skip
    names = ("image", "boi", "eoi")
    ids = dict(zip(names, tokenizer.convert_tokens_to_ids(["<image_soft_token>", *special[6:8]]), strict=True))
    config = Gemma3Config(
        text_config=text | {"vocab_size": len(tokenizer)}, vision_config=vision, mm_tokens_per_image=4,
        **{f"{name}_token_index": number for name, number in ids.items()}, initializer_range=0.5,
    )  # fmt: skip
    processor = Gemma3Processor(
        Gemma3ImageProcessor(size={"height": 8, "width": 8}),
        tokenizer,
        chat_template=GEMMA_TEMPLATE,
        image_seq_length=4,
    )
    return _saved(_wide(Gemma3ForConditionalGeneration(config)), processor, folder)


def qwen(folder: Path) -> Path:
    """As ``Qwen/Qwen2.5-VL-7B-Instruct``: three-dimensional positions."""
    torch.manual_seed(0)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
               "<|image_pad|>", "<|video_pad|>"]  # fmt: skip
    made = json.loads(byte_level(special).to_str())["model"]
    merges = [tuple(pair) for pair in made["merges"]]
    tokenizer = Qwen2Tokenizer(vocab=made["vocab"], merges=merges, eos_token="<|im_end|>", extra_special_tokens=special)
    ids = dict(zip(special, tokenizer.convert_tokens_to_ids(special), strict=True))
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 1, "rope_parameters": {"rope_type": "default",
            "rope_theta": 1e4, "mrope_section": [2, 1, 1]}, "eos_token_id": ids["<|im_end|>"], "bos_token_id": None,
        },
        vision_config={
            "depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "patch_size": 2,
            "out_hidden_size": 16, "spatial_merge_size": 2, "window_size": 8, "fullatt_block_indexes": [0],
        },
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip
    sizes = {"patch_size": 2, "merge_size": 2, "size": {"shortest_edge": 64, "longest_edge": 64}}
    processor = Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(**sizes), tokenizer, Qwen2VLVideoProcessor(**sizes), chat_template=QWEN_TEMPLATE
    )
    return _saved(_wide(Qwen2_5_VLForConditionalGeneration(config)), processor, folder)


def llava_med_as_published(folder: Path) -> Path:
    """As ``microsoft/llava-med-v1.5-mistral-7b``: names of tensors of the original's code, a sentencepiece model."""
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    lines = folder / "lines.txt"
    lines.write_text("\n".join([*LINES, "yes no", "Yes", "No"] * 4))
    sentencepiece.SentencePieceTrainer.train(
        input=str(lines), model_prefix=str(folder / "tokenizer"), vocab_size=400, model_type="bpe", byte_fallback=True,
        minloglevel=2, hard_vocab_limit=False, normalization_rule_name="identity", remove_extra_whitespaces=False,
    )  # fmt: skip
    lines.unlink()
    (folder / "tokenizer.vocab").unlink()
    size = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model")).get_piece_size()
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(special | {"tokenizer_class": "LlamaTokenizer"}))
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    text = {
        "vocab_size": size, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "rms_norm_eps": 1e-5, "rope_theta": 1e6,
        "sliding_window": None,
    }  # fmt: skip
    published = text | {
        "model_type": "llava_mistral", "architectures": ["LlavaMistralForCausalLM"], "torch_dtype": "bfloat16",
        "mm_vision_tower": "openai/clip-vit-large-patch14-336", "mm_projector_type": "mlp2x_gelu",
        "mm_hidden_size": 64, "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(published))
    tensors = {_as_published(name): tensor.bfloat16() for name, tensor in _llava(text).state_dict().items()}
    tensors["model.vision_tower.vision_tower.vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    shards = [sorted(tensors)[i::2] for i in (0, 1)]
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05}-of-00002.safetensors"
        save_file({n: tensors[n].contiguous() for n in names}, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(names, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def _llava(text: dict[str, Any]) -> LlavaForConditionalGeneration:
    vision = CLIPVisionConfig(
        hidden_size=64, intermediate_size=16, num_hidden_layers=2, num_attention_heads=1, image_size=8, patch_size=4
    )
    return _wide(LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=MistralConfig(**text))))


def _as_published(name: str) -> str:
    """A tensor's name in the code of LLaVA-Med, in which the language model is the model and holds the others."""
    for new, old in (
        ("model.multi_modal_projector.linear_1.", "model.mm_projector.0."),
        ("model.multi_modal_projector.linear_2.", "model.mm_projector.2."),
        ("model.vision_tower.", "model.vision_tower.vision_tower.vision_model."),
        ("model.language_model.", "model."),
    ):
        if name.startswith(new):
            return old + name.removeprefix(new)
    return name


def _wide(model: Any) -> Any:
    """A model whose random numbers are wide enough that what it is shown changes what it says."""
    with torch.no_grad():
        for tensor in model.parameters():
            if tensor.dim() > 1:
                tensor.normal_(0, 0.5)
    return model.eval()
