"""The explorer's server over 13,140 and 1,000,000 nodules: answers over loopback, memory, first bytes.

The baseline of a search is polars doing the same filter, counts and page over the same columns, which it keeps in
memory as categories. Nodules are procedural; the million are the 13,140 again and again under new ids, each number
moved by some percent.

    python -m bench.explorer            # both sizes
    python -m bench.explorer --small    # 13,140 alone

The first map is what the page asks when it opens it, one after another: without a stored layout, and with one.
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import polars as pl

from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.demo.paper import write_root
from itrialspace_assets.explorer.layouts.build import make_layout
from itrialspace_assets.explorer.layouts.presets import preset
from itrialspace_assets.explorer.search.columns import open_columns
from itrialspace_assets.index import build as index_build
from itrialspace_assets.profiles import build as profiles_build
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.records.store import read_table, write_table
from itrialspace_assets.records.tables import TABLES

MILLION = 1_000_000
#: Answers a request; the first ones, which read columns, are printed apart.
REPEATS = 40
FACETS = (
    "dataset",
    "label",
    "reinsertion_lobe",
    "size_bucket",
    "reinsertion_lung_zone",
    "central_peripheral",
    "population_type",
    "label_source",
    "has_ct",
    "position_usable",
)
NUMBERS = (
    "reinsertion_nodule_diam_mm",
    "reinsertion_pleural_dist_mm",
    "reinsertion_airway_dist_mm",
    "reinsertion_lobe_cc_pct",
)
PAGE = ("nodule_uid", *FACETS[:4], *NUMBERS)


def published_size(folder: Path) -> Settings:
    """A root of 13,140 procedural nodules with its index."""
    settings = load_settings(data_dir=folder / "data", output_dir=folder / "out", workers=1)
    write_root(settings.data)
    for name in datasets(settings):
        profiles_build.build(settings, {"dataset": name})
    index_build.build(settings, {})
    return settings


def million(small: Settings, folder: Path) -> Settings:
    """The same with a million nodules."""
    settings = load_settings(data_dir=folder / "data", output_dir=folder / "out", workers=1)
    shutil.copytree(small.data, settings.data)
    shutil.copytree(small.output / "tables" / "scans", settings.output / "tables" / "scans")
    nodules = read_table(small.output, "nodules")
    rng = np.random.default_rng(1)
    ids = ("nodule_uid", "scan_uid", "person_uid", "lesion_uid", "annotation_id", "patient_id", "row_sha256")
    measured = [c.name for c in TABLES["nodules"].columns if c.type == "number" and c.unit in ("mm", "%")]
    parts = []
    for copy in range(-(-MILLION // nodules.height)):
        moved = pl.Series(rng.normal(1, 0.02, nodules.height).clip(0.9, 1.1))
        parts.append(
            nodules.with_columns(
                *((pl.col(name) + f"_{copy:02d}") for name in ids),
                *((pl.col(name) * moved).round(4) for name in measured),
            )
        )
    write_table(settings.output, "nodules", pl.concat(parts).head(MILLION))
    return settings


@contextmanager
def serving(settings: Settings) -> Iterator[tuple[httpx.Client, int]]:
    """A server of its own process; what asks it, and its process id."""
    environment = os.environ | {
        "ITRIALSPACE_DATA_DIR": str(settings.data),
        "ITRIALSPACE_OUTPUT_DIR": str(settings.output),
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-W", "ignore", "-m", "itrialspace_assets.cli.main", "explore", "--port", "0"]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[1]
        with httpx.Client(base_url=address, timeout=600, trust_env=False) as client:
            client.get("/api/openapi.json")
            print(f"  first bytes after the command was started: {time.perf_counter() - started:.1f} s")
            yield client, process.pid
    finally:
        process.terminate()
        process.wait(20)


def memory(pid: int) -> tuple[int, int, int]:
    """MiB of a process now, at most since ``reset_peak``, and of its program files."""
    lines = dict(x.partition(":")[::2] for x in Path(f"/proc/{pid}/status").read_text().splitlines())
    now, most, files = (int(lines[name].split()[0]) // 1024 for name in ("VmRSS", "VmHWM", "RssFile"))
    return now, most, files


def reset_peak(pid: int) -> None:
    """Begin to look for the greatest memory of a process again (proc_pid_clear_refs(5))."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def used(pid: int) -> float:
    """Processor seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def requests(number: int) -> dict[str, Callable[[httpx.Client], httpx.Response]]:
    """What the page asks, by name; each number asks another thing, so that nothing of the answer is kept."""
    low = 3 + number * 0.05
    filters = [
        {"column": "dataset", "any": ["LUNA25", "LUNA16", "DLCS24"]},
        {"column": "reinsertion_nodule_diam_mm", "low": low},
    ]
    whole = {"facets": FACETS, "histograms": NUMBERS, "columns": PAGE}
    sort = {"sort": "reinsertion_nodule_diam_mm", "descending": True}
    uid = "LUNA16/"

    def post(path: str, body: Mapping[str, object]) -> Callable[[httpx.Client], httpx.Response]:
        return lambda client: client.post(path, json=body)

    return {
        "search, no filter, 10 facets, 4 histograms": post("/api/nodules/search", whole),
        "search, two filters, 10 facets, 4 histograms, sorted": post(
            "/api/nodules/search", {**whole, **sort, "filters": filters}
        ),
        "search, text": post("/api/nodules/search", {**whole, "text": f"{uid}{number:02d}"}),
        "rows of two filters (Arrow)": post("/api/nodules/rows", {"filters": filters}),
        "a column of numbers (Arrow)": lambda client: client.get(
            "/api/nodules/column", params={"name": NUMBERS[number % len(NUMBERS)]}
        ),
        "one nodule": lambda client: client.get("/api/nodule", params={"uid": UIDS[number]}),
        "ten like nodules": lambda client: client.post("/api/nodules/similar", json={"uid": UIDS[number]}),
        "ten donors within tolerances": post(
            "/api/nodules/match",
            {"lobe": "RUL", "cc_pct": 50, "diameter_mm": low + 3, "diameter_tolerance_mm": 1, "label": 1},
        ),
        "columns": lambda client: client.get("/api/nodules/columns"),
        "root": lambda client: client.get("/api/root"),
        "maps": lambda client: client.get("/api/maps"),
        "map": lambda client: client.get("/api/map"),
        "ten neighbours in the map": lambda client: client.get("/api/map/neighbours", params={"uid": UIDS[number]}),
        "NoduleMap: filters": lambda client: client.get("/compat/nodulemap/api/filters"),
        "NoduleMap: node": lambda client: client.get(f"/compat/nodulemap/api/node/{UIDS[number].replace('/', '_', 1)}"),
        "Retriever: search": post(
            "/compat/retriever/search", {"datasets": ["LUNA16"], "diameter_min": low, "sort_by": "nodule_mean_diam_mm"}
        ),
        "Retriever: similar": post("/compat/retriever/similar", {"annotation_id": UIDS[number]}),
        "Retriever: matcher": post("/compat/retriever/matcher", {"lobe": "RUL", "diameter_mm": low + 3}),
        "map of the larger feature set": lambda client: client.get("/api/map", params={"feature_set": "core_53"}),
    }


UIDS: list[str] = []


def first_map(settings: Settings, what: str) -> None:
    """What the page asks of a fresh server to show the map of nodules."""
    counts = {"limit": 0, "facets": FACETS[:4], "histograms": NUMBERS[:2]}
    asked: dict[str, Callable[[httpx.Client], httpx.Response]] = {
        "maps": lambda client: client.get("/api/maps"),
        "columns": lambda client: client.get("/api/nodules/columns"),
        "map": lambda client: client.get("/api/map"),
        "names": lambda client: client.get("/api/nodules/column", params={"name": "nodule_uid"}),
        "colours": lambda client: client.get("/api/nodules/column", params={"name": "dataset"}),
        "counts": lambda client: client.post("/api/nodules/search", json=counts),
        "first rows": lambda client: client.post("/api/nodules/search", json={"limit": 8, "sort": "nodule_uid"}),
    }
    with serving(settings) as (client, pid):
        started, first, took = time.perf_counter(), used(pid), []
        for name, ask in asked.items():
            before = used(pid)
            assert ask(client).status_code == 200
            took.append(f"{name} {used(pid) - before:.1f}")
        seconds, cpu = time.perf_counter() - started, used(pid) - first
        print(f"  first map, {what}: {seconds:.1f} s, CPU {cpu:.1f} s ({', '.join(took)})")


def measure(settings: Settings) -> None:
    """Ask a server everything, and print what it took."""
    uids = read_table(settings.output, "nodules", ["nodule_uid"])["nodule_uid"]
    UIDS[:] = uids.gather_every(uids.len() // (REPEATS + 2)).to_list()
    print(f"{uids.len():,} nodules")
    del uids
    with serving(settings) as (client, pid):
        now, most, files = memory(pid)
        print(f"  memory before the first request: {now} MiB, of which {files} are program files")
        columns = f"{'first':>8} {'median':>8} {'p95':>8} {'CPU':>8}"
        print(f"  {'request':54} {columns}   ms; memory after it and at most, MiB")
        for name in requests(0):
            times, before = [], 0.0
            reset_peak(pid)
            for number in range(REPEATS):
                started = time.perf_counter()
                answer = requests(number)[name](client)
                times.append((time.perf_counter() - started) * 1000)
                assert answer.status_code == 200, answer.text
                if number == 0:
                    before = used(pid)
            cpu = (used(pid) - before) / (REPEATS - 1) * 1000
            warm = sorted(times[1:])
            p95 = warm[int(len(warm) * 0.95)]
            now, peak, _ = memory(pid)
            most = max(most, peak)
            took = f"{times[0]:8.1f} {statistics.median(warm):8.1f} {p95:8.1f} {cpu:8.1f}"
            print(f"  {name:54} {took}   {now:5d} {peak:5d}", flush=True)
        time.sleep(5)  # free memory goes back beside the answers
        now, _, files = memory(pid)
        print(f"  memory five seconds after everything was asked: {now} MiB, {files} of program files; at most {most}")
    first_map(settings, "no stored layout")
    make_layout(settings, open_columns(settings), "reinsertion_core", preset("PCA_2D"))
    first_map(settings, "stored layout")


def baseline(settings: Settings) -> None:
    """The search with two filters by polars, all columns in memory as categories."""
    frame = pl.read_parquet(settings.output / "tables/nodules/part.parquet", columns=["nodule_uid", *FACETS, *NUMBERS])
    texts = [name for name, kind in frame.schema.items() if kind == pl.String and name != "nodule_uid"]
    frame = frame.with_columns(pl.col(texts).cast(pl.Categorical()))
    edges = {name: np.linspace(0, 100, 31)[1:-1].tolist() for name in NUMBERS}
    times, cpu = [], time.process_time()
    for number in range(5):
        started = time.perf_counter()
        by_dataset = pl.col("dataset").cast(pl.String()).is_in(["LUNA25", "LUNA16", "DLCS24"])
        large = pl.col("reinsertion_nodule_diam_mm") >= 3 + number * 0.05
        both, without = frame.filter(by_dataset, large), {"dataset": frame.filter(large)}
        for name in FACETS:
            without.get(name, both)[name].value_counts()
        for name in NUMBERS:
            of = frame.filter(by_dataset) if name == "reinsertion_nodule_diam_mm" else both
            of[name].cut(edges[name]).value_counts()
        both.sort("reinsertion_nodule_diam_mm", descending=True).head(50)
        times.append((time.perf_counter() - started) * 1000)
    cpu = (time.process_time() - cpu) / 5 * 1000
    print(f"  polars, the same search in memory: median {statistics.median(times):.1f} ms, CPU {cpu:.1f} ms")


def main() -> None:
    """Print the figures of both sizes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true")
    small_alone = parser.parse_args().small
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{machine}, Python {platform.python_version()}")
    folder = Path(tempfile.mkdtemp())
    try:
        small = published_size(folder / "small")
        measure(small)
        baseline(small)
        if not small_alone:
            large = million(small, folder / "large")
            measure(large)
            baseline(large)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
