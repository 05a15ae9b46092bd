"""Builds one partition of ``profiles``."""

from itrialspace_assets.fingerprints import digest
from itrialspace_assets.profiles.load import load_profiles
from itrialspace_assets.profiles.registry import dataset
from itrialspace_assets.settings import Settings, require_data_root
from itrialspace_assets.steps import Inputs, Partition, Result, Step, input_hash, record
from itrialspace_assets.store import file_digests, write_table

VERSION = "1"


def inputs(settings: Settings, partition: Partition) -> Inputs:
    entry = dataset(settings, partition["dataset"])
    path = entry.profile_csv(settings.data)
    (csv,) = file_digests(settings.output, [path]).values()
    return {"csv": csv, "dataset": digest(entry.model_dump()), "anatomy": settings.anatomy}


STEP = Step(("profiles",), "profiles", ("dataset",), VERSION, inputs)


def build(settings: Settings, partition: Partition) -> Result:
    """Read, check and write the profiles of one dataset; an absent CSV is an error that names it."""
    require_data_root(settings)
    entry = dataset(settings, partition["dataset"])
    before = input_hash(STEP, settings, partition)
    frame = load_profiles(entry.profile_csv(settings.data), entry, settings.anatomy)
    path = write_table(settings.output, "profiles", frame, dataset=entry.name)
    result = Result({"profiles": frame.height}, computed=frame.height)
    record(settings, STEP, partition, before, result, [path])
    return result
