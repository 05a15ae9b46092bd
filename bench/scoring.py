"""Two million answers in 72 cells: accuracy with two-way replicates, areas and paired contrasts.

Named baseline of the same run: ``score_cells`` as the platform had it before, one cell after another, without any
replicate or contrast, on a tenth of the cases (``bench/scoring_baseline.py``), beside the present one on the same rows.
Seconds are those of all threads; peak memory is that of this process.

    python -m bench.scoring [--cases 55469] [--replicates 2000]
"""

import argparse
import resource
import time

import numpy as np
import polars as pl

from bench import scoring_baseline
from itrialspace_assets.analysis.estimates import roc
from itrialspace_assets.analysis.estimates.bootstrap import bootstrapped, percentiles, weights
from itrialspace_assets.analysis.estimates.cells import clusters, codes, donor_codes
from itrialspace_assets.analysis.estimates.comparisons import cell_pairs, compare
from itrialspace_assets.analysis.estimates.intervals import intervals
from itrialspace_assets.analysis.estimates.jackknife import of_mean
from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.scoring.metrics import score_cells
from itrialspace_assets.analysis.scoring.rows import Analysis
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.imaging.anatomy import ANSWER_SIZES, LOBES

READERS, CONDITIONS, TASKS = ("a", "b", "c"), ("plain", "bbox", "contour", "bbox_contour"), ("presence", "lobe", "size")
SYNTHETIC = 42_382 / 55_469
KEY = ("source", "reader", "condition", "task")


def answers(cases: int) -> pl.DataFrame:
    """Answers of three readers in three tasks and four conditions to synthetic slices and to real ones.

    Host and donor persons as many as in the published release, each used about equally often.
    """
    rng = np.random.default_rng(1)
    case = np.arange(cases)
    real = case >= round(cases * SYNTHETIC)
    host = np.where(real, case % 6000, rng.integers(0, 9016, cases))
    donor = rng.integers(0, 13092, cases)
    slices = pl.DataFrame(
        {
            "slice_uid": [f"{c:032x}" for c in case],
            "target_uid": [f"{c:031x}t" for c in case],
            "sha256": [f"{c:064x}" for c in case],
            "case_uid": [f"x/{c // 2}" for c in case],
            "source": np.where(real, "real", "nodmaisi"),
            "presence": np.where(case % 2 == 0, "present", "absent"),
            "lobe": rng.choice(LOBES, cases),
            "size_class": rng.choice(ANSWER_SIZES, cases),
            "diameter_mm": rng.uniform(3, 30, cases),
            "host_person_uid": [f"person/{h}" for h in host],
            "donor_person_uid": [None if r else f"person/{d}" for r, d in zip(real, donor, strict=True)],
        }
    )
    cells = pl.DataFrame({"reader": READERS}).join(pl.DataFrame({"condition": CONDITIONS}), how="cross")
    rows = slices.join(cells.join(pl.DataFrame({"task": TASKS}), how="cross"), how="cross")
    skill = rng.random(rows.height) + 0.2 * (rows["presence"] == "present").to_numpy()
    right, truth = rng.random(rows.height) < 0.7, {"presence": "presence", "lobe": "lobe", "size": "size_class"}
    answer, wrong = pl.lit(None, pl.String), {"presence": "absent", "lobe": LOBES[0], "size": ANSWER_SIZES[0]}
    for task, column in truth.items():
        said = pl.when("right").then(pl.col(column)).otherwise(pl.lit(wrong[task]))
        answer = pl.when(pl.col("task") == task).then(said).otherwise(answer)
    return rows.with_columns(
        score=pl.Series(np.round(skill, 3)), right=pl.Series(right), positive=pl.col("presence") == "present"
    ).with_columns(answer=answer, status=pl.lit("ok"), log_odds=pl.lit(True), one_n=pl.lit(True), label=pl.lit(1))


