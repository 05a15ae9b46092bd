"""Builds one partition of ``hosts``, ``host_lobes`` and ``donors``."""

from typing import Any

import polars as pl

from itrialspace_assets.base.errors import Reason
from itrialspace_assets.base.fingerprints import FileHashes
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework import workers
from itrialspace_assets.casework.cases import Case, Rejection, payload_hash, retryable, write_rejected
from itrialspace_assets.casework.steps import Partition, Result, Step
from itrialspace_assets.hosts.case import HostCase, HostNodule
from itrialspace_assets.hosts.store import prepare_scan
from itrialspace_assets.imaging.pictures import markdown
from itrialspace_assets.profiles.registry import dataset
from itrialspace_assets.records.store import read_table, write_table

VERSION = "7"
TABLES = ("hosts", "host_lobes", "donors")
#: Columns of ``profiles`` that a case reads: of the person, and of each nodule.
_PERSON, _NODULE = (
    ("age", "sex", "smoking"),
    ("nodule_uid", "annotation_id", "coordX", "coordY", "coordZ", "source_row"),
)


def scan_cases(settings: Settings, name: str) -> tuple[list[Case], list[Rejection]]:
    """One case for each scan that a dataset names and that has an organ map, with nodules or without; its hash covers
    the organ map, the nodule masks and the profile rows. The scans without a map are rejected at once: nothing about
    them would be worth a worker, or a line of the journal."""
    entry = dataset(settings, name)
    scans, absent = [], []
    for scan in read_table(settings.output, "scan_lists", dataset=name).iter_rows(named=True):
        path = entry.organ_map(settings.data, scan["ct_id"])
        if path.exists():
            scans.append((scan, path))
        else:
            detail = f"{path.relative_to(settings.data)}: expected a NIfTI file, found none"
            absent.append(Rejection(scan["scan_uid"], Reason.MISSING_FILE, detail))
    if not scans:
        return [], absent
    profiles = read_table(settings.output, "profiles", dataset=name)
    by_scan: dict[str, list[dict[str, Any]]] = {}
    for row in profiles.select("scan_uid", *_PERSON, *_NODULE).iter_rows(named=True):
        by_scan.setdefault(row["scan_uid"], []).append(row)
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        cases = []
        for scan, path in scans:
            p = _host_case(scan, by_scan.get(scan["scan_uid"], []))
            masks = (entry.nodule_mask(settings.data, p.ct_id, n.annotation_id) for n in p.nodules)
            found = [hashes.get(path), *(hashes.get(mask) for mask in masks)]
            cases.append(Case(p.scan_uid, payload_hash([VERSION, found], p), p.scan_uid, p))
    return cases, absent


def _host_case(scan: dict[str, Any], profiles: list[dict[str, Any]]) -> HostCase:
    """The case of a row of ``scan_lists``, from the profiles of that scan; its person is that of the first nodule."""
    person = profiles[0] if profiles else dict.fromkeys(_PERSON)
    return HostCase(
        scan_uid=scan["scan_uid"],
        dataset=scan["dataset"],
        ct_id=scan["ct_id"],
        person_uid=scan["person_uid"],
        anatomy=scan["anatomy"],
        age=person["age"],
        sex=person["sex"],
        smoking=person["smoking"],
        nodules=tuple(_host_nodule(row) for row in profiles),
    )


def _host_nodule(row: dict[str, Any]) -> HostNodule:
    centre = (row["coordX"], row["coordY"], row["coordZ"])
    return HostNodule(
        nodule_uid=row["nodule_uid"],
        annotation_id=row["annotation_id"],
        centre=None if None in centre else centre,
        row=row["source_row"],
    )


STEP = Step(("hosts",), "hosts", ("dataset",), VERSION)


def build(settings: Settings, partition: Partition, run_id: str) -> Result:
    """Prepare every scan of a dataset; a scan that cannot be a host is rejected with a reason.

    Args:
        settings: data root, outputs and seed.
        partition: the dataset.
        run_id: of the run that builds it.
    """
    require_data_root(settings)
    name = partition["dataset"]
    cases, absent = scan_cases(settings, name)
    made, computed = workers.process(prepare_scan, cases, settings, "hosts", name, run_id)
    paths = [write_table(settings.output, t, made.rows.get(t, []), dataset=name) for t in TABLES]
    write_rejected(settings, "hosts", name, [*made.rejected, *absent])
    counts = {t: len(made.rows.get(t, [])) for t in TABLES}
    return Result(
        counts,
        computed=computed,
        reused=len(cases) - computed,
        rejected=len(made.rejected) + len(absent),
        note="" if counts["hosts"] else "no scan of this dataset can be a host",
        preview=_preview(settings, name),
        files=made.files,
        retryable=retryable(made),
        worker_memory_mb=made.memory_mb,
        written=tuple(paths),
    )


def _preview(settings: Settings, name: str) -> str:
    lobes = read_table(settings.output, "host_lobes", dataset=name)
    radius = pl.col("fit_radius_mm").median().round(1).cast(pl.String).alias("median largest sphere radius mm")
    return markdown(lobes.group_by("lobe").agg(pl.len().alias("hosts"), radius).sort("lobe"))
