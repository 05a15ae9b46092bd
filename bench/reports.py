"""The report of a mode of about 100,000 answers: scored, compared, written as a page, Markdown, figures and tables.

Named baseline of the same run: scoring the same answers alone. Reading the tables and the flow of cases are left out:
the answers are made up. Then what a chart costs: its specification, SVG, PNG and PDF. Last, the variance components of
a crossing (mode 13) of 168 hosts and 168 donors in 1,008 cases, nine cells of 200 resamples; named baseline: inverting
a matrix as large as all levels once for each resample. Seconds are those of all threads.

    python -m bench.reports [--cases 2800] [--crossing]
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
from scipy import special
from threadpoolctl import threadpool_limits

from bench.scoring import answers
from itrialspace_assets.analysis.estimates.variance_components import VarianceComponents, variance_components
from itrialspace_assets.analysis.protocol.study import load_study, lock_state
from itrialspace_assets.analysis.reports.charts import Axes, Point, levels_chart
from itrialspace_assets.analysis.reports.comparisons import compared
from itrialspace_assets.analysis.reports.document import Chart, Report
from itrialspace_assets.analysis.reports.figures import draw
from itrialspace_assets.analysis.reports.files import write_report
from itrialspace_assets.analysis.reports.headline import headline
from itrialspace_assets.analysis.reports.level_charts import condition_section, factor_section
from itrialspace_assets.analysis.reports.metric_tables import metric_sections
from itrialspace_assets.analysis.reports.published import published_section
from itrialspace_assets.analysis.scoring.agreement import score_agreement
from itrialspace_assets.analysis.scoring.metrics import score_cells
from itrialspace_assets.analysis.scoring.observations import strata_of
from itrialspace_assets.analysis.scoring.rows import Analysis
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.imaging.anatomy import LOBES, SIZE_BUCKETS

FACTORS = ["size_bucket", "lobe", "arm"]
Found = TypeVar("Found")


def timed(what: str, do: Callable[[], Found]) -> tuple[Found, float]:
    """What a function gives, and its processor seconds, which are printed."""
    began = time.process_time()
    found = do()
    seconds = time.process_time() - began
    print(f"  {what:<58} {seconds:6.2f} s", flush=True)
    return found, seconds


def seen(cases: int) -> pl.DataFrame:
    """Answers of three readers in three tasks and four conditions to the slices of one source."""
    rows = answers(cases).with_columns(source=pl.lit("tissue"), pair_uid=pl.col("case_uid"))
    at = pl.col("case_uid").rank("dense").cast(pl.Int64)
    return rows.with_columns(
        size_bucket=(at % 6).replace_strict(dict(enumerate(SIZE_BUCKETS)), return_dtype=pl.String),
        lobe=(at % 5).replace_strict(dict(enumerate(LOBES)), return_dtype=pl.String),
        arm=pl.format("arm_{}", at % 6),
    )


def of_charts(count: int = 8) -> None:
    """What charts cost once the converter has started."""
    rng = np.random.default_rng(0)
    levels = [f"level {i}" for i in range(6)]

    def chart() -> Chart:
        points = [Point(x, r, rng.random(), 0.1, 0.9, 20) for x in levels for r in ("a", "b", "c")]
        found = levels_chart("chart", "A chart", points, levels, Axes("level", "estimate"), "made up")
        assert found is not None
        return found

    charts, _ = timed(f"specifications of {count} charts", lambda: [chart() for _ in range(count)])
    draw(charts[0])
    timed(f"SVG, PNG and PDF of {count} charts", lambda: [draw(c) for c in charts])


def crossing(sets: int = 7, each: int = 24) -> dict[str, np.ndarray]:
    """Host and donor of each case: in every two datasets each host has one donor of the other, drawn."""
    rng = np.random.default_rng(0)
    pairs = [(a, b) for a in range(sets) for b in range(sets) if a != b]
    return {
        way: np.concatenate([pair[at] * each + rng.permutation(each) for pair in pairs])
        for at, way in enumerate(("host", "donor"))
    }


def of_crossing(cells: int = 9, replicates: int = 200) -> None:
    """What the variance components of a crossing cost, at effects from none to those of a reader that knows little."""
    ways, rng = crossing(), np.random.default_rng(1)
    answers, size = len(ways["host"]), 1 + sum(int(way.max()) + 1 for way in ways.values())

    def one(host_sd: float, donor_sd: float) -> VarianceComponents:
        effects = (sd * rng.normal(size=size)[way] for sd, way in zip((host_sd, donor_sd), ways.values(), strict=True))
        right = (rng.random(answers) < special.expit(0.8 + sum(effects))).astype(float)
        return variance_components(right, ways, replicates=replicates, seed=np.random.SeedSequence(0))

    planted = [((0.7, 0.5), (0.3, 0.0), (1.5, 1.0))[i % 3] for i in range(cells)]
    what = f"variance components of {answers} cases, {cells} cells"
    _, ours = timed(what, lambda: [one(*sds) for sds in planted])
    matrix = np.eye(size) + 1 / size
    few = 20
    with threadpool_limits(1, user_api="blas"):
        _, alone = timed(f"{few} matrices of {size} inverted", lambda: np.linalg.inv(np.stack([matrix] * few)))
    resamples = cells * replicates
    print(f"  a resample {1e3 * ours / resamples:.1f} ms, over inverting once {ours / resamples / alone * few:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2800)
    parser.add_argument("--crossing", action="store_true", help="the variance components of a crossing alone")
    options = parser.parse_args()
    if not options.crossing:
        of_report(options.cases)
    of_crossing()
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


def of_report(cases: int) -> None:
    """What the report of a mode costs, over scoring its answers alone."""
    rows = seen(cases)
    settings = load_settings()
    study = load_study(settings)
    state, analysis = lock_state(settings, study), Analysis("m02", "bench", "procedural")
    print(f"{rows.height} answers")
    metrics, alone = timed(
        "scored, with strata and agreement (baseline)",
        lambda: score_cells(rows, strata_of(rows, FACTORS), study, analysis) + score_agreement(rows, study, analysis),
    )

    def report() -> Report:
        sections = (
            headline(metrics, study, exploratory=False),
            condition_section(metrics, study, "procedural"),
            *(factor_section(metrics, factor, (), study, "procedural") for factor in FACTORS),
            published_section(metrics),
            *compared(settings, rows, study, state).sections,
            *metric_sections(metrics, study, state),
        )
        return Report("m02", "Report", "How?", ("made up",), ("none",), sections)

    formed, one = timed(f"formed from {len(metrics)} metrics, with comparisons", report)
    with tempfile.TemporaryDirectory() as folder:
        _, first = timed(
            "written, with the start of the converter and of Vega", lambda: write_report(Path(folder), formed)
        )
        _, again = timed("written again", lambda: write_report(Path(folder), formed))
    ratios = ((alone + one + written) / alone for written in (again, first))
    print("  the report over scoring alone: {:.2f}, as the first of a process {:.2f}".format(*ratios))
    of_charts()


if __name__ == "__main__":
    main()
