"""What a node names is what it reads, and the reverse; and Dagster's mappings lead to the same partitions."""

import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.drive import Driver, RunChoice
from itrialspace_assets.graph import RAW_CTS, RAW_MASKS, RAW_PROFILES, RAW_TRIALS, build_graph
from itrialspace_assets.orchestration.lineage import upstream_partitions
from itrialspace_assets.orchestration.nodes import STAGES, Graph, Key
from itrialspace_assets.orchestration.partitions import make_partitions, mapping
from itrialspace_assets.records import store
from itrialspace_assets.records.tables import TABLES
from itrialspace_assets.trials import build as planning
from itrialspace_assets.trials import sources

MODE = "m11_digital_twin_isolation"


class Recorder:
    """Which assets and sources were read while each node was built, by table and by file."""

    def __init__(self, graph: Graph, settings: Settings) -> None:
        self.graph, self.data, self.output = graph, settings.data, settings.output
        self.now: Key | None = None
        self.read: dict[Key, set[Key]] = defaultdict(set)

    def note(self, key: Key | None) -> None:
        if self.now is not None and key is not None:
            self.read[self.now].add(key)

    def table(self, name: str, path: Path) -> None:
        self.note(self.owner(name, path.relative_to(self.output / "tables" / name).parts[:-1]))

    def owner(self, name: str, place: tuple[str, ...]) -> Key | None:
        """The asset that writes a partition of a table."""
        where = dict(zip(TABLES[name].partition, place, strict=True))
        for node in (n for n in self.graph.nodes if name in n.tables):
            key = node.step.key
            if "source" in where and key[0] != where["source"]:
                continue
            if "reader" in where and key[2] != where["reader"]:
                continue
            if name == "donors" and (where["dataset"] == "PROCEDURAL") != (key == ("procedural_donors",)):
                continue
            if name in ("metrics", "metric_cases") and key != _reporter(where["analysis"]):
                continue
            return key
        if name == "rejected_cases":
            return next(
                n.step.key for n in self.graph.nodes if where["stage"].replace("~", "/") in (n.step.stage, n.step.name)
            )
        return None  # released, reviews: written by people, not by the graph

    def file(self, path: Path) -> None:
        if path.is_relative_to(self.output):
            parts = path.relative_to(self.output).parts
            if parts[:1] == ("splits",) and ".lock" in parts[-1]:
                return  # the study's lock is written before readers are asked, not by an asset
            owners: dict[tuple[str, ...], Key] = {
                ("store", "hosts"): ("hosts",),
                ("store", "masks"): ("inserted_masks",),
                ("manifests",): ("cohort_manifests",),
                ("splits",): ("evaluation_splits",),
            }
            if parts[:1] == ("store",) and parts[1:2] == ("cts",) and len(parts) > 2:
                self.note((parts[2], "synthetic_cts"))
            self.note(owners.get(parts[:2]) or owners.get(parts[:1]))
        elif path.is_relative_to(self.data):
            kinds = {"profiles": RAW_PROFILES, "masks": RAW_MASKS, "raw_ct": RAW_CTS}
            self.note(kinds.get(path.relative_to(self.data).parts[0]) if path != self.data else None)
        elif path.parent.name == "modes" and path.suffix == ".yaml":
            self.note(RAW_TRIALS)


def _reporter(analysis: str) -> Key:
    """The asset that writes the metrics of an analysis."""
    if analysis == "study":
        return ("study_report",)
    return ("real_report",) if analysis.startswith("real-") else ("mode_report",)


ACTIVE: list[Recorder] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not ACTIVE or event not in ("open", "os.listdir", "os.scandir"):
        return
    path, mode = arguments[0], arguments[1] if len(arguments) > 1 else None
    if isinstance(path, (str, os.PathLike)) and (event != "open" or mode is None or "r" in str(mode)):
        ACTIVE[0].file(Path(path))


sys.addaudithook(_hook)


def _record(reading: Callable[..., Any], recorder: Recorder, patch: pytest.MonkeyPatch) -> None:
    """Let a function that reads a table's file say so, wherever it was imported."""

    def told(name: str, path: Path, columns: Sequence[str] | None = None) -> Any:
        recorder.table(name, path)
        return reading(name, path, columns)

    for module in [m for n, m in sys.modules.items() if n.startswith("itrialspace_assets.")]:
        if getattr(module, reading.__name__, None) is reading:
            patch.setattr(module, reading.__name__, told)


