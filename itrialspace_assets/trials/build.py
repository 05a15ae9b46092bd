"""Builds a mode's manifest (``trials``, ``arms``, ``cases``, ``case_nodules``, ``case_weights``, ``balance`` and the
published files) and, apart from it, its ``feasibility``.

Reads the tables that planning needs and writes its own; how a trial is planned is in ``compose``.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl

from itrialspace_assets.base.errors import ConfigError, TrialError
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import Partition, Result, Step
from itrialspace_assets.hosts.clearance import read_clearance
from itrialspace_assets.hosts.paths import clearance_path
from itrialspace_assets.imaging.pictures import markdown
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.records.layout import PROCEDURAL
from itrialspace_assets.records.store import file_digests, read_table, table_files, write_table
from itrialspace_assets.trials.balance import picture
from itrialspace_assets.trials.compose import Manifest, compose
from itrialspace_assets.trials.feasibility import feasibility
from itrialspace_assets.trials.files import load_trial
from itrialspace_assets.trials.fit import fit_positions
from itrialspace_assets.trials.pool import CandidatePool
from itrialspace_assets.trials.published import write_manifests
from itrialspace_assets.trials.resolve import Resolved, refuse_unknown_names, resolve
from itrialspace_assets.trials.rows import TrialRow, table_of
from itrialspace_assets.trials.sites import sites
from itrialspace_assets.trials.sources import fit_tables, pool_of
from itrialspace_assets.trials.verify import broken_rules

VERSION = "5"
FEASIBILITY_VERSION = "5"
TABLES = ("cases", "case_nodules", "trials", "arms", "case_weights", "balance")
#: What a plan from profiles alone says of itself.
UNVERIFIED = "planned from profiles alone: no mask is at hand, so no position is verified"


def resolved_trial(settings: Settings, mode: str) -> Resolved:
    """The trial of a mode at the configured size with the run's overrides.

    Raises:
        ConfigError: no such mode, a wrong file, size or override, or a dataset or site that is not there.
    """
    known = datasets(settings)
    present = [name for name, entry in known.items() if entry.profile_csv(settings.data).exists()]
    resolved = resolve(load_trial(settings, mode), settings.size, settings.override_list, present or list(known))
    refuse_unknown_names(resolved, list(known), list(sites(settings)))
    return resolved


def refuse_unknown_ids(settings: Settings, resolved: Resolved, index: pl.DataFrame) -> None:
    """Refuse a trial that lists a nodule or scan that is not there: it would be planned from the others.

    Args:
        settings: where the tables lie.
        resolved: the trial.
        index: rows of ``nodules``.

    Raises:
        ConfigError: names the key and the first ids.
    """
    for arm in resolved.arms:
        nodules, scans = arm.cohort.donors.nodules, arm.cohort.hosts.scans
        drawn = [uid for uid in nodules or () if uid.startswith(f"{PROCEDURAL}/")]
        lost = {"donors.nodules": sorted({*(nodules or ())} - {*drawn} - {*index["nodule_uid"]})}
        if scans is not None:
            lost["hosts.scans"] = sorted({*scans} - {*read_table(settings.output, "scans", ["scan_uid"])["scan_uid"]})
        for key, uids in lost.items():
            if uids:
                raise ConfigError(
                    f"{resolved.trial.trial}: arm {arm.name}: {key}: {len(uids)} are not in the index, first: "
                    f"{', '.join(uids[:5])}; `its index` and `its sql` list those that are"
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


def seed_of(settings: Settings, resolved: Resolved) -> int:
    """Root of a plan's draws: the trial file's own, else the setting."""
    return settings.seed if resolved.trial.seed is None else resolved.trial.seed


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
FEASIBILITY = Step(("trial_feasibility",), "plan", ("mode",), FEASIBILITY_VERSION)


def build(settings: Settings, partition: Partition) -> Result:
    """Plan the trial of a mode at the configured size and write its tables and published manifests.

    Raises:
        TrialError: it is infeasible from this data; nothing is written.
        ConfigError: the trial file is wrong, or lists what is not there.
    """
    require_data_root(settings)
    mode, root = partition["mode"], settings.output
    resolved = resolved_trial(settings, mode)
    pool, index = pool_of(settings)
    refuse_unknown_ids(settings, resolved, index)
    manifest = compose(
        resolved, pool, sites(settings), seed_of(settings, resolved), settings.anatomy, relax=settings.relax
    )
    if pool.verified:
        manifest = replace(manifest, nodules=_fitted(root, manifest))
    broken = broken_rules(resolved, manifest.arms, manifest.cases, manifest.nodules, index)
    if broken:
        raise TrialError(
            f"{resolved.trial.trial}: the manifest breaks its rules and was not written: {'; '.join(broken)}"
        )
    content = resolved_content(resolved)
    row = _trial_row(settings, resolved, pool, content)
    frames = {
        "trials": table_of("trials", [row]),
        "arms": manifest.arms,
        "cases": manifest.cases,
        "case_nodules": manifest.nodules,
        "case_weights": manifest.weights,
        "balance": manifest.balance,
    }
    shown = picture(manifest.balance, manifest.arms, settings.anatomy)
    files = write_manifests(settings, resolved, manifest, index, asdict(row) | {"resolved": content}, shown)
    paths = [write_table(root, name, frame, mode=mode) for name, frame in frames.items()]
    return Result(
        {name: len(frames[name]) for name in TABLES},
        computed=manifest.cases.height,
        note="; ".join([*([] if pool.verified else [UNVERIFIED]), *manifest.arms["note"].drop_nulls()]),
        picture=shown,
        preview=_preview(manifest.arms),
        files=files,
        written=tuple(paths),
    )


def _trial_row(settings: Settings, resolved: Resolved, pool: CandidatePool, content: dict[str, Any]) -> TrialRow:
    """The row of ``trials``: what was planned, and the hashes of what it was planned from."""
    (index_sha256,) = file_digests(settings.output, table_files(settings.output, "nodules")).values()
    return TrialRow(
        trial=resolved.trial.trial,
        mode=resolved.trial.mode,
        planner=resolved.trial.planner,
        question=resolved.trial.question,
        size=resolved.size,
        seed=seed_of(settings, resolved),
        overrides=";".join(resolved.overrides),
        relaxed=settings.relax,
        file_sha256=digest(content),
        index_sha256=index_sha256,
        pool_sha256=digest([pool.donors["nodule_uid"].to_list(), pool.hosts["scan_uid"].to_list()]),
        resolved=json.dumps(content, sort_keys=True),
        anatomy=settings.anatomy,
    )


def _fitted(output: Path, manifest: Manifest) -> pl.DataFrame:
    """The planned nodules, moved to where their hosts hold them."""
    donors, hosts, lobes = fit_tables(output, manifest.nodules["donor_dataset"], manifest.cases["host_dataset"])
    return fit_positions(
        manifest.nodules, manifest.cases, donors, hosts, lobes, lambda sha: read_clearance(clearance_path(output, sha))
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
    """Count what a mode's arms can draw from and write ``feasibility``; an infeasible trial is a finding here, no
    error."""
    require_data_root(settings)
    pool, index = pool_of(settings)
    resolved = resolved_trial(settings, partition["mode"])
    refuse_unknown_ids(settings, resolved, index)
    frame = feasibility(resolved, pool, sites(settings), seed_of(settings, resolved))
    path = write_table(settings.output, "feasibility", frame, mode=partition["mode"])
    cases = frame.filter(pl.col("of") == "cases")
    short = cases.filter(pl.col("binding")).height
    note = f"{short} of {cases.height} arms are infeasible as asked" if short else ""
    return Result(
        {"feasibility": frame.height},
        computed=cases.height,
        note=note,
        preview=markdown(frame.drop("mode", "trial").head(60)),
        written=(path,),
    )
