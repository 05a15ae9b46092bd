"""Outcomes as a table: a row a slice, a column a cell (reader, task, condition, measure).

Most slices are answered in every cell, so two million answers are fifty thousand rows of small numbers. A slice that
stands for several cases of a mode counts once. Compares nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl

from itrialspace_assets.analysis.estimates.cells import Flags, codes
from itrialspace_assets.analysis.scoring.training import Trained

CELL = ["reader", "task", "condition", "measure"]
_SLICE = ["source", "mode", "slice_uid"]
_OF_SLICE = (
    *("nodule_uid", "dataset", "donor_dataset", "lobe", "size_class", "negative_type"),
    *("host_person_uid", "donor_person_uid", "anatomy"),
)


@dataclass(frozen=True)
class AnswerTable:
    """Answers of a whole study.

    Attributes:
        slices: source, mode and what is known of each slice (n rows); ``_host`` and ``_donor`` number persons, one
            without a donor has a number of its own. Negatives have neither lobe nor size class.
        cells: reader, task, condition, measure (C rows).
        right: 1 right, 0 wrong, -1 not asked or not scored (n, C).
    """

    slices: pl.DataFrame
    cells: pl.DataFrame
    right: np.ndarray[tuple[int, int], np.dtype[np.int8]]

    @cached_property
    def filled(self) -> Flags:
        """Slices (n,) that count in some cell."""
        return np.asarray((self.right >= 0).any(axis=1))

    @property
    def counted(self) -> pl.DataFrame:
        """Slices that count in some cell."""
        return self.slices.filter(pl.Series(self.filled))


def answer_table(found: pl.DataFrame) -> AnswerTable:
    """The table of outcomes.

    Args:
        found: of ``outcomes.outcomes`` or ``outcomes.study_outcomes``.
    """
    row, keys = codes(found, _SLICE)
    column, cells = codes(found, CELL)
    right = np.full((keys.height, cells.height), -1, np.int8)
    right[row, column] = found["right"].to_numpy()
    first: np.ndarray[tuple[int], np.dtype[np.int64]] = np.full(keys.height, -1, np.int64)
    first[row[::-1]] = np.arange(found.height)[::-1]
    shown = pl.col("negative_type").is_null()
    slices = (
        found[first]
        .select(pl.col(*_SLICE, *_OF_SLICE).cast(pl.String))
        .with_columns(pl.when(shown).then(c).alias(c) for c in ("lobe", "size_class"))
    )
    alone = pl.when(pl.col("donor_person_uid").is_null()).then("slice_uid")
    persons = slices.select("host_person_uid", "donor_person_uid", alone=alone)
    slices = slices.with_columns(
        _host=pl.Series(codes(persons, ["host_person_uid"])[0]),
        _donor=pl.Series(codes(persons, ["donor_person_uid", "alone"])[0]),
    )
    return AnswerTable(slices, cells.select(pl.col(CELL).cast(pl.String)), right)


def unseen(found: AnswerTable, trained: Mapping[str, Trained], source: str) -> tuple[AnswerTable, list[str]]:
    """Answers but those about people of datasets that the reader or the renderer saw, and whose training is not known.

    A person counts as seen under every name: hosts and donors of any dataset that share a person with a seen one.

    Args:
        found: answers of all sources.
        trained: declarations of readers and renderers by name.
        source: the renderer.
    """
    right, unknown, slices = found.right.copy(), set[str](), found.slices
    for (reader,) in found.cells.select("reader").unique().sort("reader").iter_rows():
        names = [n for n in (reader, source) if n in trained]
        unknown |= {n for n in names if trained[n].unknown}
        of = sorted(set().union(*(trained[n].datasets for n in names)))
        persons = slices.filter(pl.col("dataset").is_in(of))["host_person_uid"].unique().to_list()
        seen = slices.select(
            pl.any_horizontal(
                *(pl.col(c).is_in(of) for c in ("dataset", "donor_dataset")),
                *(pl.col(c).is_in(persons) for c in ("host_person_uid", "donor_person_uid")),
            ).fill_null(False)
        )
        mine = (found.cells["reader"] == reader).to_numpy()
        right[np.ix_(seen.to_series().to_numpy(), mine)] = -1
    return replace(found, right=right), sorted(unknown)
