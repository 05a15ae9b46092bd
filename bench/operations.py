"""What operating the platform costs at the size of the published study: partition status and the catalog.

- **Status.** A history as a paper-size plan leaves it: thirteen modes on seven datasets, every stage, five readers,
  written through Dagster's API three times over, and four checks each. Asked as the web page asks: which partitions of
  an asset are made, failed or running, for every asset. Baseline: counting the rows of the event log by SQL.
- **Catalog.** Rebuilt over tables of a tenth of the answers, then of all, in one process; the seconds of a million
  answers are compared. Baseline: DuckDB reading the files of ``answers`` into a table without comments and views.

What the graph costs for a partition without work, and how long the code location takes to load with fifty trials of a
user, is measured by ``bench.graph``.

    python -m bench.operations [--cases 55469] [--rounds 3] [--only status|catalog]
"""

import argparse
import multiprocessing
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl

from bench.study_report import make, settings_of
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.catalog import rebuild
from itrialspace_assets.definitions import build_definitions
from itrialspace_assets.drive import open_instance
from itrialspace_assets.graph import build_graph
from itrialspace_assets.orchestration.lineage import upstream_partitions
from itrialspace_assets.records.store import table_files

READERS = "readers:\n  blob: {kind: blob, options: {threshold_hu: 480.0, marks: 10}}\n" + "".join(
    f"  mock_{i}: {{kind: mock, location: cpu, enabled: true, options: {{seed: {i}}}}}\n" for i in range(4)
)
CHECKS = ("registry", "rejected_share", "coverage", "complete")
#: Aims of issue 20: seconds until the status of an asset's partitions is known.
STATUS_S = 2.0


def seconds_of(call: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of a call, on the clock and of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def key_of(part: dict[str, str]) -> Any:
    return dg.MultiPartitionKey(part) if len(part) == 2 else next(iter(part.values()), None)


def write_history(settings: Settings, instance: dg.DagsterInstance, rounds: int) -> int:
    """Materializations and checks of every partition of every asset; how many events."""
    graph, events = build_graph(settings), 0
    for number in range(rounds):
        for node in graph.nodes:
            key = dg.AssetKey(list(node.step.key))
            for part in upstream_partitions(node.step.dims, {}, graph.keys):
                partition, metadata = key_of(part), {"seconds": 1.0, "computed": number, "reused": 0, "bytes": 10}
                tags = {"dagster/data_version": f"{number:032x}", "dagster/code_version": "1"}
                instance.report_runless_asset_event(
                    dg.AssetMaterialization(key, partition=partition, metadata=metadata, tags=tags)
                )
                for check in CHECKS if number == 0 else ():  # one evaluation a run: these belong to none
                    instance.report_runless_asset_event(
                        dg.AssetCheckEvaluation(
                            asset_key=key, check_name=check, passed=True, metadata={}, partition=partition
                        )
                    )
                events += 1 + (len(CHECKS) if number == 0 else 0)
    return events


def status(root: Path, rounds: int) -> None:
    """Print how long the status of all partitions takes."""
    (root / "data" / "profiles").mkdir(parents=True)
    (root / "readers.yaml").write_text(READERS)
    settings = load_settings(
        data_dir=root / "data", output_dir=root / "out", readers_config=root / "readers.yaml", workers=1
    )
    definitions = build_definitions(settings=settings)
    assets = definitions.resolve_asset_graph()
    with open_instance(settings) as instance:
        events = write_history(settings, instance, rounds)
        made = [assets.get(dg.AssetKey(list(n.step.key))) for n in build_graph(settings).nodes]
        split = [(n.key, n.partitions_def) for n in made if n.partitions_def is not None]
        each, known = [], 0
        for key, partitions in split:
            found: dict[str, Any] = {}

            def ask(key: dg.AssetKey = key, partitions: Any = partitions, found: dict[str, Any] = found) -> None:
                found |= instance.get_status_by_partition(key, partitions.get_partition_keys(), partitions) or {}

            each.append(seconds_of(ask)[0])
            known += sum(v is not None for v in found.values())
        database = Path(os.environ["DAGSTER_HOME"]) / "history" / "event_log.db"
        with sqlite3.connect(database) as db:
            base = seconds_of(lambda: db.execute("SELECT count(*), max(length(event)) FROM event_logs").fetchall())[0]
    print(f"history of {events} events, {len(split)} assets, {known} partitions that are made")
    verdict = "met" if max(each) < STATUS_S else "missed"
    print(f"  status of an asset's partitions: at most {max(each):.3f} s (aim {STATUS_S:.0f} s: {verdict})")
    print(f"  of all assets {sum(each):.2f} s; reading every row by SQL {base:.3f} s, ratio {max(each) / base:.1f}")


def _catalog(root: Path, cases: int) -> tuple[int, float, float]:
    """Answers in tables of so many cases, and processor seconds of rebuilding the catalog and of DuckDB alone."""
    maker = multiprocessing.get_context("spawn").Process(target=make, args=(root, cases))
    maker.start()
    maker.join()
    if maker.exitcode:
        raise SystemExit(maker.exitcode)
    settings = settings_of(root)
    files = [str(p) for p in table_files(settings.output, "answers")]

    def alone() -> None:
        with duckdb.connect(str(root / "alone.duckdb")) as db:
            db.execute("CREATE TABLE t AS SELECT * FROM read_parquet(?, hive_partitioning = false)", [files])

    base = seconds_of(alone)[1]
    ours = seconds_of(lambda: rebuild.build(settings, {}))[1]
    return int(pl.scan_parquet(files).select(pl.len()).collect().item()), ours, base


def catalog(folder: Path, cases: int) -> None:
    """Print what the catalog costs for a tenth of the answers and for all."""
    found = [_catalog(folder / str(n), n) for n in (cases // 10, cases)]
    for count, ours, base in found:
        print(
            f"catalog over {count} answers: {ours:.1f} processor seconds, {ours / count * 1e6:.1f} a million; DuckDB "
            f"reading the answers alone {base:.1f}, ratio {ours / base:.1f}"
        )
    (few, small, _), (many, large, _) = found
    print(f"  seconds an answer, all over a tenth: {large / many / (small / few):.2f} (linear: at most 1)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=55_469)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("status", "catalog"))
    asked = parser.parse_args()
    os.environ.pop("DAGSTER_HOME", None)
    with tempfile.TemporaryDirectory() as folder:
        if asked.only != "catalog":
            status(Path(folder) / "status", asked.rounds)
        if asked.only != "status":
            catalog(Path(folder) / "catalog", asked.cases)


if __name__ == "__main__":
    main()
