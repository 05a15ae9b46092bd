"""FROC of a set as large as LUNA16: 55,677 marks on 888 scans with 1,186 nodules, and 1,000 resamples of the scans.

The baseline counts by definition, threshold by threshold: it matches a mark with each nodule of its scan in a loop, and
counts hits and false marks again at every distinct score. It takes minutes at full size, so it runs on every 20th mark;
its time for all of them is 20 times that of matching (marks) and 400 times that of counting (thresholds times marks).
Both sides must agree on the part of the marks that the baseline sees.

    python -m bench.froc [--marks 55677] [--scans 888] [--nodules 1186] [--resamples 1000]
"""

import argparse
import resource
import time

import numpy as np

from itrialspace_assets.analysis.estimates.detection import Resampling, detect
from itrialspace_assets.analysis.estimates.froc import RATES, curve, resample
from itrialspace_assets.analysis.estimates.matching import LUNA16, MarkArrays, MatchedMarks, NoduleArrays, match

PART = 20


def made(n_marks: int, n_scans: int, n_nodules: int) -> tuple[MarkArrays, NoduleArrays]:
    """Nodules in two scans of three; a mark on nine of ten of them with a high score, the others anywhere."""
    rng = np.random.default_rng(0)
    scan = rng.integers(0, 2 * n_scans // 3, n_nodules)
    place = rng.uniform(-150, 150, (n_nodules, 3))
    hit = np.flatnonzero(rng.random(n_nodules) < 0.9)
    others = n_marks - len(hit)
    marks = MarkArrays(
        np.r_[scan[hit], rng.integers(0, n_scans, others)],
        np.r_[place[hit], rng.uniform(-150, 150, (others, 3))],
        np.r_[rng.beta(5, 1, len(hit)), rng.beta(1, 4, others)],
    )
    order = rng.permutation(n_marks)
    shuffled = MarkArrays(marks.scan[order], marks.place[order], marks.score[order])
    return shuffled, NoduleArrays(scan, place, rng.uniform(3, 30, n_nodules), np.zeros(n_nodules, bool))


def slow(marks: MarkArrays, nodules: NoduleArrays, n_scans: int) -> tuple[list[float], float, float]:
    """Sensitivity at the rates by definition, and seconds of matching and of counting."""
    began = time.perf_counter()
    best = [-np.inf] * len(nodules.scan)
    of_scan: dict[int, list[int]] = {}
    for i, scan in enumerate(nodules.scan.tolist()):
        of_scan.setdefault(scan, []).append(i)
    false = []
    for scan, place, score in zip(marks.scan.tolist(), marks.place, marks.score.tolist(), strict=True):
        hits = [
            i
            for i in of_scan.get(scan, ())
            if ((place - nodules.place[i]) ** 2).sum() < (nodules.diameter_mm[i] / 2) ** 2
        ]
        for i in hits:
            best[i] = max(best[i], score)
        if not hits:
            false.append(score)
    between = time.perf_counter()
    x, y = [0.0], [0.0]
    for threshold in sorted({s for s in best if s > -np.inf} | set(false), reverse=True):
        x.append(sum(s >= threshold for s in false) / n_scans)
        y.append(sum(s >= threshold for s in best) / len(best))
    found = np.interp(RATES, x, y).tolist()
    return found, between - began, time.perf_counter() - between


def ours(marks: MarkArrays, nodules: NoduleArrays, n_scans: int) -> tuple[MatchedMarks, np.ndarray]:
    matched = match(marks, nodules, n_scans, LUNA16)
    curve(matched)
    return matched, resample(matched, np.ones((1, n_scans), np.int32), straight=True).sensitivity[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--marks", type=int, default=55_677)
    parser.add_argument("--scans", type=int, default=888)
    parser.add_argument("--nodules", type=int, default=1_186)
    parser.add_argument("--resamples", type=int, default=1_000)
    given = parser.parse_args()
    marks, nodules = made(given.marks, given.scans, given.nodules)
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        matched, _ = ours(marks, nodules, given.scans)
        seconds.append(time.perf_counter() - began)
    once = float(np.median(seconds))
    began = time.perf_counter()
    found = detect(
        matched,
        LUNA16,
        Resampling("scans", np.arange(given.scans)),
        replicates=given.resamples,
        seed=np.random.SeedSequence(0),
    )
    resampled = time.perf_counter() - began
    part = MarkArrays(marks.scan[::PART], marks.place[::PART], marks.score[::PART])
    counted, matching, counting = slow(part, nodules, given.scans)
    np.testing.assert_allclose(ours(part, nodules, given.scans)[1], counted)
    naive = PART * matching + PART**2 * counting
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{given.marks} marks, {given.scans} scans, {given.nodules} nodules: CPM {found.cpm.estimate:.4f}")
    print(
        f"matched and counted in {once:.3f} s (median of 5); baseline by definition about {naive:.0f} s, "
        f"{naive / once:.0f} times as long (measured on every {PART}th mark: {matching + counting:.1f} s)"
    )
    print(
        f"{given.resamples} resamples of the scans, all numbers with limits: {resampled:.2f} s; peak memory {peak} MiB"
    )


if __name__ == "__main__":
    main()
