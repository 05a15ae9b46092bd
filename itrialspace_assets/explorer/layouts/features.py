"""Features of nodules as a matrix of comparable numbers, without a unit."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from itrialspace_assets.explorer.layouts.presets import FeatureSet
from itrialspace_assets.explorer.layouts.table import NoduleTable, by_value

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Features:
    """``matrix`` (n, f), float32, rows as the nodules; ``names`` of its columns, a category as column=value."""

    names: tuple[str, ...]
    matrix: Singles


def features_of(nodules: NoduleTable, chosen: FeatureSet) -> Features:
    """Scaled numbers, then a column of 0 and 1 for each value of each category that occurs.

    A number that is missing counts as the middle of its column, a missing category as none of its values. Columns are
    read one after another: of a million nodules all at once would take half a gigabyte.

    Args:
        nodules: the table ``nodules``.
        chosen: which columns, and how numbers are scaled.
    """
    flags = [(column, code, value) for column in chosen.categories for value, code in by_value(nodules, column)]
    names = (*chosen.numbers, *(f"{column}={value}" for column, _, value in flags))
    matrix = np.empty((nodules.height, len(names)), np.float32)
    for at, column in enumerate(chosen.numbers):
        values = nodules.numbers(column)
        matrix[:, at] = _scaled(np.where(np.isfinite(values), values, np.nan), chosen.robust)
    first = len(chosen.numbers)
    for column in chosen.categories:
        codes = [code for of, code, _ in flags if of == column]
        of_code = np.zeros((len(nodules.values(column)) + 1, len(codes)), np.float32)
        of_code[codes, np.arange(len(codes))] = 1
        matrix[:, first : first + len(codes)] = of_code[nodules.codes(column)]  # one pass, not one for each value
        first += len(codes)
    return Features(names, matrix)


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
