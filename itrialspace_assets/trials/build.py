"""Builds a mode's manifest (``trials``, ``arms``, ``cases``, ``case_nodules``, ``case_weights``, ``balance`` and the
published files) and, apart from it, its ``feasibility``."""

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from itrialspace_assets.base.errors import TrialError
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import Partition, Result, Step
from itrialspace_assets.hosts.room import read_room
from itrialspace_assets.hosts.store import room_path
from itrialspace_assets.imaging.pictures import markdown
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.records.store import file_digests, read_all, read_table, table_files, write_table
from itrialspace_assets.trials.balance import picture
from itrialspace_assets.trials.compose import Manifest, compose
from itrialspace_assets.trials.feasibility import feasibility
from itrialspace_assets.trials.files import load_trial
from itrialspace_assets.trials.fit import fit_positions
from itrialspace_assets.trials.published import write_manifests
from itrialspace_assets.trials.resolve import Resolved, resolve
from itrialspace_assets.trials.sites import sites
from itrialspace_assets.trials.stock import Stock, make_stock
from itrialspace_assets.trials.verify import broken_rules

VERSION = "3"
TABLES = ("cases", "case_nodules", "trials", "arms", "case_weights", "balance")
_READS = ("nodules", "hosts", "host_lobes", "donors")


def resolved_trial(settings: Settings, mode: str) -> Resolved:
    """The trial of a mode at the configured size with the run's overrides.

    Raises:
        ConfigError: no such mode, or a wrong file, size or override.
    """
    present = [name for name, entry in datasets(settings).items() if entry.profile_csv(settings.data).exists()]
    return resolve(
        load_trial(settings, mode), settings.size, settings.override_list, present or list(datasets(settings))
    )


def resolved_content(resolved: Resolved) -> dict[str, Any]:
    """Everything that decides a plan beside the data: the trial file, size, overrides and arms."""
    return {
        "trial": resolved.trial.model_dump(mode="json"),
        "size": resolved.size,
        "overrides": list(resolved.overrides),
        "arms": [
            {
                "name": a.name,
                "published": a.published,
                "level": a.level,
                "cases": a.cases,
                "host_dataset": a.host_dataset,
                "donor_dataset": a.donor_dataset,
                "cohort": a.cohort.model_dump(mode="json"),
            }
            for a in resolved.arms
        ],
    }


def stock_of(settings: Settings) -> tuple[Stock, pl.DataFrame]:
    """What every trial draws from, and the index.

    Raises:
        TableError: the stages hosts and index have not run.
    """
    files = file_digests(settings.output, [f for name in _READS for f in table_files(settings.output, name)])
    return _stock(settings.output, digest(files))


def seed_of(settings: Settings, resolved: Resolved) -> int:
    """Root of a plan's draws: the trial file's own, else the setting."""
    return settings.seed if resolved.trial.seed is None else resolved.trial.seed


@lru_cache(maxsize=1)
def _stock(output: Path, digests: str) -> tuple[Stock, pl.DataFrame]:
    """The stock of these very files: all modes of a call draw from one."""
    nodules = read_table(output, "nodules")
    return make_stock(nodules, *(read_all(output, name) for name in ("donors", "hosts", "host_lobes"))), nodules


def declared_version(settings: Settings, partition: Partition) -> str:
    """What is declared of a mode, apart from the data: trial file, size, overrides, relaxation, sites, seed."""
    resolved = resolved_trial(settings, partition["mode"])
    return digest(
        [
            resolved_content(resolved),
            {name: site.model_dump(mode="json") for name, site in sites(settings).items()},
            {name: entry.files.model_dump(mode="json") for name, entry in datasets(settings).items()},
            seed_of(settings, resolved),
            settings.relax,
        ],
        32,
    )


STEP = Step(("cohort_manifests",), "plan", ("mode",), VERSION)
FEASIBILITY = Step(("trial_feasibility",), "plan", ("mode",), VERSION)


