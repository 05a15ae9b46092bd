"""Features of nodules as a matrix of comparable numbers, without a unit."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from itrialspace_assets.explorer.layouts.presets import FeatureSet

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Features:
    """``matrix`` (n, f), float32, rows as the nodules; ``names`` of its columns, a category as column=value."""

    names: tuple[str, ...]
    matrix: Singles


def features_of(nodules: pl.DataFrame, chosen: FeatureSet) -> Features:
    """Scaled numbers, then a column of 0 and 1 for each value of each category that occurs.

    A number that is missing counts as the middle of its column, a missing category as none of its values.

    Args:
        nodules: rows of the table ``nodules``.
        chosen: which columns, and how numbers are scaled.
    """
    numbers = np.stack([_scaled(_numbers(nodules[c]), chosen.robust) for c in chosen.numbers], axis=1)
    names, flags = list(chosen.numbers), []
    for column in chosen.categories:
        for value in nodules[column].drop_nulls().unique().sort():
            names.append(f"{column}={value}")
            flags.append((nodules[column] == value).fill_null(False).to_numpy())
    parts = [numbers.astype(np.float32), *(flag.astype(np.float32)[:, None] for flag in flags)]
    return Features(tuple(names), np.ascontiguousarray(np.hstack(parts)))


def scaled(values: Floats) -> Floats:
    """Columns (n, f) less their mean over their standard deviation; what is not finite becomes 0, the mean."""
    known = np.where(np.isfinite(values), values, np.nan)
    return np.stack([_scaled(column, False) for column in known.T], axis=1)


def _numbers(column: pl.Series) -> Floats:
    """A column (n,) with NaN where it is null or not finite."""
    values = np.array(column.cast(pl.Float64).to_numpy(), dtype=np.float64)
    values[~np.isfinite(values)] = np.nan
    return values


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
