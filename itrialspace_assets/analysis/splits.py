"""Frozen lists of slices: written once, when all slices of a mode (or real dataset) exist, then only verified.

A report scores a list, not the slices that happen to exist.
"""

from pathlib import Path

import polars as pl

from itrialspace_assets.analysis.study import load_study, lock_study
from itrialspace_assets.base.fingerprints import replace_file
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import Options, Partition, Result, Step, data_version, descends_from, label
from itrialspace_assets.imaging.pictures import markdown
from itrialspace_assets.records.layout import REAL, list_sha256
from itrialspace_assets.records.store import file_digests, read_all, read_table, table_files, table_path, write_table
from itrialspace_assets.records.tables import TABLES
from itrialspace_assets.synthesis.renderers import enabled

VERSION = "1"


def list_path(settings: Settings, source: str, name: str) -> Path:
    """File of a frozen list.

    Args:
        settings: output folder, and name of the split.
        source: ``real`` or a renderer's name.
        name: the mode, or real-<dataset>.
    """
    return settings.output / "splits" / settings.split / source / f"{name}.txt"


def read_list(path: Path) -> list[str]:
    """Ids of a list file; blank lines and lines that start with # do not count."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [x for x in lines if x and not x.startswith("#")]


def missing_pairs(settings: Settings, source: str, mode: str) -> list[str]:
    """Datasets whose slices of a mode are missing or not made from the present manifest; empty if none is.

    Args:
        settings: where tables and records lie.
        source: a renderer's name.
        mode: key of the mode, for example ``m02_size_detection_curve``.

    Returns:
        Sorted names of host datasets, or ``["manifest"]`` where the mode is not planned.
    """
    if not table_path(settings.output, "cases", mode=mode).exists():
        return ["manifest"]
    hosts = read_table(settings.output, "cases", mode=mode)["host_dataset"].unique().sort().to_list()
    slices, manifest = f"{source}/eval_slices", label("cohort_manifests", {"mode": mode})
    pairs = {d: label(slices, {"mode": mode, "dataset": d}) for d in hosts}
    return [d for d, of in pairs.items() if not descends_from(settings, of, manifest, mode)]


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
        if data_version(settings, label(f"{REAL}/eval_slices", {"dataset": name})):
            slices = read_table(settings.output, "slices", source=REAL, mode=REAL, dataset=name)
            found.append((REAL, f"{REAL}-{name}", slices))
    return found


def options(settings: Settings) -> Options:
    """Options that decide which lists are frozen and scored; reports depend on the same."""
    return {"split": settings.split, "study": load_study(settings).sha256}


STEP = Step(("evaluation_splits",), "splits", (), VERSION, options)


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
    lists = sorted((settings.output / "splits" / settings.split).rglob("*.txt"))
    for path in lists:
        uids = read_list(path)
        sha = list_sha256(uids)
        mode = REAL if path.stem.startswith(f"{REAL}-") else path.stem
        rows += [
            {"split": settings.split, "source": path.parent.name, "mode": mode, "slice_uid": u, "list_sha256": sha}
            for u in uids
        ]
    written = write_table(settings.output, "splits", rows)
    summary = TABLES["splits"].frame(rows)
    table = (
        summary.group_by("source", "mode", "list_sha256")
        .agg(pl.len().alias("slices"))
        .sort("source", "mode", "list_sha256")
    )
    return Result(
        {"splits": len(rows)},
        frozen,
        len(lists) - frozen,
        preview=markdown(table),
        written=(written,),
        files=file_digests(settings.output, lists),
    )


def broken_lists(settings: Settings) -> list[str]:
    """Frozen lists that no longer agree with the present slices, each with the difference."""
    problems = []
    for source, name, slices in _candidates(settings):
        path = list_path(settings, source, name)
        if not path.exists():
            continue
        frozen, present = set(read_list(path)), set(slices["slice_uid"].to_list())
        if frozen != present:
            problems.append(
                f"{source}/{name}: {len(frozen - present)} frozen slices are gone, {len(present - frozen)} are "
                "new; give ITRIALSPACE_SPLIT a new name to report on them"
            )
    return problems
