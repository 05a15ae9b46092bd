"""Which datasets a reader or a renderer saw when it was made, as they declare it, and answers free of them."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import polars as pl

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


def unseen(found: pl.DataFrame, trained: Mapping[str, Trained], source: str) -> tuple[pl.DataFrame, list[str]]:
    """Outcomes without the people of datasets that the reader or the renderer saw, and what is not known.

    A person counts as seen under every name: hosts and donors of any dataset that share a person with a seen one.

    Args:
        found: outcomes of one renderer and of the real slices.
        trained: of ``trained_on``.
        source: the renderer.
    """
    parts, unknown = [], []
    for (reader,), rows in found.group_by("reader", maintain_order=True):
        names = [n for n in (str(reader), source) if n in trained]
        seen = sorted(set().union(*(trained[n].datasets for n in names)))
        unknown += [n for n in names if trained[n].unknown]
        of_seen = pl.col("dataset").cast(pl.String).is_in(seen)
        persons = rows.filter(of_seen)["host_person_uid"].unique()
        own = [pl.col(c).is_in(persons.implode()) for c in ("host_person_uid", "donor_person_uid")]
        donor = pl.col("donor_dataset").cast(pl.String).is_in(seen)
        parts.append(rows.filter(~pl.any_horizontal(of_seen, donor, *own).fill_null(False)))
    return (pl.concat(parts) if parts else found), sorted(set(unknown))
