"""Limits of estimates from their two-way leave-cluster-out variance.

A share is put on the logit scale, what runs from -1 to 1 on that of Fisher's z, what is never negative on that of its
logarithm, the rest stays as it is. Clusters are left out on that scale, and the limits come from t with one degree of
freedom less than there are effective clusters (docs/decisions/0015-leave-cluster-out-intervals.md). An interval that
should not be trusted says why.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from itrialspace_assets.analysis.estimates.cells import Floats
from itrialspace_assets.analysis.estimates.jackknife import Estimates, Texts, given, three
from itrialspace_assets.analysis.estimates.variance import variance

Scale = Literal["share", "signed", "positive", "line"]
#: Fewer effective clusters than this are flagged: limits reach 92 % there, 93 % elsewhere (ours, docs/coverage.md).
FEW_EFFECTIVE = 15
#: With fewer there is no interval: t with less than one degree of freedom gives limits that say nothing (ours).
LEAST_EFFECTIVE = 2
_METHOD = "two-way leave-cluster-out jackknife"
_SCALES: dict[Scale, str] = {"share": "logit, t", "signed": "Fisher z, t", "positive": "log, t", "line": "t"}


@dataclass(frozen=True)
class Intervals:
    """Limits of each cell (C,), NaN where there are none; how they were made; what they should not be used for."""

    low: Floats
    high: Floats
    method: Texts
    n_effective: Floats
    flag: Texts


def exact(value: Floats, n: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Limits (Clopper and Pearson) of a share of 0 or 1 on so many independent cases, which need not be whole.

    Args:
        value: 0 or 1 (C,).
        n: independent cases (C,).
        alpha: 0.05 gives 95 % limits.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        edge = (alpha / 2) ** (1 / n)
    return np.where(value == 1, edge, 0.0), np.where(value == 0, 1 - edge, 1.0)


def critical(effective: Floats, alpha: float) -> Floats:
    """Two-sided critical value of t with one degree of freedom less than there are effective clusters (C,)."""
    return np.asarray(special.stdtrit(np.maximum(effective - 1, np.finfo(float).tiny), 1 - alpha / 2))


def _to_scale(values: Floats, estimate: Floats, n: Floats, scale: Scale) -> Floats:
    """Values of a metric on its working scale; an end of the scale is taken as half a row away from it.

    Args:
        values: what is put on the scale.
        estimate: estimate of the cell that each value is of.
        n: rows that count in that cell.
        scale: what the metric is.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        if scale == "share":
            return np.asarray(special.logit(np.clip(values, 0.5 / n, 1 - 0.5 / n)))
        if scale == "signed":
            return np.asarray(np.arctanh(np.clip(values, 1 / n - 1, 1 - 1 / n)))
        if scale == "positive":
            return np.asarray(np.log(np.maximum(values, 0.5 / n * estimate)))
    return values


def limits(estimates: Estimates, scale: Scale, alpha: float) -> tuple[Floats, Floats]:
    """Limits of each cell (C,) away from the edges of its scale, from what each cluster moves there.

    Args:
        estimates: the metric of all cells.
        scale: what it is.
        alpha: 0.05 gives 95 % limits.
    """
    value, n = estimates.value, estimates.n
    centre = _to_scale(value, value, n, scale)
    ways = three(
        replace(w, without=_to_scale(w.without, value[w.groups.cell], n[w.groups.cell], scale))
        for w in estimates.ways or ()
    )
    of = variance(replace(estimates, value=centre, ways=ways))
    back = {"share": special.expit, "signed": np.tanh, "positive": np.exp}.get(scale, np.asarray)
    with np.errstate(invalid="ignore", over="ignore"):  # limits of fewer than two effective clusters are left out
        half = critical(of.effective, alpha) * np.sqrt(of.value)
        return back(centre - half), back(centre + half)


def intervals(estimates: Estimates, scale: Scale, alpha: float, min_clusters: int) -> Intervals:
    """Limits of a metric in every cell.

    A share of 0 or 1 has exact limits on the effective number of clusters. A way with one level gives way to the other
    and is named in the flag. There are no limits where no cluster differs from the rest, or with fewer than two
    effective clusters.

    Args:
        estimates: the metric of all cells.
        scale: what it is: a share (0 to 1), signed (-1 to 1), positive, or any number (line).
        alpha: 0.05 gives 95 % limits.
        min_clusters: fewer are flagged.
    """
    value = estimates.value
    if estimates.ways is None:
        nowhere = np.full(len(value), np.nan)
        return Intervals(nowhere, nowhere, np.full(len(value), "none", dtype=object), nowhere, estimates.reason)
    of = variance(estimates)
    low, high = limits(estimates, scale, alpha)
    at_edge = (value == 0) | (value == 1) if scale == "share" else np.zeros(len(value), bool)
    alone = of.one_host & of.one_donor
    flat = (of.value == 0) & ~at_edge
    lost = np.isnan(of.value) & ~alone
    edge_low, edge_high = exact(value, of.effective, alpha)
    low, high = np.where(at_edge, edge_low, low), np.where(at_edge, edge_high, high)
    none = ~np.isfinite(value) | alone | flat | (lost & ~at_edge)
    too_few = ~none & ~at_edge & (of.effective < LEAST_EFFECTIVE)
    none |= too_few
    method = np.full(len(value), f"{_METHOD}, {_SCALES[scale]}", dtype=object)
    method[at_edge] = "exact on effective clusters"
    method[none] = "none"
    with np.errstate(invalid="ignore", divide="ignore"):
        worth = np.where(at_edge, of.effective, estimates.n * estimates.independent / of.value)
    flags = [
        (alone, "one host and one donor: no interval"),
        (of.one_donor & ~alone, "conditional on this donor"),
        (of.one_host & ~alone, "conditional on this host"),
        (lost & ~at_edge, "no estimate without one of the clusters"),
        (flat & ~alone, "no variation between clusters"),
        (too_few, f"fewer than {LEAST_EFFECTIVE} effective clusters: no interval"),
        (~alone & (of.clusters < min_clusters), f"fewer than {min_clusters} clusters"),
        (
            ~alone & (of.clusters >= min_clusters) & (of.effective < FEW_EFFECTIVE),
            f"fewer than {FEW_EFFECTIVE} effective clusters",
        ),
    ]
    return Intervals(
        np.where(none, np.nan, low),
        np.where(none, np.nan, high),
        method,
        np.where(none | ~np.isfinite(worth), np.nan, worth),
        np.where(np.isfinite(value), joined(flags, len(value)), estimates.reason),
    )


def joined(flags: list[tuple[npt.NDArray[np.bool_], str]], n: int) -> Texts:
    """Texts that hold in each place (n,), joined with a semicolon; None where none does.

    Args:
        flags: where a text holds (n,), and the text.
        n: how many places there are.
    """
    found: Texts = np.full(n, None, dtype=object)
    for where, text in flags:
        first = where & ~given(found)
        found[where & ~first] += f"; {text}"
        found[first] = text
    return found
