"""What the graph is made of: keys, stages, sources, nodes. Which there are is said in ``graph``. Imports no Dagster."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import Partition, Step

Key = tuple[str, ...]
Dims = tuple[str, ...]
#: Parts of a downloaded release (``its import-release``): verified and registered, never made.
#: Key -> (what, dimensions).
RELEASED: Mapping[Key, tuple[str, Dims]] = {
    ("released", "profiles"): ("profile tables of a release", ("dataset",)),
    ("released", "manifests"): ("manifests of a release", ("mode",)),
    ("released", "inserted_masks"): ("inserted masks of a release", ("mode",)),
    ("released", "generated_cts"): ("rendered CTs of a release", ("mode",)),
    ("released", "slices"): ("synthetic evaluation slices of a release", ("mode",)),
    ("released", "real_slices"): ("real evaluation slices of a release", ("dataset",)),
    ("released", "splits"): ("frozen splits of a release", ()),
}
#: Stages in the order of the data, as the command line names them.
STAGES = (
    "profiles",
    "hosts",
    "index",
    "plan",
    "insert",
    "synthesise",
    "slice",
    "read",
    "fidelity",
    "splits",
    "report",
    "catalog",
    "release",
)


@dataclass(frozen=True)
class Source:
    """An input that the graph observes and never makes. ``version`` tells what it holds now; it reads no volume."""

    key: Key
    what: str
    dims: Dims
    version: Callable[[Settings, Partition], str] = field(compare=False)

    @property
    def name(self) -> str:
        return "/".join(self.key)


@dataclass(frozen=True)
class Node:
    """A step with the keys that it reads; in ``every`` those read whole, whatever the partition."""

    step: Step
    reads: tuple[Key, ...]
    every: tuple[Key, ...] = ()
    tables: tuple[str, ...] = ()
    kind: str = "table"
    what: str = field(default="", compare=False)


@dataclass(frozen=True)
class Graph:
    """Every node of the enabled renderers and readers, upstream before downstream, and what they rest on."""

    nodes: tuple[Node, ...]
    sources: tuple[Source, ...]
    keys: Mapping[str, tuple[str, ...]]  # partition keys of each dimension

    def node(self, key: Key) -> Node:
        return next(n for n in self.nodes if n.step.key == key)

    def dims(self, key: Key) -> Dims:
        """Partition dimensions of an asset or a source."""
        found = next((s.dims for s in self.sources if s.key == key), None)
        return self.node(key).step.dims if found is None else found
