"""Loads a language model from a folder and asks it: scores of options, texts, or both.

Requests of the same words about pictures of the same size are as long as each other, so a batch holds only such and
needs no padding; it is filled up by repeating its last request. Every number of a request is thus computed from
tensors of the same shape whatever the request is asked with.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.readers import compute
from itrialspace_assets.readers.api import Generation, Read, Request
from itrialspace_assets.readers.chat import forms, scores
from itrialspace_assets.readers.chat.options import ChatOptions
from itrialspace_assets.readers.chat.turns import turn
from itrialspace_assets.readers.square import pixels_lost, rejected
from itrialspace_assets.synthesis import devices

if TYPE_CHECKING:
    import torch

#: Ends of the names of tables that older versions stored and that follow from the configuration.
_DERIVED = (".position_ids", ".inv_freq")
#: Tensors with a column for each token; all others are pictures'.
_PER_TOKEN = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")


@dataclass(frozen=True, eq=False)
class Engine:
    """A loaded model with its processor, and the words of its vocabulary."""

    model: Any
    processor: Any
    words: dict[str, forms.Tokens]
    options: ChatOptions
    device: str

    def read(self, requests: Sequence[Request]) -> list[Generation]:
        """One generation for each request, in their order."""
        found: dict[str, Generation] = {}
        for group in _alike(requests):
            for start in range(0, len(group), self.options.batch):
                part = group[start : start + self.options.batch]
                found |= zip((r.key for r in part), self._asked(part), strict=True)
        return [found[r.key] for r in requests]

    def _asked(self, part: Sequence[Request]) -> list[Generation]:
        """What comes back for at most a batch of requests that are alike."""
        import torch

        if lost := sum(self._lost(picture.shape) for picture in part[0].pictures):
            return [rejected(lost)] * len(part)
        inputs = self._inputs(part)
        with devices.turn(self.device), torch.inference_mode():
            texts = [None] * len(part) if self.options.answer == "scores" else self._texts(inputs)[: len(part)]
            if self.options.answer == "text":
                return [Generation(text) for text in texts]
            scored = self._scored(part, inputs)
        return [Generation(text, of.scores, of.outside) for text, of in zip(texts, scored, strict=True)]

    def _lost(self, shape: tuple[int, ...]) -> int:
        """Pixels of a picture that the processor would cut off."""
        of = self.processor.image_processor
        if not getattr(of, "do_center_crop", None):
            return 0
        edge = of.size.get("shortest_edge") or min(of.size["height"], of.size["width"])
        return pixels_lost(shape, edge, (of.crop_size["height"], of.crop_size["width"]))

    def _inputs(self, part: Sequence[Request]) -> dict[str, "torch.Tensor"]:
        """Tensors of a full batch; pictures are rounded to the model's own numbers."""
        import torch

        rows = [
            self.processor.apply_chat_template(
                turn(request),
                chat_template=self.options.template,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            )
            for request in part
        ]
        rows += rows[-1:] * (self.options.batch - len(rows))
        given = {name: torch.cat([row[name] for row in rows]).to(self.device) for name in rows[0]}
        return {
            name: tensor if name in _PER_TOKEN or not tensor.is_floating_point() else tensor.to(self.model.dtype)
            for name, tensor in given.items()
        }

    def _scored(self, part: Sequence[Request], inputs: dict[str, "torch.Tensor"]) -> list[scores.OptionScores]:
        """Scores of the options of each request."""
        tokenizer = self.processor.tokenizer
        sets = {o: forms.closed_set(tokenizer, self.words, o) for o in {request.options for request in part}}
        inner = self.model.model
        if hasattr(inner, "rope_deltas"):
            inner.rope_deltas = None  # how far the pictures of the batch before shifted its positions
        out = self.model(**inputs, use_cache=any(s.first is None for s in sets.values()), logits_to_keep=1)
        found = []
        for row, options in enumerate(sets[request.options] for request in part):
            if options.first is not None:
                found.append(scores.by_first_token(out.logits[row, -1], options.first))
            else:
                padded, later = self._continued(out.cache, row, options.sequences)
                found.append(scores.by_sequence(out.logits[row, -1], later, padded, options.sequences))
        return found

    def _continued(
        self, cache: Any, row: int, sequences: tuple[tuple[forms.Tokens, ...], ...]
    ) -> tuple["torch.Tensor", "torch.Tensor"]:
        """Forms as tokens (K, T), and logits (K, T, V) after each of them, behind one row of a batch."""
        import torch

        flat = [form for of in sequences for form in of]
        longest = max(len(form) for form in flat)
        padded = torch.tensor([form + form[-1:] * (longest - len(form)) for form in flat], device=self.device)
        own = copy.copy(cache)  # its layers are replaced, not changed: the batch's other rows need the cache too
        own.layers = [copy.copy(layer) for layer in cache.layers]
        own.batch_select_indices(torch.full((len(flat),), row, device=self.device))
        inner = self.model.model
        if getattr(inner, "rope_deltas", None) is not None:
            inner.rope_deltas = inner.rope_deltas[:1]  # alike in all rows, as these are
        return padded, self.model(input_ids=padded, cache=own).logits

    def _texts(self, inputs: dict[str, "torch.Tensor"]) -> list[str | None]:
        """What the model writes: at each step the likeliest token, whatever settings lie in the folder."""
        from transformers import GenerationConfig

        tokenizer, ends = self.processor.tokenizer, self.model.generation_config.eos_token_id
        ends = tokenizer.eos_token_id if ends is None else ends
        pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        how = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False, max_new_tokens=self.options.new_tokens, eos_token_id=ends, pad_token_id=pad
        )
        out = self.model.generate(**inputs, generation_config=how)[:, inputs["input_ids"].shape[1] :]
        return [text.strip() for text in tokenizer.batch_decode(out, skip_special_tokens=True)]


