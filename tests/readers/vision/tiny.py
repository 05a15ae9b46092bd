"""CLIP models in miniature: open_clip's own classes with random weights, in folders of the published layouts."""

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing
from transformers import BertConfig, BertTokenizerFast

from itrialspace_assets.base.yaml_files import read_yaml
from itrialspace_assets.readers.vision import captions

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PREPROCESS = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]}


def words() -> list[str]:
    """Every word of the shipped captions, so that no two captions are the same to the tokenizer."""
    shipped = read_yaml(Path(captions.__file__).with_name("captions.yaml"))["prompts"]
    text = " ".join(p[key] for p in shipped.values() for key in ("text", "paraphrase")).lower()
    split = BertPreTokenizer().pre_tokenize_str(text)
    return sorted({word for word, _ in split})


def tiny_biomedclip(folder: Path, seed: int = 0, image: tuple[str, int] = ("test_vit", 160)) -> Path:
    """BiomedCLIP's layout: timm image tower, BERT text tower named by an id, its configuration beside the weights.

    ``image`` names timm's model of the image tower and says how many pixels it takes.
    """
    folder.mkdir(parents=True)
    vocabulary = {word: i for i, word in enumerate((*SPECIAL, *words()))}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
    tokenizer.post_processor = BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    BertTokenizerFast(tokenizer_object=tokenizer, model_max_length=32).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    config.save_pretrained(folder / "text_tower")
    text = {
        "hf_model_name": "some/BERT",
        "hf_tokenizer_name": "some/BERT",
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "context_length": 32,
    }
    vision = {"timm_model_name": image[0], "timm_pool": "", "timm_proj": "linear", "image_size": image[1]}
    _save(folder, {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}, seed)
    return folder


def tiny_clip(folder: Path, seed: int = 0, image_size: Any = 64) -> Path:
    """A model whose towers are both open_clip's own."""
    folder.mkdir(parents=True)
    vision = {"image_size": image_size, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16}
    text = {"context_length": 40, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    _save(folder, {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}, seed)
    return folder


def _save(folder: Path, config: dict[str, Any], seed: int) -> None:
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": PREPROCESS}))
    text = dict(config["text_cfg"])
    custom = "hf_model_name" in text
    if custom:
        text |= {"hf_model_name": str(folder / "text_tower"), "hf_model_pretrained": False}
    made = open_clip.model.CustomTextCLIP if custom else open_clip.model.CLIP
    torch.manual_seed(seed)
    model = made(config["embed_dim"], CLIPVisionCfg(**config["vision_cfg"]), CLIPTextCfg(**text))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, 0, 0.2)  # so that pictures and captions differ
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
