"""The kinds of readers that are language models: what each expects in its folder, and its defaults."""

from dataclasses import replace
from functools import partial

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.readers.api import Need, Read, Reader
from itrialspace_assets.readers.chat.options import ChatOptions, MedGemmaOptions
from itrialspace_assets.readers.compute import device_of
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment, ReaderKind, reader_of
from itrialspace_assets.readers.prompts import prompts_of
from itrialspace_assets.readers.weights import ExpectedFiles, ReaderWeights, missing_packages, weights_of

VERSION = "1"
TASKS = ("presence", "lobe", "size")
#: What every folder of a model of transformers holds, one item a file.
_FILES = (
    ("config.json",),
    ("model.safetensors", "model.safetensors.index.json"),
    ("tokenizer.json",),
    ("tokenizer_config.json",),
    ("processor_config.json", "preprocessor_config.json"),
)
_TEMPLATE = ("chat_template.jinja", "chat_template.json")
_PACKAGES = ("torch", "transformers", "safetensors")

#: Where each comes from and what must be agreed to (docs/facts/readers.md#language-models).
_MEDGEMMA = ExpectedFiles(
    (*_FILES, _TEMPLATE),
    "google/medgemma-1.5-4b-it or google/medgemma-4b-it",
    "gated: accept the Health AI Developer Foundations terms on the model's page first",
)
_LLAVA_MED = ExpectedFiles(
    (*_FILES, _TEMPLATE),
    "microsoft/llava-med-v1.5-mistral-7b, converted by `its weights convert llava-med DIR`",
    "tagged apache-2.0",
)
_LLAVA15 = ExpectedFiles((*_FILES, _TEMPLATE), "llava-hf/llava-1.5-7b-hf", "Llama 2 community licence")
_ANY = ExpectedFiles(_FILES, "an image-text-to-text model of transformers", "see its own licence")


def build(
    expected: ExpectedFiles, licence: str, entry: ReaderEntry, options: ChatOptions, place: ReaderEnvironment
) -> Reader:
    """The language model of an entry.

    Args:
        expected: what its folder must hold.
        licence: of the weights, where the entry states none.
        entry: of ``readers.yaml``.
        options: its options, checked.
        place: where its weights lie, and where it computes.

    Raises:
        ConfigError: a task has no words, or is no question about a whole scan.
    """
    scan_levels = options.scan_levels if isinstance(options, MedGemmaOptions) else None
    tasks = entry.tasks or (TASKS if scan_levels is None else ("presence",))
    if scan_levels is not None and tasks != ("presence",):
        raise ConfigError(
            f"readers.yaml: readers.{entry.name}: tasks: expected presence alone of a reader of whole scans "
            f"(options.scan_levels), got {', '.join(tasks)}; a scan may hold several nodules"
        )
    weights = weights_of(entry, options.weights, place, expected)
    device = device_of(entry, place)
    return replace(
        reader_of(
            entry,
            digest([entry.kind, VERSION, options.model_dump(exclude={"weights"})], 16),
            partial(_load, weights, options, device),
            scorer="text" if options.answer == "text" else "option_scores",
            tasks=tasks,
            prompts=prompts_of(entry, tasks),
            licence=licence,
        ),
        scan_levels=scan_levels,
        files=weights.sha256,
        needs=partial(_needs, weights, options),
        device=device,
    )


def _needs(weights: ReaderWeights, options: ChatOptions) -> list[Need]:
    needs = missing_packages(_PACKAGES) + weights.needs()
    if options.attention == "flash_attention_2" and missing_packages(["flash_attn"]):
        fix = "install flash-attn for this torch and CUDA, or set options.attention: sdpa in readers.yaml"
        needs.append(Need("attention flash_attention_2: expected the package flash_attn, found none", fix))
    return needs


def _load(weights: ReaderWeights, options: ChatOptions, device: str) -> Read:
    from itrialspace_assets.readers.chat.engine import load

    assert weights.folder is not None  # a reader with needs is never loaded
    return load(weights.folder, options, device)


MEDGEMMA = ReaderKind("medgemma", MedGemmaOptions, partial(build, _MEDGEMMA, "HAI-DEF terms of use (gated)"))
LLAVA_MED = ReaderKind("llava_med", ChatOptions, partial(build, _LLAVA_MED, "apache-2.0 (tag of its page)"))
LLAVA15 = ReaderKind("llava15", ChatOptions, partial(build, _LLAVA15, "Llama 2 community licence"))
CHAT_MODEL = ReaderKind("chat_model", ChatOptions, partial(build, _ANY, "unknown"))
KINDS = (MEDGEMMA, LLAVA_MED, LLAVA15, CHAT_MODEL)
