"""Rendered lesions against their donor nodules in real CT, by how dense they are rendered, with limits by person."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from itrialspace_assets.analysis.estimates.cells import clusters, codes
from itrialspace_assets.analysis.estimates.intervals import intervals
from itrialspace_assets.analysis.estimates.jackknife import of_mean
from itrialspace_assets.analysis.protocol.study import Study

#: What is measured -> its column, and the column of the donor nodule; None: it compares both already.
_MEASURED = {
    "HU histogram in common": ("overlap", None),
    "edge, HU/mm": ("edge", "edge_real"),
    "texture, HU": ("texture", "texture_real"),
}


@dataclass(frozen=True)
class Likeness:
    """One measure of the lesions of one renderer and one density; a difference is rendered less real.

    Attributes:
        source: the renderer.
        attenuation: how dense they are rendered.
        measure: what is measured.
        rendered: mean of the rendered lesions; None for a measure of both.
        real: mean of their donor nodules.
        value: mean of the measure of both, or of the differences; None: see ``flag``.
        low: lower limit.
        high: upper limit.
        n: lesions that count.
        without: lesions that do not: no real CT, or too few voxels.
        flag: why there is no value, or why it should not be trusted.
    """

    source: str
    attenuation: str
    measure: str
    rendered: float | None
    real: float | None
    value: float | None
    low: float | None
    high: float | None
    n: int
    without: int
    flag: str | None


def nodule_likeness(rows: pl.DataFrame, study: Study) -> list[Likeness]:
    """Every renderer, density and measure.

    Args:
        rows: of the table ``nodule_fidelity``.
        study: alpha, and from how many clusters on limits are not flagged.
    """
    rows = rows.sort("source", "attenuation", "image_uid", "nodule_idx")
    cell, cells = codes(rows, ["source", "attenuation"])
    host, donor = codes(rows, ["host_person_uid"])[0], codes(rows, ["donor_person_uid"])[0]
    ways = clusters(cell, host, donor, cells.height)
    found = []
    for measure, (made, real) in _MEASURED.items():
        first = rows[made].cast(pl.Float64).fill_null(np.nan).to_numpy()
        second = np.zeros(len(first)) if real is None else rows[real].cast(pl.Float64).fill_null(np.nan).to_numpy()
        used = np.isfinite(first) & np.isfinite(second)
        of = of_mean(ways, np.where(used, first - second, 0.0), used, "no lesion has a real counterpart")
        limits = intervals(of, "line", study.alpha, study.min_clusters)
        sides = [ways.total(np.where(used, x, 0.0)) / np.maximum(of.n, 1) for x in (first, second)]
        for at, (source, attenuation) in enumerate(cells.iter_rows()):
            rendered, goal = (_number(s[at]) if real is not None and of.n[at] else None for s in sides)
            value, low, high = (_number(x[at]) for x in (of.value, limits.low, limits.high))
            n = int(of.n[at])
            left = int((cell == at).sum()) - n
            flag = limits.flag[at]
            found.append(Likeness(source, attenuation, measure, rendered, goal, value, low, high, n, left, flag))
    return sorted(found, key=lambda x: (x.source, x.attenuation))


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
