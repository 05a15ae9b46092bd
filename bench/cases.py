"""The cases behind the numbers of two million answers: written as one report, then asked for by SQL.

Named baseline of the same run: polars writing the same frame, unchecked and unsorted. Peak memory is that of this
process; the answers themselves are held by it.

    python -m bench.cases [--cases 55469]
"""

import argparse
import tempfile
import time
from pathlib import Path

import duckdb
import polars as pl

from bench.scoring import answers, peak
from itrialspace_assets.analysis.scoring.cases import case_rows
from itrialspace_assets.analysis.scoring.observations import strata_of
from itrialspace_assets.analysis.scoring.rows import Analysis
from itrialspace_assets.catalog.rebuild import views
from itrialspace_assets.records.store import write_table

ONE = (
    "analysis = 'm' AND source = 'nodmaisi' AND reader = 'a' AND task = 'presence' AND condition = 'plain' "
    "AND stratum = 'all' AND metric = 'auc'"
)


class Clock:
    """Prints processor and wall seconds since the last lap, and the greatest memory so far."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def lap(self, what: str) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        print(
            f"  {what:<44} {cpu - self.cpu:6.2f} s of processors, {wall - self.wall:6.2f} s, peak {peak()} MiB",
            flush=True,
        )
        self.wall, self.cpu = time.perf_counter(), time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=55_469)
    options = parser.parse_args()
    rows = answers(options.cases).with_columns(size_bucket="size_class", pair_uid="case_uid")
    print(f"{rows.height} answers; peak {peak()} MiB before")
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        cases = case_rows(rows, strata_of(rows, ["size_bucket", "lobe"]), Analysis("m", "s", "procedural"))
        clock.lap("rows of metric_cases")
        path = write_table(Path(folder), "metric_cases", cases, analysis="m")
        clock.lap(f"checked, sorted, written ({path.stat().st_size >> 20} MiB)")
        cases.write_parquet(Path(folder) / "baseline.parquet")
        clock.lap("baseline: polars alone, unchecked and unsorted")
        with duckdb.connect(str(Path(folder) / "catalog.duckdb")) as db:
            db.execute(f"CREATE TABLE metric_cases AS SELECT * FROM read_parquet('{path}', hive_partitioning = false)")
            db.execute(views()["metric_contributions"])
            clock.lap("loaded into the catalog")
            found = db.sql(
                f"SELECT slice_uid, contribution, lost FROM metric_contributions WHERE {ONE} ORDER BY lost DESC"
            )
            frame: pl.DataFrame = found.pl()
            clock.lap(f"the {frame.height} slices behind one AUC, worst first")
    print(f"AUC from contributions: {frame['contribution'].sum():.6f}")


if __name__ == "__main__":
    main()
