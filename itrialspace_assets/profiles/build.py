"""Builds one partition of ``profiles``, ``scan_lists`` and ``findings``."""

from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import Partition, Result, Step
from itrialspace_assets.imaging.pictures import markdown
from itrialspace_assets.profiles.load import finding_rows, load_profiles
from itrialspace_assets.profiles.registry import dataset
from itrialspace_assets.records.store import write_table

VERSION = "3"
TABLES = ("profiles", "scan_lists", "findings")


STEP = Step(("profiles",), "profiles", ("dataset",), VERSION)


def build(settings: Settings, partition: Partition) -> Result:
    """Read, check and write the profiles of one dataset.

    Raises:
        TableError: the CSV is missing, or breaks a rule; names it.
    """
    require_data_root(settings)
    entry = dataset(settings, partition["dataset"])
    loaded = load_profiles(entry.profile_csv(settings.data), entry, settings.anatomy, released=settings.released)
    findings = finding_rows(entry, loaded.findings, loaded.profiles.height, released=settings.released)
    frames = {"profiles": loaded.profiles, "scan_lists": loaded.scans, "findings": findings}
    paths = [write_table(settings.output, name, frame, dataset=entry.name) for name, frame in frames.items()]
    warned = findings.filter(findings["severity"] == "warning").height
    shown = findings.select("severity", "rule", "column", "rows", "of_rows", "sample")
    return Result(
        {name: frame.height for name, frame in frames.items()},
        computed=loaded.profiles.height,
        note=f"{warned} warnings about the published table" if warned else "",
        preview=markdown(shown) if findings.height else "",
        written=tuple(paths),
    )
