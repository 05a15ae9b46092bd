"""What the graph is made of: keys, what the data root and a release hold, stages, and a node of the graph.

Which nodes there are is said in ``graph``. Imports no Dagster.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from itrialspace_assets.casework.steps import Step

Key = tuple[str, ...]


#: Inputs that the data root holds: observed, never made.
RAW: Mapping[Key, str] = {
    ("raw", "profiles"): "profile table of a dataset as published",
    ("raw", "masks"): "organ maps and nodule masks of a dataset",
    ("raw", "cts"): "CTs of a dataset",
}


#: Parts of a downloaded release (``its import-release``): verified and registered, never made. Key -> (what, dimensions).
RELEASED: Mapping[Key, tuple[str, tuple[str, ...]]] = {
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
class Node:
    """A step with the keys that it reads; in ``every`` those read whole, whatever the partition."""

    step: Step
    reads: tuple[Key, ...]
    every: tuple[Key, ...] = ()
    tables: tuple[str, ...] = ()
    kind: str = "table"
    what: str = field(default="", compare=False)
