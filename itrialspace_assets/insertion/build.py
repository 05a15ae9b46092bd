"""Builds one partition of ``insertions``: all cases of a mode whose host is of a dataset."""

from collections.abc import Iterator

import polars as pl

from itrialspace_assets.base.errors import TableError
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework import workers
from itrialspace_assets.casework.cases import Case, retryable, write_rejected
from itrialspace_assets.casework.steps import Options, Partition, Result, Step, partition_name
from itrialspace_assets.imaging import pictures
from itrialspace_assets.insertion.case import VERSION, Donor, Host, InsertionCase, PlannedNodule, work_of
from itrialspace_assets.insertion.insert import insert_case
from itrialspace_assets.insertion.sheet import contact_sheet
from itrialspace_assets.records.by_key import ByKey
from itrialspace_assets.records.store import look_up, read_all, read_table, write_parts


def insertion_cases(settings: Settings, partition: Partition) -> Iterator[Case]:
    """One case for each case of the manifest whose host is of the partition's dataset.

    Raises:
        TableError: a host or donor that was planned is not in the store.
    """
    mode, dataset = partition["mode"], partition["dataset"]
    cases = read_table(settings.output, "cases", mode=mode).filter(pl.col("host_dataset") == dataset)
    if cases.is_empty():
        return
    hosts = _hosts(settings, dataset, cases["host_scan_uid"].unique().to_list())
    plan = read_table(settings.output, "case_nodules", mode=mode)
    plan = plan.join(cases.select("case_uid"), on="case_uid", how="semi")
    donors = _donors(settings, mode, plan["donor_nodule_uid"].unique())
    nodules = ByKey(plan.sort("case_uid", "nodule_idx"), "case_uid")
    for row in cases.iter_rows(named=True):
        host = hosts.get(row["host_scan_uid"])
        if host is None:
            raise TableError(
                f"cases/{mode}: host {row['host_scan_uid']} is not in the host store: expected its organ map below "
                f"masks/{dataset}; put it there and plan again (its trials plan {mode})"
            )
        planned = look_up(nodules, row["case_uid"], f"case_nodules/{mode}")
        case = InsertionCase(
            case_uid=row["case_uid"],
            mode=mode,
            dataset=dataset,
            anatomy=row["anatomy"],
            seed=row["seed"],
            host_person_uid=row["host_person_uid"],
            host=host,
            nodules=tuple(PlannedNodule.of(nodule, donors[nodule["donor_nodule_uid"]]) for nodule in planned),
        )
        yield work_of(settings, case)


def _hosts(settings: Settings, dataset: str, scans: list[str]) -> dict[str, Host]:
    """Those of some scans of a dataset that are hosts, by scan."""
    hosts, lobes = (
        read_table(settings.output, name, dataset=dataset).filter(pl.col("scan_uid").is_in(scans))
        for name in ("hosts", "host_lobes")
    )
    by_scan = {str(scan): group.to_dicts() for (scan,), group in lobes.group_by(["scan_uid"], maintain_order=True)}
    return {
        row["scan_uid"]: Host.of(row["scan_uid"], row, by_scan[row["scan_uid"]]) for row in hosts.iter_rows(named=True)
    }


def _donors(settings: Settings, mode: str, planned: pl.Series) -> dict[str, Donor]:
    """Donors by ``nodule_uid``.

    Raises:
        TableError: a donor is not in the donor store.
    """
    rows = read_all(settings.output, "donors").filter(pl.col("nodule_uid").is_in(planned.implode()))
    donors = {row["nodule_uid"]: Donor.of(row["scan_uid"], row) for row in rows.iter_rows(named=True)}
    if lost := sorted(set(planned) - set(donors)):
        raise TableError(
            f"case_nodules/{mode}: donor {lost[0]} is not in the donor store; run the stages hosts and plan again"
        )
    return donors


def options(settings: Settings) -> Options:
    return {"masks": settings.masks, "placement": settings.placement}


STEP = Step(("inserted_masks",), "insert", ("mode", "dataset"), VERSION, options)


def build(settings: Settings, partition: Partition, run_id: str) -> Result:
    """Insert every case of a pair; a case that fails is rejected with its reason.

    Args:
        settings: data root, outputs, workers, placement rules, how masks are kept.
        partition: mode and dataset.
        run_id: names the journal of this run.

    Raises:
        TableError: the tables that are read are missing or do not fit together.
    """
    require_data_root(settings)
    name = partition_name(partition)
    cases = insertion_cases(settings, partition)
    made, computed = workers.process(insert_case, cases, settings, "insert", name, run_id)
    path, count = write_parts(settings.output, "insertions", made.rows.parts("insertions"), **partition)
    write_rejected(settings, "insert", name, made.rejected)
    rows = read_table(settings.output, "insertions", **partition)
    note = "" if made.total else "no case of this mode has a host of this dataset"
    return Result(
        {"insertions": count},
        computed,
        made.total - computed,
        len(made.rejected),
        note,
        contact_sheet(settings, rows) if count else None,
        _preview(rows),
        files=made.files,
        retryable=retryable(made),
        worker_memory_mb=made.memory_mb,
        written=(path,),
    )


def _preview(rows: pl.DataFrame) -> str:
    """Markdown: kinds of empty sites, and the first nodules."""
    if rows.is_empty():
        return ""
    first = rows.filter(pl.col("nodule_idx") == 0)
    kinds = first.group_by(pl.col("empty_site").alias("empty sites")).agg(cases=pl.len()).sort("empty sites")
    columns = ["case_uid", "lobe", "planned_diameter_mm", "diameter_mm", "shift_mm", "relaxations"]
    return f"{pictures.markdown(kinds)}\n\n{pictures.markdown(rows.select(columns).head(12))}"