def build(settings: Settings, partition: Partition) -> Result:
    """Plan the trial of a mode at the configured size and write its tables and published manifests.

    Raises:
        TrialError: it cannot be had from this data; nothing is written.
        ConfigError: the trial file is wrong.
    """
    require_data_root(settings)
    mode, root = partition["mode"], settings.output
    resolved = resolved_trial(settings, mode)
    stock, index = stock_of(settings)
    manifest = compose(
        resolved, stock, sites(settings), seed_of(settings, resolved), settings.anatomy, relax=settings.relax
    )
    manifest = replace(manifest, nodules=_fitted(root, manifest))
    broken = broken_rules(resolved, manifest.arms, manifest.cases, manifest.nodules, index)
    if broken:
        raise TrialError(
            f"{resolved.trial.trial}: the manifest breaks its rules and was not written: {'; '.join(broken)}"
        )
    content = resolved_content(resolved)
    (index_sha,) = file_digests(root, table_files(root, "nodules")).values()
    pool = digest([stock.donors["nodule_uid"].to_list(), stock.hosts["scan_uid"].to_list()])
    about = {
        "trial": resolved.trial.trial,
        "mode": mode,
        "planner": resolved.trial.planner,
        "question": resolved.trial.question,
        "size": resolved.size,
        "seed": seed_of(settings, resolved),
        "overrides": ";".join(resolved.overrides),
        "relaxed": settings.relax,
        "file_sha256": digest(content),
        "index_sha256": index_sha,
        "pool_sha256": pool,
        "anatomy": settings.anatomy,
    }
    frames: dict[str, Any] = {
        "trials": [about | {"resolved": json.dumps(content, sort_keys=True)}],
        "arms": manifest.arms,
        "cases": manifest.cases,
        "case_nodules": manifest.nodules,
        "case_weights": manifest.weights,
        "balance": manifest.balance,
    }
    shown = picture(manifest.balance, manifest.arms, settings.anatomy)
    files = write_manifests(settings, resolved, manifest, index, about | {"resolved": content}, shown)
    paths = [write_table(root, name, frame, mode=mode) for name, frame in frames.items()]
    return Result(
        {name: len(frames[name]) for name in TABLES},
        computed=manifest.cases.height,
        note="; ".join(manifest.arms["note"].drop_nulls().to_list()),
        picture=shown,
        preview=_preview(manifest.arms),
        files=files,
        written=tuple(paths),
    )


def _fitted(output: Path, manifest: Manifest) -> pl.DataFrame:
    """The planned nodules where their hosts have room for them."""
    donors, hosts, lobes = (read_all(output, name) for name in ("donors", "hosts", "host_lobes"))
    return fit_positions(
        manifest.nodules, manifest.cases, donors, hosts, lobes, lambda sha: read_room(room_path(output, sha))
    )


def _preview(arms: pl.DataFrame) -> str:
    columns = [
        "arm",
        "asked_cases",
        "got_cases",
        "asked_malignant",
        "got_malignant",
        "donor_pool",
        "host_pool",
        "donors_effective",
        "hosts_effective",
        "scaled",
        "relaxations",
    ]
    return markdown(arms.sort("number").select(columns).head(50))


def build_feasibility(settings: Settings, partition: Partition) -> Result:
    """Count what a mode's arms can draw from and write ``feasibility``; a trial that cannot be had is a finding
    here."""
    require_data_root(settings)
    stock, _ = stock_of(settings)
    resolved = resolved_trial(settings, partition["mode"])
    frame = feasibility(resolved, stock, sites(settings), seed_of(settings, resolved))
    path = write_table(settings.output, "feasibility", frame, mode=partition["mode"])
    cases = frame.filter(pl.col("of") == "cases")
    short = cases.filter(pl.col("binding")).height
    note = f"{short} of {cases.height} arms cannot be had as asked" if short else ""
    return Result(
        {"feasibility": frame.height},
        computed=cases.height,
        note=note,
        preview=markdown(frame.drop("mode", "trial").head(60)),
        written=(path,),
    )