def _alike(requests: Sequence[Request]) -> list[list[Request]]:
    """Requests of the same words about pictures of the same sizes, together."""
    groups: dict[tuple[Any, ...], list[Request]] = {}
    for request in requests:
        groups.setdefault((request.prompt, tuple(p.shape[:2] for p in request.pictures)), []).append(request)
    return list(groups.values())


def _wrong(told: dict[str, Any]) -> str:
    """What transformers says of tensors that are missing, unknown or of another shape; it would go on without them."""
    found = {what: sorted(str(key) for key in keys if not str(key).endswith(_DERIVED)) for what, keys in told.items()}
    return "; ".join(
        f"{len(keys)} {what.replace('_', ' ')}, first {', '.join(keys[:3])}" for what, keys in found.items() if keys
    )


def load(folder: Path, options: ChatOptions, device: str) -> Read:
    """The model in a folder, ready to be asked; nothing is downloaded and no code of the folder is run.

    Args:
        folder: weights, configuration, processor and tokenizer as transformers writes them.
        options: of the reader.
        device: ``cuda`` (the one that is this worker's) or ``cpu``.

    Raises:
        ConfigError: the folder is not that of an image-text-to-text model, or its weights are not the model's.
    """
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processors: Any = AutoProcessor
    models: Any = AutoModelForImageTextToText
    try:
        processor = processors.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model, told = models.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            dtype=getattr(torch, options.dtype),
            attn_implementation=options.attention,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ConfigError(f"{folder}: expected an image-text-to-text model of transformers, got: {error}") from None
    if wrong := _wrong(told):
        raise ConfigError(f"{folder}: expected weights of {type(model).__name__}, got {wrong}")
    if options.template is None and getattr(processor, "chat_template", None) is None:
        raise ConfigError(f"{folder}: expected a chat template, got none; give options.template in readers.yaml")
    words, device = forms.single_tokens(processor.tokenizer), compute.start(device)
    return Engine(model.to(device).eval(), processor, words, options, device).read
