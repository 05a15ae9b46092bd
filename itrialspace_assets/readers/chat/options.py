"""What an entry of ``readers.yaml`` may say about a language model. Loads none."""

from typing import Literal

from pydantic import Field

from itrialspace_assets.base.validation import WrittenModel
from itrialspace_assets.readers.weights import FOLDER_NAME

#: Levels of a scan that MedGemma's publisher shows it at most (docs/facts/readers.md#medgemma).
MOST_LEVELS = 85


class ChatOptions(WrittenModel):
    """Options of every language model.

    Attributes:
        weights: folder of the weights below ITRIALSPACE_WEIGHTS_DIR; the reader's name without one.
        answer: what is asked for: scores of the options, the text that the model writes, or both.
        dtype: numbers that the model computes with.
        attention: how transformers computes attention; ``flash_attention_2`` needs the package flash-attn.
        batch: requests that the model is given at once. Each batch is filled up to it, so that a request is computed
            alike whatever it is asked with; another size is another revision, because rounding depends on it.
        new_tokens: most tokens of a text.
        template: chat template (Jinja) in place of the one in the folder.
    """

    weights: str | None = Field(None, pattern=FOLDER_NAME)
    answer: Literal["scores", "text", "both"] = "scores"
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    batch: int = Field(8, ge=1, le=1024)
    new_tokens: int = Field(64, ge=1, le=8192)
    template: str | None = Field(None, min_length=1)


class MedGemmaOptions(ChatOptions):
    """MedGemma: slices, or with ``scan_levels`` whole scans, shown up to so many of their levels."""

    scan_levels: int | None = Field(None, ge=1, le=MOST_LEVELS)
