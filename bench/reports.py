"""The report of a mode of about 100,000 answers: scored, compared, written as a page, Markdown, figures and tables.

Named baseline of the same run: scoring the same answers alone. Reading the tables and the flow of cases are left out:
the answers are made up. Then what a chart costs: its specification, SVG, PNG and PDF. Seconds are those of all threads.

    python -m bench.reports [--cases 2800]
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

from bench.scoring import answers
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2800)
    rows = seen(parser.parse_args().cases)
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
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
