"""Builds one partition of ``trials``, ``arms``, ``cases`` and ``case_nodules``: the manifest of a mode."""

import json

import polars as pl

from itrialspace_assets.errors import TrialError
from itrialspace_assets.fingerprints import digest
from itrialspace_assets.settings import Settings, require_data_root
from itrialspace_assets.steps import Inputs, Partition, Result, Step, input_hash, record
from itrialspace_assets.store import file_digests, read_all, read_table, table_files, write_table
from itrialspace_assets.tables import TABLES
from itrialspace_assets.trials.model import load_trial
from itrialspace_assets.trials.plan import make_stock, plan_sampled
from itrialspace_assets.trials.twins import plan_isolation
from itrialspace_assets.trials.verify import broken_rules

VERSION = "1"
_READS = ("nodules", "hosts", "host_lobes", "donors")


def inputs(settings: Settings, partition: Partition) -> Inputs:
    trial = load_trial(settings, partition["mode"])
    files = [f for name in _READS for f in table_files(settings.output, name)]
    return file_digests(settings.output, files) | {
        "trial": digest(trial.model_dump(mode="json")), "size": settings.size, "seed": str(settings.seed)
    }  # fmt: skip


STEP = Step(("cohort_manifests",), "plan", ("mode",), VERSION, inputs)


def build(settings: Settings, partition: Partition) -> Result:
    """Plan the trial of a mode at the configured size.

    Raises:
        TrialError: it cannot be had from this data; nothing is written.
        ConfigError: the trial file is wrong.
    """
    require_data_root(settings)
    mode = partition["mode"]
    before = input_hash(STEP, settings, partition)
    trial = load_trial(settings, mode)
    size = trial.sizes[settings.size]
    root = settings.output
    nodules = read_table(root, "nodules")
    stock = make_stock(nodules, *(read_all(root, name) for name in ("donors", "hosts", "host_lobes")))
    planner = plan_sampled if trial.planner == "sampled" else plan_isolation
    manifest = planner(trial, size, stock, settings.seed, settings.anatomy)
    resolved = trial.model_dump(mode="json") | {"size": settings.size, "seed": settings.seed}
    (index_sha,) = file_digests(root, table_files(root, "nodules")).values()
    row = {
        "trial": trial.trial, "mode": mode, "planner": trial.planner, "question": trial.question, "size": settings.size,
        "seed": settings.seed, "file_sha256": digest(resolved), "index_sha256": index_sha,
        "resolved": json.dumps(resolved, sort_keys=True), "anatomy": settings.anatomy,
    }  # fmt: skip
    planned = {"cases": manifest.cases, "case_nodules": manifest.nodules, "arms": manifest.arms}
    frames = {name: TABLES[name].frame(rows) for name, rows in planned.items()}
    broken = broken_rules(frames["cases"], frames["case_nodules"], nodules, frames["arms"])
    if broken:
        raise TrialError(f"{trial.trial}: the manifest breaks its rules and was not written: {'; '.join(broken)}")
    written = {"trials": [row], "arms": manifest.arms, "cases": manifest.cases, "case_nodules": manifest.nodules}
    paths = [write_table(root, name, rows, mode=mode) for name, rows in written.items()]
    notes = "; ".join(a["note"] for a in manifest.arms if a["note"])
    result = Result(
        {n: len(r) for n, r in written.items()},
        computed=len(manifest.cases),
        note=notes,
        preview=_preview(manifest.arms),
    )
    record(settings, STEP, partition, before, result, paths)
    return result


def _preview(arms: list[dict[str, object]]) -> str:
    columns = ["arm", "asked_cases", "got_cases", "asked_malignant", "got_malignant", "donor_pool", "host_pool"]
    with pl.Config(
        tbl_formatting="ASCII_MARKDOWN",
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
        tbl_cols=-1,
        tbl_rows=50,
    ):
        return str(pl.DataFrame(arms, infer_schema_length=None).select(columns)) if arms else ""
