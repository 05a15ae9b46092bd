"""Builds one partition of ``hosts``, ``host_lobes`` and ``donors``."""

import polars as pl

from itrialspace_assets.base.fingerprints import FileHashes, digest
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework import workers
from itrialspace_assets.casework.cases import Case, retryable, write_rejected
from itrialspace_assets.casework.steps import Partition, Result, Step
from itrialspace_assets.hosts.store import prepare_scan
from itrialspace_assets.profiles.registry import dataset
from itrialspace_assets.records.store import read_table, write_table

VERSION = "5"
TABLES = ("hosts", "host_lobes", "donors")


def scan_cases(settings: Settings, name: str) -> list[Case]:
    """One case per scan that a dataset names, with nodules or without; its hash covers the map, the nodule masks and
    the profile rows."""
    entry = dataset(settings, name)
    profiles = read_table(settings.output, "profiles", dataset=name)
    of_scan = {str(scan): rows for (scan,), rows in profiles.group_by(["scan_uid"], maintain_order=True)}
    wanted, payloads = {}, []
    for scan in read_table(settings.output, "scan_lists", dataset=name).iter_rows(named=True):
        rows = of_scan.get(scan["scan_uid"], profiles.clear())
        person = rows.row(0, named=True) if rows.height else dict.fromkeys(("age", "sex", "smoking"))
        nodules = [
            {
                "nodule_uid": r["nodule_uid"],
                "annotation_id": r["annotation_id"],
                "centre": [r["coordX"], r["coordY"], r["coordZ"]],
                "row": r["source_row"],
            }
            for r in rows.iter_rows(named=True)
        ]
        payload = {k: scan[k] for k in ("scan_uid", "dataset", "ct_id", "person_uid", "anatomy")}
        payloads.append(payload | {"nodules": nodules} | {k: person[k] for k in ("age", "sex", "smoking")})
        wanted[scan["scan_uid"]] = [
            entry.organ_map(settings.data, scan["ct_id"]),
            *(entry.nodule_mask(settings.data, scan["ct_id"], n["annotation_id"]) for n in nodules),
        ]
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        found = {scan: [hashes.get(f) for f in files] for scan, files in wanted.items()}
    return [
        Case(str(p["scan_uid"]), digest([VERSION, p, found[p["scan_uid"]]]), str(p["scan_uid"]), p) for p in payloads
    ]


STEP = Step(("hosts",), "hosts", ("dataset",), VERSION)


def build(settings: Settings, partition: Partition, run_id: str) -> Result:
    """Prepare every scan of a dataset; scans that cannot be hosts are put aside with a reason."""
    require_data_root(settings)
    name = partition["dataset"]
    cases = scan_cases(settings, name)
    made, computed = workers.process(prepare_scan, cases, settings, "hosts", name, run_id)
    paths = [write_table(settings.output, t, made.rows.get(t, []), dataset=name) for t in TABLES]
    write_rejected(settings, "hosts", name, made.rejected)
    counts = {t: len(made.rows.get(t, [])) for t in TABLES}
    note = "" if counts["hosts"] else "no scan of this dataset can be a host"
    return Result(
        counts,
        computed,
        len(cases) - computed,
        len(made.rejected),
        note,
        preview=_preview(settings, name),
        files=made.files,
        retryable=retryable(made),
        written=tuple(paths),
    )


def _preview(settings: Settings, name: str) -> str:
    lobes = read_table(settings.output, "host_lobes", dataset=name)
    table = (
        lobes.group_by("lobe")
        .agg(
            pl.len().alias("hosts"), pl.col("fit_radius_mm").median().round(1).alias("median largest sphere radius mm")
        )
        .sort("lobe")
    )
    with pl.Config(tbl_formatting="ASCII_MARKDOWN", tbl_hide_column_data_types=True, tbl_hide_dataframe_shape=True):
        return str(table)
