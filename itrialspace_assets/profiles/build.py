"""Builds one partition of ``profiles``, ``scan_lists`` and ``findings``."""

from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import Inputs, Partition, Result, Step, input_hash, record
from itrialspace_assets.imaging.pictures import markdown
from itrialspace_assets.profiles.load import finding_rows, load_profiles
from itrialspace_assets.profiles.registry import dataset
from itrialspace_assets.records.store import file_digests, write_table

VERSION = "2"
TABLES = ("profiles", "scan_lists", "findings")


def inputs(settings: Settings, partition: Partition) -> Inputs:
    """Hashes of the CSV, the scan list and the registry entry of one dataset."""
    entry = dataset(settings, partition["dataset"])
    csv, scans = file_digests(
        settings.output, [entry.profile_csv(settings.data), entry.scan_list_csv(settings.data)]
    ).values()
    return {
        "csv": csv,
        "scans": scans,
        "dataset": digest(entry.model_dump()),
        "root": f"{settings.anatomy} {settings.released}",
    }


STEP = Step(("profiles",), "profiles", ("dataset",), VERSION, inputs)


def build(settings: Settings, partition: Partition) -> Result:
    """Read, check and write the profiles of one dataset.

    Raises:
        TableError: the CSV is missing, or breaks a rule; names it.
    """
    require_data_root(settings)
    entry = dataset(settings, partition["dataset"])
    before = input_hash(STEP, settings, partition)
    loaded = load_profiles(entry.profile_csv(settings.data), entry, settings.anatomy, released=settings.released)
    findings = finding_rows(entry, loaded.findings, loaded.profiles.height, released=settings.released)
    frames = {"profiles": loaded.profiles, "scan_lists": loaded.scans, "findings": findings}
    paths = [write_table(settings.output, name, frame, dataset=entry.name) for name, frame in frames.items()]
    warned = findings.filter(findings["severity"] == "warning").height
    shown = findings.select("severity", "rule", "column", "rows", "of_rows", "sample")
    result = Result(
        {name: frame.height for name, frame in frames.items()},
        computed=loaded.profiles.height,
        note=f"{warned} warnings about the published table" if warned else "",
        preview=markdown(shown) if findings.height else "",
    )
    record(settings, STEP, partition, before, result, paths)
    return result
