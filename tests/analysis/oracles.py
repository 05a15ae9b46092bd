"""Slow, literal versions of what the engine computes at once; tables of answers to score."""

from collections.abc import Callable

import numpy as np
import polars as pl

SCHEMA = {
    "task": pl.String, "condition": pl.String, "presence": pl.String, "lobe": pl.String, "size_class": pl.String,
    "answer": pl.String, "score": pl.Float64, "status": pl.String, "host_person_uid": pl.String,
    "donor_person_uid": pl.String, "sha256": pl.String, "case_uid": pl.String, "slice_uid": pl.String,
    "source": pl.String, "reader": pl.String, "log_odds": pl.Boolean, "one_n": pl.Boolean, "label": pl.Int64,
    "diameter_mm": pl.Float64, "pair_uid": pl.String, "target_uid": pl.String,
}  # fmt: skip


def table(n: int, task: str = "presence", **columns: list) -> pl.DataFrame:
    """So many slices, every other one with a nodule, all answered correctly unless ``columns`` say otherwise."""
    shown = ["present", "absent"] * (n // 2) + ["present"] * (n % 2)
    rows = {
        "task": [task] * n,
        "condition": ["plain"] * n,
        "presence": shown,
        "lobe": ["left_lung_upper_lobe" if p == "present" else None for p in shown],
        "size_class": ["5-10mm" if p == "present" else None for p in shown],
        "answer": shown,
        "score": [None] * n,
        "status": ["ok"] * n,
        "host_person_uid": [str(i) for i in range(n)],
        "donor_person_uid": [str(i) for i in range(n)],
        "sha256": [str(i) for i in range(n)],
        "case_uid": [str(i // 2) for i in range(n)],
        "slice_uid": [str(i) for i in range(n)],
        "source": ["tissue"] * n,
        "reader": ["mock"] * n,
        "log_odds": [True] * n,
        "one_n": [True] * n,
        "label": [1] * n,
        "diameter_mm": [7.0] * n,
        "pair_uid": [str(i // 2) for i in range(n)],
        "target_uid": [str(i) for i in range(n)],
    }
    return pl.DataFrame(rows | columns, schema=SCHEMA)


def two_way(statistic: Callable[[np.ndarray], float], host: np.ndarray, donor: np.ndarray) -> float:
    """Two-way leave-cluster-out variance of a statistic of a mask of rows, by leaving each cluster out in turn."""

    def way(ids: np.ndarray) -> float:
        left = np.array([statistic(ids != one) for one in np.unique(ids)])
        return float((len(left) - 1) / len(left) * ((left - left.mean()) ** 2).sum())

    by_host, by_donor, by_both = way(host), way(donor), way(host * (donor.max() + 1) + donor)
    return max(by_host + by_donor - by_both, by_host, by_donor)


def area(score: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve from all pairs."""
    pairs = score[positive][:, None] - score[~positive][None, :]
    return float((pairs > 0).mean() + (pairs == 0).mean() / 2)