@pytest.fixture(scope="module")
def recorded(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    """A run of one mode over the whole graph, one node after the other, on a root that says it is real."""
    folder = tmp_path_factory.mktemp("lineage")
    root = folder / "data"
    root.mkdir()
    for name in ("profiles", "masks", "raw_ct"):
        (root / name).symlink_to(data_root / name)
    settings = load_settings(data_dir=root, output_dir=folder / "out", workers=1)
    graph = build_graph(settings)
    names = ("DLCS24",)  # what a node reads of one dataset it reads of each
    recorder, driver = Recorder(graph, settings), Driver(settings, RunChoice((MODE,), names, STAGES))
    choices = {"mode": (MODE,), "dataset": names}
    with pytest.MonkeyPatch.context() as patch:
        for reading in (store.read_file, store.read_blocks):
            _record(reading, recorder, patch)
        patch.setattr(sys.modules[__name__], "ACTIVE", [recorder])
        for node in graph.nodes:
            recorder.now = node.step.key
            for cached in (f for m in (planning, sources) for f in vars(m).values() if hasattr(f, "cache_clear")):
                cached.cache_clear()  # modes of one call share what they draw from; here each node reads for itself
            for part in upstream_partitions(node.step.dims, {}, choices):
                driver.runner.run((node.step.key,), part, driver.log)
    driver.close()
    assert not driver.log.failures, driver.log.failures
    yield recorder


@pytest.mark.slow
def test_a_node_reads_nothing_that_it_does_not_name(recorded: Recorder) -> None:
    wrong = {
        node.step.name: sorted(recorded.read[node.step.key] - set(node.reads) - {node.step.key})
        for node in recorded.graph.nodes
    }
    assert {k: v for k, v in wrong.items() if v} == {}


@pytest.mark.slow
def test_a_node_names_nothing_that_it_does_not_read(recorded: Recorder) -> None:
    """Of a report page, which is no table, the reader is told by the tables below it."""
    pages = {("study_report",)}
    wrong = {
        node.step.name: sorted(set(node.reads) - recorded.read[node.step.key] - pages) for node in recorded.graph.nodes
    }
    assert {k: v for k, v in wrong.items() if v} == {}


def test_the_catalog_names_every_table() -> None:
    graph = build_graph(load_settings())
    named = set(graph.node(("results_catalog",)).reads)
    assert {n.step.key for n in graph.nodes if n.tables} <= named
    assert ("trial_feasibility",) in named


def test_dagster_and_the_ledger_follow_the_same_edges() -> None:
    """Every edge, at a pair, a mode and a dataset: the mapping's upstream partitions are the ledger's."""
    graph = build_graph(load_settings())
    partitions = make_partitions(graph)
    own = {"mode": graph.keys["mode"][4], "dataset": graph.keys["dataset"][2]}
    looked_at = 0
    for node in graph.nodes:
        part = {d: own[d] for d in node.step.dims}
        definition = partitions.of(node.step.dims)
        for key in node.reads:
            upstream = partitions.of(graph.dims(key))
            every = key in node.every
            found = mapping(graph.dims(key), node.step.dims, every=every)
            if upstream is None:
                assert found is None
                continue
            assert found is not None
            subset = None
            if definition is not None:
                text = part[node.step.dims[0]] if len(part) == 1 else _key(part)
                subset = definition.subset_with_partition_keys([text])
            got = found.get_upstream_mapped_partitions_result_for_partitions(
                downstream_partitions_subset=subset,
                downstream_partitions_def=definition,
                upstream_partitions_def=upstream,
            ).partitions_subset.get_partition_keys()
            expected = upstream_partitions(graph.dims(key), part, graph.keys, every=every)
            assert set(got) == {next(iter(p.values())) if len(p) == 1 else _key(p) for p in expected}, (node.step, key)
            looked_at += 1
    assert looked_at > 30


def _key(part: dict[str, str]) -> str:
    import dagster as dg

    return dg.MultiPartitionKey(part)
