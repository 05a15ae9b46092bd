"""From which partitions the reports of a release come: their records, followed back to the inputs. Writes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import read_record

#: What a release says in place of the version of an input in the data root, which holds times and sizes of files.
UNSTATED = "not stated"


@dataclass(frozen=True)
class BuiltPartition:
    """A partition as it was last built.

    Attributes:
        label: asset and partition, ``hosts|LUNA16``.
        code_version: of its step.
        data_version: hash of what it wrote.
        reads: label of each partition that it read -> version; ``UNSTATED`` of an input in the data root.
    """

    label: str
    code_version: str
    data_version: str
    reads: Mapping[str, str]

    @property
    def asset(self) -> str:
        return self.label.partition("|")[0]


def lineage(settings: Settings, origin: str) -> dict[str, BuiltPartition]:
    """Every partition that one came from, itself too, by label, in the order of labels; inputs have no record.

    Args:
        settings: where records lie.
        origin: label of the partition, for example ``study_report|all``.
    """
    found: dict[str, BuiltPartition] = {}
    waiting, seen = [origin], {origin}
    while waiting:
        label = waiting.pop()
        content = read_record(settings, label)
        if content is None:
            continue
        reads = {of: UNSTATED if of.startswith("raw/") else version for of, version in content["reads"].items()}
        found[label] = BuiltPartition(label, content["code_version"], content["data_version"], reads)
        new = set(content["reads"]) - seen
        seen |= new
        waiting += sorted(new)
    return dict(sorted(found.items()))