def ours(rows: pl.DataFrame, replicates: int) -> None:
    """Everything, with the seconds of each part."""
    clock = [time.process_time()]

    def lap(what: str) -> None:
        clock.append(time.process_time())
        print(f"  {what:<52} {clock[-1] - clock[-2]:6.2f} s", flush=True)

    cell, cells = codes(rows, KEY)
    host, hosts = codes(rows, ["host_person_uid"])
    donor = donor_codes(rows)
    ways = clusters(cell, host, donor, cells.height)
    right, positive = rows["right"].to_numpy(), rows["positive"].to_numpy()
    score, every = rows["score"].to_numpy(), np.ones(rows.height, bool)
    lap("codes and clusters")
    accuracy = of_mean(ways, right, every, "none", share=True)
    limits = intervals(accuracy, "share", 0.05, 10)
    lap(f"accuracy of {cells.height} cells with intervals")
    names = rows.select("donor_person_uid").with_columns(code=pl.Series(donor)).unique("code").sort("code")
    some = names["donor_person_uid"].is_not_null().to_numpy()
    by_donor = np.ones((names.height, replicates), np.uint8)
    by_donor[some] = weights(names["donor_person_uid"].drop_nulls().to_list(), replicates, 42, "donor")
    by_host = weights(hosts["host_person_uid"].to_list(), replicates, 42, "host")
    lap(f"weights of {len(by_host)} hosts, {int(some.sum())} donors")
    drawn = bootstrapped(
        ways,
        every,
        lambda s: s[..., 1] / s.sum(axis=-1),
        kind=right.astype(np.int64),
        kinds=2,
        host=by_host,
        donor=by_donor,
    )
    low, high = percentiles(drawn, 0.05)
    lap(f"accuracy in {replicates} two-way replicates")
    at = np.flatnonzero(rows["task"].to_numpy() == "presence")
    of_presence = clusters(cell[at], host[at], donor[at], cells.height)
    none = np.full(cells.height, None, dtype=object)
    area = roc.auc(of_presence, score[at], positive[at], every[at], every[at], "worst", none)
    intervals(area, "share", 0.05, 10)
    lap("areas with intervals")
    tested = 0
    for axis, against in (("reader", None), ("condition", "plain")):
        first, second = cell_pairs(cells, axis, against)
        for metric in (accuracy, area):
            tested += int(np.isfinite(compare(metric, first, second, 0.05, 10).p).sum())
    lap(f"{tested} paired contrasts")
    print(f"  together {clock[-1] - clock[0]:.2f} s")
    width, boot = (limits.high - limits.low).mean(), (high - low).mean()
    print(f"  mean width of accuracy: jackknife {width:.4f}, bootstrap {boot:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=55_469)
    parser.add_argument("--replicates", type=int, default=2000)
    options = parser.parse_args()
    rows = answers(options.cases)
    print(f"{rows.height} answers; peak {peak()} MiB before")
    cpu = time.process_time()
    ours(rows, options.replicates)
    print(f"ours: {time.process_time() - cpu:.2f} processor seconds; peak {peak()} MiB")
    few = rows.filter(pl.col("slice_uid").is_in(rows["slice_uid"].unique().sort().head(options.cases // 10).implode()))
    strata = {"all": pl.repeat("all", few.height, eager=True)}
    cpu = time.process_time()
    found = len(score_cells(few, strata, load_study(load_settings()), Analysis("a", "s", "procedural")))
    print(f"score_cells over {few.height} rows, {found} metrics: {per_million(cpu, few.height)}")
    cpu, found = time.process_time(), 0
    for _, one in few.group_by("source", "reader", maintain_order=True):
        found += len(scoring_baseline.score_cells(one, {"all": pl.repeat(True, one.height, eager=True)}, 0.05, 10))
    print(f"baseline over the same rows, {found} metrics: {per_million(cpu, few.height)}")


def per_million(since: float, rows: int) -> str:
    """Processor seconds since a time, and what that is for a million rows."""
    took = time.process_time() - since
    return f"{took:.2f} processor seconds, {took / rows * 1e6:.1f} a million rows"


def peak() -> int:
    """Greatest memory of this process so far (MiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
