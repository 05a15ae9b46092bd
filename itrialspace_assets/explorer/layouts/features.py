"""Features of nodules as a matrix of comparable numbers, without a unit."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from itrialspace_assets.explorer.layouts.presets import FeatureSet
from itrialspace_assets.explorer.layouts.table import NoduleTable, by_value

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

#: Rows that are put together at once, so that they stay in the processor's cache; ours, measured.
_TOGETHER = 1 << 11


@dataclass(frozen=True, eq=False)
class Category:
    """A category as columns of 0 and 1: ``flags`` (codes, columns) of each of the ``codes`` (n,)."""

    codes: npt.NDArray[Any]
    flags: Singles


@dataclass(frozen=True, eq=False)
class Features:
    """A matrix (n, f), float32, rows as the nodules; ``names`` of its columns, a category as column=value.

    Whole, that of the larger feature set takes 220 MiB of a million nodules, half of them 0 and 1. Held are ``numbers``
    (n, numbers), column after column, and the categories' codes; rows are put together when they are asked for.
    """

    names: tuple[str, ...]
    numbers: Singles
    categories: tuple[Category, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.numbers), len(self.names)

    @property
    def matrix(self) -> Singles:
        """All rows (n, f)."""
        return self[:]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: slice | npt.NDArray[np.int64]) -> Singles:
        """Some rows (m, f)."""
        numbers, codes = self.numbers[rows], [category.codes[rows] for category in self.categories]
        out = np.empty((len(numbers), len(self.names)), np.float32)
        for first in range(0, len(out), _TOGETHER):
            block = slice(first, first + _TOGETHER)
            for at, column in enumerate(numbers[block].T):
                out[block, at] = column
            last = numbers.shape[1]
            for category, of in zip(self.categories, codes, strict=True):
                before, last = last, last + category.flags.shape[1]
                out[block, before:last] = category.flags.take(of[block], axis=0)
        return out


def features_of(nodules: NoduleTable, chosen: FeatureSet) -> Features:
    """Scaled numbers, then a column of 0 and 1 for each value of each category that occurs.

    A number that is missing counts as the middle of its column, a missing category as none of its values. Columns are
    read one after another: of a million nodules all at once would take half a gigabyte.

    Args:
        nodules: the table ``nodules``.
        chosen: which columns, and how numbers are scaled.
    """
    numbers = np.empty((nodules.height, len(chosen.numbers)), np.float32, order="F")
    for at, column in enumerate(chosen.numbers):
        values = nodules.numbers_once(column)
        numbers[:, at] = _scaled(np.where(np.isfinite(values), values, np.nan), chosen.robust)
    names, categories = list(chosen.numbers), []
    for column in chosen.categories:
        values_of = by_value(nodules, column)
        flags = np.zeros((len(values_of) + 1, len(values_of)), np.float32)
        flags[[code for _, code in values_of], np.arange(len(values_of))] = 1
        categories.append(Category(nodules.codes(column), flags))
        names += [f"{column}={value}" for value, _ in values_of]
    return Features(tuple(names), numbers, tuple(categories))


def bytes_for(nodules: NoduleTable, chosen: FeatureSet) -> int:
    """Bytes that features take while they are made and reduced: themselves, a column, and blocks of rows.

    Args:
        nodules: the table ``nodules``.
        chosen: the feature set.
    """
    return nodules.height * (4 * len(chosen.numbers) + len(chosen.categories) + 5 * 8)


def count_of(nodules: NoduleTable, chosen: FeatureSet) -> int:
    """How many columns the features have."""
    return len(chosen.numbers) + sum(len(nodules.values(column)) for column in chosen.categories)


def scaled(values: Floats) -> Floats:
    """Columns (n, f) less their mean over their standard deviation; what is not finite becomes 0, the mean."""
    known = np.where(np.isfinite(values), values, np.nan)
    return np.stack([_scaled(column, False) for column in known.T], axis=1)


def _scaled(values: Floats, robust: bool) -> Floats:
    """A column (n,) about its middle; one without spread keeps its unit, one without values is 0."""
    known = values[~np.isnan(values)]
    if not known.size:
        return np.zeros(len(values))
    if robust:
        middle = np.median(known)
        low, high = np.percentile(np.nan_to_num(values, nan=middle), [25, 75])
        spread = high - low
    else:
        middle, spread = known.mean(), known.std()
    return np.asarray(np.nan_to_num((values - middle) / (spread if spread > 0 else 1.0), nan=0.0))
