"""Builds one partition of ``insertions``: all cases of a mode whose host is of a dataset."""

from typing import Any

import polars as pl

from itrialspace_assets.base.errors import TableError
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework import workers
from itrialspace_assets.casework.cases import Case, retryable, write_rejected
from itrialspace_assets.casework.steps import Options, Partition, Result, Step, partition_name
from itrialspace_assets.imaging import pictures
from itrialspace_assets.insertion.insert import insert_case
from itrialspace_assets.insertion.sheet import contact_sheet
from itrialspace_assets.records.store import read_all, read_table, write_table

VERSION = "3"


def insertion_cases(settings: Settings, partition: Partition) -> list[Case]:
    """One case per manifest case of this pair; its hash covers host, donors and plan."""
    mode, dataset = partition["mode"], partition["dataset"]
    cases = read_table(settings.output, "cases", mode=mode).filter(pl.col("host_dataset") == dataset)
    if cases.is_empty():
        return []
    nodules = read_table(settings.output, "case_nodules", mode=mode).filter(
        pl.col("case_uid").is_in(cases["case_uid"].to_list())
    )
    hosts = {r["scan_uid"]: r for r in read_table(settings.output, "hosts", dataset=dataset).iter_rows(named=True)}
    lobes = read_table(settings.output, "host_lobes", dataset=dataset).select(
        "scan_uid", "lobe", "voxels", "box", "occupied"
    )
    by_host = {str(k[0]): g.drop("scan_uid").to_dicts() for k, g in lobes.group_by(["scan_uid"])}
    donors = read_all(settings.output, "donors").filter(
        pl.col("nodule_uid").is_in(nodules["donor_nodule_uid"].to_list())
    )
    donor_rows = {r["nodule_uid"]: r for r in donors.iter_rows(named=True)}
    planned: dict[str, list[dict[str, Any]]] = {}
    for row in nodules.sort("case_uid", "nodule_idx").iter_rows(named=True):
        donor = donor_rows.get(row["donor_nodule_uid"])
        if donor is None:
            raise TableError(
                f"case_nodules/{mode}: donor {row['donor_nodule_uid']} is not in the donor store; run the "
                "stages hosts and plan again"
            )
        planned.setdefault(row["case_uid"], []).append({k: row[k] for k in PLANNED} | donor_part(donor))
    out = []
    for row in cases.iter_rows(named=True):
        host = hosts.get(row["host_scan_uid"])
        if host is None:
            raise TableError(
                f"cases/{mode}: host {row['host_scan_uid']} is not in the host store; run the stages hosts and "
                "plan again"
            )
        about = {
            "case_uid": row["case_uid"],
            "mode": mode,
            "dataset": dataset,
            "anatomy": row["anatomy"],
            "seed": row["seed"],
            "host_scan_uid": row["host_scan_uid"],
            "host_person_uid": row["host_person_uid"],
        }
        out.append(case_of(settings, about, host, by_host[row["host_scan_uid"]], planned[row["case_uid"]]))
    return out


#: Columns of ``case_nodules`` that insertion reads.
PLANNED = (
    "nodule_idx",
    "present",
    "kept",
    "donor_nodule_uid",
    "donor_person_uid",
    "label",
    "placement",
    "lobe",
    "cc_pct",
    "ml_pct",
    "ap_pct",
    "planned_diameter_mm",
    "scale",
    "asked_pleural_mm",
    "asked_airway_mm",
    "margin_mm",
    "rotation_x_deg",
    "rotation_y_deg",
    "rotation_z_deg",
    "mirrored",
    "relaxations",
)


def donor_part(donor: dict[str, Any]) -> dict[str, Any]:
    """What a nodule's payload holds of its row of ``donors``."""
    return {
        "lesion": donor["lesion"],
        "spacing": [donor[f"spacing_{a}"] for a in "xyz"],
        "donor_scan_uid": donor["scan_uid"],
        "donor_sha256": donor["lesion_sha256"],
    }


def case_of(
    settings: Settings,
    about: dict[str, Any],
    host: dict[str, Any],
    lobes: list[dict[str, Any]],
    nodules: list[dict[str, Any]],
) -> Case:
    """A case for ``insert_case``: who it is, its host (row of ``hosts``), the host's lobes, its nodules."""
    payload = about | {"map_sha256": host["map_sha256"], "cleared": host["cleared"], "lobes": lobes, "nodules": nodules}
    sha = digest([VERSION, settings.masks, settings.placement, payload])
    return Case(about["case_uid"], sha, host["map_sha256"], payload)


def options(settings: Settings) -> Options:
    return {"masks": settings.masks, "placement": settings.placement}


STEP = Step(("inserted_masks",), "insert", ("mode", "dataset"), VERSION, options)


def build(settings: Settings, partition: Partition, run_id: str) -> Result:
    """Insert every case of a pair; a case that cannot be done is put aside with its reason."""
    require_data_root(settings)
    name = partition_name(partition)
    cases = insertion_cases(settings, partition)
    made, computed = workers.process(insert_case, cases, settings, "insert", name, run_id)
    rows = made.rows.get("insertions", [])
    path = write_table(settings.output, "insertions", rows, **partition)
    write_rejected(settings, "insert", name, made.rejected)
    note = "" if cases else "no case of this mode has a host of this dataset"
    return Result(
        {"insertions": len(rows)},
        computed,
        len(cases) - computed,
        len(made.rejected),
        note,
        contact_sheet(settings, rows) if rows else None,
        _preview(rows),
        files=made.files,
        retryable=retryable(made),
        written=(path,),
    )


def _preview(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    frame = pl.DataFrame(rows, infer_schema_length=None)
    first = frame.filter(pl.col("nodule_idx") == 0)
    about = first.group_by(pl.col("empty_site").alias("empty places")).agg(cases=pl.len()).sort("empty places")
    columns = ["case_uid", "lobe", "planned_diameter_mm", "diameter_mm", "shift_mm", "relaxations"]
    return f"{pictures.markdown(about)}\n\n{pictures.markdown(frame.select(columns).head(12))}"
