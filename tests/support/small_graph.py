"""A graph of one source and three assets whose partitions are made by hand, to test what looks at records."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from itrialspace_assets.base.fingerprints import hash_file
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.casework.steps import Partition, Result, Step, partition_name, record
from itrialspace_assets.orchestration.lineage import reads_of
from itrialspace_assets.orchestration.nodes import Graph, Node, Source
from itrialspace_assets.orchestration.staleness import ready

RAW = ("raw", "profiles")
HOSTS = Node(Step(("hosts",), "hosts", ("dataset",), "1"), (RAW,))
MASKS = Node(Step(("masks",), "insert", ("mode", "dataset"), "1"), (("hosts",),))
REPORT = Node(Step(("report",), "report", ("mode",), "1"), (("masks",),), every=(("masks",),))
STAGES = ("hosts", "insert", "report")


@dataclass
class World:
    settings: Settings
    raw: dict[str, str]

    @property
    def graph(self) -> Graph:
        source = Source(RAW, "profiles", ("dataset",), lambda s, p: self.raw.get(p["dataset"], ""))
        return Graph((HOSTS, MASKS, REPORT), (source,), {"dataset": ("A", "B", "C"), "mode": ("m1", "m2")})

    def make(self, node: Node, partition: Partition, result: Result | None = None) -> None:
        reads = reads_of(self.graph, node, self.settings, partition)
        files = {f"{node.step.name}-{partition_name(partition).replace('/', '-')}": ""}
        for file in files:
            path = self.settings.output / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(sorted(reads.items())))
        hashed = {file: hash_file(self.settings.output / file) for file in files}
        record(self.settings, node.step, partition, reads, replace(result or Result(), files=hashed))

    def ready(self, stages: tuple[str, ...] = STAGES, added: tuple[str, ...] = ()) -> dict[str, str]:
        return {s.label: s.state for s in ready(self.graph, self.settings, stages, added)}


def finished(tmp_path: Path) -> World:
    made = World(load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out"), {"A": "1", "B": "1"})
    made.settings.data.mkdir(parents=True)
    parts: Mapping[str, list[dict[str, str]]] = {
        "hosts": [{"dataset": d} for d in "AB"],
        "masks": [{"mode": "m1", "dataset": d} for d in "AB"],
        "report": [{"mode": "m1"}],
    }
    for node in (HOSTS, MASKS, REPORT):
        for part in parts[node.step.name]:
            made.make(node, part)
    return made
