"""What operating the platform costs at the size of the published study: partition status and the catalog.

- **Status.** A history as a paper-size plan leaves it: thirteen modes on seven datasets, every stage, five readers,
  each partition made three times, a run each, with as many events of each kind, and as large ones, as a run of the
  demo leaves (``OF_A_PARTITION``). Asked as the web page asks: which partitions of an asset are made, failed or
  running, for every asset. Baseline: counting the rows of the event log by SQL.
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
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.events import AssetMaterializationPlannedData, StepMaterializationData

from bench.study_report import make, settings_of
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.catalog import rebuild
from itrialspace_assets.definitions import build_definitions
from itrialspace_assets.graph import build_graph
from itrialspace_assets.orchestration.instance import open_instance
from itrialspace_assets.orchestration.lineage import upstream_partitions
from itrialspace_assets.records.store import table_files

Entry: Any = dg.EventLogEntry  # without types in Dagster
READERS = "readers:\n  blob: {kind: blob, options: {threshold_hu: 480.0, marks: 10}}\n" + "".join(
    f"  mock_{i}: {{kind: mock, location: cpu, enabled: true, options: {{seed: {i}}}}}\n" for i in range(4)
)
CHECKS = ("registry", "rejected_share", "coverage", "complete")
#: Events beside those that are written through Dagster's storage, by type: how many for each partition that is made,
#: and their mean size (bytes). Counted in the history of a demo: 10,599 events of 453 partitions made in 144 runs.
OF_A_PARTITION = {
    "STEP_OUTPUT": (5.63, 10_034),
    "STEP_START": (2.66, 1_253),
    "STEP_SUCCESS": (2.66, 1_336),
    "ENGINE_EVENT": (0.64, 1_371),
    "LOGS_CAPTURED": (0.32, 853),
    "PIPELINE_START": (0.32, 603),
    "PIPELINE_SUCCESS": (0.32, 607),
    "RESOURCE_INIT_STARTED": (0.32, 760),
    "RESOURCE_INIT_SUCCESS": (0.32, 1_537),
}
#: Mean size (bytes) of a materialization there, most of it a picture.
MATERIALIZATION = 49_565
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
    """Runs of every partition of every asset, each with its events; how many events."""
    graph, store, events = build_graph(settings), instance.event_log_storage, 0
    bulk: list[tuple[str, ...]] = []
    picture = dg.MetadataValue.md("x" * (MATERIALIZATION - 1_500))  # the rest is as large
    owed = dict.fromkeys(OF_A_PARTITION, 0.0)
    for number in range(rounds):
        for node in graph.nodes:
            key, step = dg.AssetKey(list(node.step.key)), "__".join(node.step.key)
            for part in upstream_partitions(node.step.dims, {}, graph.keys):
                partition, run = key_of(part), str(uuid.uuid4())
                instance.add_run(dg.DagsterRun("__ASSET_JOB", run_id=run, status=dg.DagsterRunStatus.SUCCESS))
                metadata: dict[str, Any] = {
                    "seconds": 1.0,
                    "computed": number,
                    "reused": 0,
                    "bytes": 10,
                    "picture": picture,
                }
                tags = {"dagster/data_version": f"{number:032x}", "dagster/code_version": "1"}
                made = dg.AssetMaterialization(key, partition=partition, metadata=metadata, tags=tags)
                checks = [dg.AssetCheckEvaluation(asset_key=key, check_name=c, passed=True) for c in CHECKS]
                written: list[tuple[str, Any]] = [
                    ("ASSET_MATERIALIZATION_PLANNED", AssetMaterializationPlannedData(key, partition=partition)),
                    *(
                        ("ASSET_CHECK_EVALUATION_PLANNED", AssetCheckEvaluationPlanned(asset_key=key, check_name=c))
                        for c in CHECKS
                    ),
                    ("ASSET_MATERIALIZATION", StepMaterializationData(made, [])),
                    *(("ASSET_CHECK_EVALUATION", check) for check in checks),
                ]
                for kind, data in written:
                    event = dg.DagsterEvent(kind, "__ASSET_JOB", step_key=step, event_specific_data=data)
                    store.store_event(Entry(None, "debug", "", run, time.time(), step, "__ASSET_JOB", event))
                    events += 1
                for kind, (each, size) in OF_A_PARTITION.items():
                    owed[kind] += each
                    whole = int(owed[kind])
                    owed[kind] -= whole
                    bulk += [(run, "x" * size, kind, datetime.now(UTC).isoformat(" "), step)] * whole
                if len(bulk) > 1000:
                    events += _insert(bulk)
                    bulk = []
    return events + _insert(bulk)


def database() -> Path:
    """The file of the event log."""
    return Path(os.environ["DAGSTER_HOME"]) / "history" / "event_log.db"


def _insert(rows: Sequence[tuple[str, ...]]) -> int:
    """Add events that no question about partitions reads; how many."""
    with sqlite3.connect(database(), timeout=60) as db:
        columns = "run_id, event, dagster_event_type, timestamp, step_key"
        db.executemany(f"INSERT INTO event_logs ({columns}) VALUES (?,?,?,?,?)", rows)
    return len(rows)


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
        each, known = list[tuple[float, float, str]](), 0
        for key, partitions in split:
            found: dict[str, Any] = {}

            def ask(key: dg.AssetKey = key, partitions: Any = partitions, found: dict[str, Any] = found) -> None:
                found |= instance.get_status_by_partition(key, partitions.get_partition_keys(), partitions) or {}

            each.append((*seconds_of(ask), key.to_user_string()))
            known += sum(v is not None for v in found.values())
        size = database().stat().st_size / 2**20
        with sqlite3.connect(database()) as db:
            base = seconds_of(lambda: db.execute("SELECT count(*), max(length(event)) FROM event_logs").fetchall())[0]
    print(f"history of {events} events, {size:.0f} MiB, {len(split)} assets, {known} partitions that are made")
    wall, cpu, slowest = max(each)
    verdict = "met" if wall < STATUS_S else "met in processor seconds" if cpu < STATUS_S else "missed"
    print(f"  status of an asset's partitions: at most {wall:.3f} s, {cpu:.3f} s of the processor ({slowest})")
    print(f"  aim {STATUS_S:.0f} s: {verdict}")
    together, of_it = sum(e[0] for e in each), sum(e[1] for e in each)
    print(f"  of all assets {together:.2f} s, {of_it:.2f} s of the processor; reading every row by SQL {base:.3f} s")
    print(f"  ratio of the slowest to that {wall / base:.1f}")


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
