"""Frozen lists of slices: written once when a mode's (or real dataset's) slices are all there, then
only verified. A report scores a list, not whatever happens to exist.
"""

from pathlib import Path

import polars as pl

import itrialspace_assets.insertion.build as insertion
import itrialspace_assets.slices.build as slicing
import itrialspace_assets.synthesis.build as synthesis
from itrialspace_assets.analysis.study import load_study, lock_study
from itrialspace_assets.base.fingerprints import digest, replace_file
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import Inputs, Partition, Result, Step, input_hash, is_current, record
from itrialspace_assets.imaging.pictures import markdown
from itrialspace_assets.records.layout import list_sha256
from itrialspace_assets.records.store import file_digests, read_all, read_table, table_files, table_path, write_table
from itrialspace_assets.synthesis.renderers import RENDERERS, enabled

VERSION = "1"
REAL = "real"


def list_path(settings: Settings, source: str, name: str) -> Path:
    """File of a frozen list; ``name`` is a mode, or real-<dataset>."""
    return settings.output / "splits" / settings.split / source / f"{name}.txt"


def read_list(path: Path) -> list[str]:
    """Ids of a list file; blank lines and lines that start with # do not count."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [x for x in lines if x and not x.startswith("#")]


def missing_pairs(settings: Settings, source: str, mode: str) -> list[str]:
    """Datasets whose slices of a mode are missing or older than the manifest; empty if all are there."""
    if not table_path(settings.output, "cases", mode=mode).exists():
        return ["manifest"]
    chain = (insertion.STEP, synthesis.make_step(RENDERERS[source]), slicing.make_step(source))
    hosts = read_table(settings.output, "cases", mode=mode)["host_dataset"].unique().sort().to_list()
    return [d for d in hosts if not all(is_current(settings, step, {"mode": mode, "dataset": d}) for step in chain)]


def _candidates(settings: Settings) -> list[tuple[str, str, pl.DataFrame]]:
    """(source, list name, slices) of every list that could be frozen now."""
    found = []
    modes = [p.parent.name for p in table_files(settings.output, "cases")]
    for source in (r.name for r in enabled(settings)):
        for mode in modes:
            if not missing_pairs(settings, source, mode):
                found.append((source, mode, read_all(settings.output, "slices", source=source, mode=mode)))
    for path in table_files(settings.output, "slices", source=REAL, mode=REAL):
        name = path.parent.name
        if is_current(settings, slicing.make_step(REAL), {"dataset": name}):
            slices = read_table(settings.output, "slices", source=REAL, mode=REAL, dataset=name)
            found.append((REAL, f"{REAL}-{name}", slices))
    return found


def inputs(settings: Settings, partition: Partition) -> Inputs:
    slices = file_digests(settings.output, table_files(settings.output, "slices"))
    lists = file_digests(settings.output, sorted((settings.output / "splits" / settings.split).rglob("*.txt")))
    return {
        "slices": digest(slices),
        "lists": digest(lists),
        "split": settings.split,
        "study": load_study(settings).sha256,
    }


STEP = Step(("evaluation_splits",), "splits", (), VERSION, inputs)


def build(settings: Settings, partition: Partition) -> Result:
    """Freeze the lists that are complete and not frozen yet; never rewrite one; write ``splits``."""
    require_data_root(settings)
    lock_study(settings, load_study(settings))
    frozen, rows = 0, []
    for source, name, slices in _candidates(settings):
        path = list_path(settings, source, name)
        if not path.exists():
            uids = sorted(set(slices["slice_uid"].to_list()))
            replace_file(path, "".join(f"{u}\n" for u in uids).encode())
            frozen += 1
    for path in sorted((settings.output / "splits" / settings.split).rglob("*.txt")):
        uids = read_list(path)
        sha = list_sha256(uids)
        mode = REAL if path.stem.startswith(f"{REAL}-") else path.stem
        rows += [
            {"split": settings.split, "source": path.parent.name, "mode": mode, "slice_uid": u, "list_sha256": sha}
            for u in uids
        ]
    before = input_hash(STEP, settings, partition)  # after freezing: the lists are inputs from now on
    written = write_table(settings.output, "splits", rows)
    summary = pl.DataFrame(
        rows,
        schema={
            "split": pl.String,
            "source": pl.String,
            "mode": pl.String,
            "slice_uid": pl.String,
            "list_sha256": pl.String,
        },
    )
    table = (
        summary.group_by("source", "mode", "list_sha256")
        .agg(pl.len().alias("slices"))
        .sort("source", "mode", "list_sha256")
    )
    lists = len(table)
    result = Result({"splits": len(rows)}, frozen, lists - frozen, preview=markdown(table))
    record(settings, STEP, partition, before, result, [written])
    return result


def broken_lists(settings: Settings) -> list[str]:
    """Frozen lists that no longer agree with the slices there are, each with what differs."""
    problems = []
    for source, name, slices in _candidates(settings):
        path = list_path(settings, source, name)
        if not path.exists():
            continue
        frozen, present = set(read_list(path)), set(slices["slice_uid"].to_list())
        if frozen != present:
            problems.append(
                f"{source}/{name}: {len(frozen - present)} frozen slices are gone, {len(present - frozen)} are new; give ITRIALSPACE_SPLIT a new name to report on them"
            )
    return problems
