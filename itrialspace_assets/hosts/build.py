"""Builds one partition of ``hosts``, ``host_lobes`` and ``donors``."""

from typing import Any

import polars as pl

from itrialspace_assets.base.fingerprints import FileHashes
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework import workers
from itrialspace_assets.casework.cases import Case, payload_hash, retryable, write_rejected
from itrialspace_assets.casework.steps import Partition, Result, Step
from itrialspace_assets.hosts.case import HostCase, HostNodule
from itrialspace_assets.hosts.store import prepare_scan
from itrialspace_assets.imaging.pictures import markdown
from itrialspace_assets.profiles.registry import dataset
from itrialspace_assets.records.store import read_table, write_table

VERSION = "6"
TABLES = ("hosts", "host_lobes", "donors")
#: Columns of ``profiles`` that a case reads: of the person, and of each nodule.
_PERSON, _NODULE = (
    ("age", "sex", "smoking"),
    ("nodule_uid", "annotation_id", "coordX", "coordY", "coordZ", "source_row"),
)


def scan_cases(settings: Settings, name: str) -> list[Case]:
    """One case for each scan that a dataset names, with nodules or without; its hash covers the organ map, the nodule
    masks and the profile rows."""
    entry = dataset(settings, name)
    profiles = read_table(settings.output, "profiles", dataset=name)
    by_scan: dict[str, list[dict[str, Any]]] = {}
    for row in profiles.select("scan_uid", *_PERSON, *_NODULE).iter_rows(named=True):
        by_scan.setdefault(row["scan_uid"], []).append(row)
    scans = read_table(settings.output, "scan_lists", dataset=name).iter_rows(named=True)
    payloads = [_host_case(scan, by_scan.get(scan["scan_uid"], [])) for scan in scans]
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        contents = [
            [
                hashes.get(entry.organ_map(settings.data, p.ct_id)),
                *(hashes.get(entry.nodule_mask(settings.data, p.ct_id, n.annotation_id)) for n in p.nodules),
            ]
            for p in payloads
        ]
    return [
        Case(p.scan_uid, payload_hash([VERSION, found], p), p.scan_uid, p)
        for p, found in zip(payloads, contents, strict=True)
    ]


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
    cases = scan_cases(settings, name)
    made, computed = workers.process(prepare_scan, cases, settings, "hosts", name, run_id)
    paths = [write_table(settings.output, t, made.rows.get(t, []), dataset=name) for t in TABLES]
    write_rejected(settings, "hosts", name, made.rejected)
    counts = {t: len(made.rows.get(t, [])) for t in TABLES}
    return Result(
        counts,
        computed=computed,
        reused=len(cases) - computed,
        rejected=len(made.rejected),
        note="" if counts["hosts"] else "no scan of this dataset can be a host",
        preview=_preview(settings, name),
        files=made.files,
        retryable=retryable(made),
        written=tuple(paths),
    )


def _preview(settings: Settings, name: str) -> str:
    lobes = read_table(settings.output, "host_lobes", dataset=name)
    radius = pl.col("fit_radius_mm").median().round(1).cast(pl.String).alias("median largest sphere radius mm")
    return markdown(lobes.group_by("lobe").agg(pl.len().alias("hosts"), radius).sort("lobe"))
