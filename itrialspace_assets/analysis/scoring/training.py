"""Which datasets a reader or a renderer saw when it was made, as they declare it."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.synthesis.renderers import RENDERERS


@dataclass(frozen=True)
class Trained:
    """What something was trained on.

    Attributes:
        datasets: registered datasets that its declaration names.
        unknown: whether the declaration says that there may be others.
        text: the declaration.
    """

    datasets: frozenset[str]
    unknown: bool
    text: str

    @classmethod
    def declared(cls, text: str, known: Collection[str]) -> "Trained":
        """Read a declaration: names of datasets, ``unknown``, or ``nothing``.

        What names no dataset and does not begin with ``nothing`` is unknown.

        Examples:
            >>> Trained.declared("unknown (LUNA16 and others)", ["LUNA16", "LUNGx"]).datasets
            frozenset({'LUNA16'})
        """
        words = set(re.findall(r"[A-Za-z0-9_]+", text))
        named = frozenset(name for name in known if name in words)
        nothing = text.strip().lower().startswith("nothing")
        return cls(named, not nothing and ("unknown" in text.lower() or not named), text)


def trained_on(settings: Settings) -> dict[str, Trained]:
    """Declarations of all enabled readers and all renderers, by name."""
    known = datasets(settings)
    texts = {name: reader.trained_on for name, reader in readers(settings).items()}
    texts |= {name: renderer.trained_on for name, renderer in RENDERERS.items()}
    return {name: Trained.declared(text, known) for name, text in texts.items()}
