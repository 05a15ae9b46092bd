"""The estimators of a cell as the platform had them before its engine, kept as a baseline for ``bench.scoring``."""

import numpy as np
import polars as pl


def codes(values) -> np.ndarray:
    """Whole numbers from 0 that tell equal values together."""
    return np.unique(np.asarray(values, dtype=str), return_inverse=True)[1].astype(np.int64)


def one_way(influence: np.ndarray, cluster: np.ndarray) -> float:
    """Cluster-robust variance of one way."""
    sums = np.bincount(cluster, weights=influence)
    return float(np.sum(sums**2) * len(sums) / max(1, len(sums) - 1))


def two_way(influence: np.ndarray, host: np.ndarray, donor: np.ndarray) -> float:
    """Cluster-robust variance of both ways."""
    cell = codes([f"{a}|{b}" for a, b in zip(host, donor, strict=True)])
    v_host, v_donor = one_way(influence, host), one_way(influence, donor)
    return max(v_host + v_donor - one_way(influence, cell), v_host, v_donor)


def score_cell(cell: pl.DataFrame) -> tuple[float, float]:
    """Variance of accuracy and of the area of one cell."""
    right, positive = cell["right"].to_numpy().astype(float), cell["positive"].to_numpy()
    score = cell["score"].to_numpy()
    host, donor = (codes(codes(cell[c].to_list())) for c in ("host_person_uid", "donor_person_uid"))
    pos, neg = score[positive], score[~positive]
    ordered_neg, ordered_pos = np.sort(neg), np.sort(pos)
    above = (np.searchsorted(ordered_neg, pos, "left") + np.searchsorted(ordered_neg, pos, "right")) / 2 / len(neg)
    below = 1 - (np.searchsorted(ordered_pos, neg, "left") + np.searchsorted(ordered_pos, neg, "right")) / 2 / len(pos)
    influence = np.zeros(len(score))
    influence[positive] = (above - above.mean()) / len(pos)
    influence[~positive] = (below - above.mean()) / len(neg)
    accuracy = two_way((right - right.mean()) / len(right), host, donor)
    codes(codes(cell["host_person_uid"].to_list())), codes(codes(cell["donor_person_uid"].to_list()))
    return accuracy, two_way(influence, host, donor)
