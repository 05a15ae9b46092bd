"""Exports rendered CTs: NIfTI files, or DICOM series that say they are synthetic.

Reads ``cts`` and the store, whether whole images or patches are kept.
"""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import replace_file
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.imaging.dicom import ct_series
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.records.store import read_all
from itrialspace_assets.synthesis.images import open_ct


def chosen(settings: Settings, mode: str, source: str, case: str | None, twins: bool) -> pl.DataFrame:
    """Rows of ``cts`` with host and person, each image once, host by host.

    Args:
        settings: gives the output folder.
        mode: trial mode.
        source: name of the renderer.
        case: one of the mode's cases; None: all.
        twins: whether lesion-free twins are chosen too.

    Raises:
        ConfigError: nothing was rendered, or no such case.
    """
    rows = read_all(settings.output, "cts", mode=mode, source=source)
    if rows.is_empty():
        raise ConfigError(f"{mode}: expected CTs of {source}, found none; run `its run --modes {mode} --to synthesise`")
    if case is not None:
        known = rows["case_uid"].unique().sort()
        rows = rows.filter(pl.col("case_uid") == case)
        if rows.is_empty():
            raise ConfigError(f"case {case!r}: expected one of {mode}, for example {', '.join(known.head(3))}")
    hosts = read_all(settings.output, "cases", mode=mode).select("case_uid", "host_person_uid", "host_scan_uid")
    rows = rows.filter(~pl.col("is_lesion_free") | twins).join(hosts, on="case_uid", how="left")
    return rows.unique("image_uid", keep="first", maintain_order=True).sort("twin_uid", "case_uid", "is_lesion_free")


def export_cts(settings: Settings, rows: pl.DataFrame, to: Path, dicom: bool, progress: Callable[[int], None]) -> int:
    """Write each image as one NIfTI file, or as a folder with a DICOM series; returns how many.

    Args:
        settings: gives the store.
        rows: from ``chosen``.
        to: folder to write to.
        dicom: DICOM series instead of NIfTI files.
        progress: told how many more are done.

    Raises:
        CaseRejected: an image is missing or damaged.
    """
    for row in rows.iter_rows(named=True):
        ct = open_ct(settings, row)
        name = row["case_uid"].replace("/", "_") + ("_lesion_free" if row["is_lesion_free"] else "")
        how = f"synthetic, rendered by {row['source']}; {row['anatomy']} anatomy"
        if dicom:
            person = row["host_person_uid"].split("/", 1)[-1]
            for file, data in ct_series(ct, row["image_uid"], row["host_scan_uid"], person, how):
                replace_file(to / name / file, data)
        else:
            write_volume(to / f"{name}.nii.gz", ct, how)
        progress(1)
    return rows.height
