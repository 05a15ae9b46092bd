"""Exports inserted masks as files of their own: whole NIfTI maps, or DICOM segmentations of the nodules.

Reads ``insertions`` and host maps, so it works whether whole masks or deltas are kept.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import replace_file
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.hosts.store import load_host_map, packed_host
from itrialspace_assets.imaging.dicom import segmentation
from itrialspace_assets.imaging.lesions import Lesion, stamp_packed, unpack_bits
from itrialspace_assets.imaging.packing import write_packed
from itrialspace_assets.records.layout import case_key
from itrialspace_assets.records.store import read_all

FORMATS = ("nifti", "dicom-seg")


def chosen(settings: Settings, mode: str, case: str | None) -> pl.DataFrame:
    """Rows of ``insertions`` with inserted nodules, host by host.

    Args:
        settings: gives the output folder.
        mode: trial mode.
        case: one of its cases; None: all.

    Raises:
        ConfigError: nothing was inserted, or no such case.
    """
    rows = read_all(settings.output, "insertions", mode=mode).filter("present")
    if rows.is_empty():
        raise ConfigError(f"{mode}: expected inserted masks, found none; run `its run --modes {mode} --to insert`")
    if case is not None:
        known = rows["case_uid"].unique().sort()
        rows = rows.filter(pl.col("case_uid") == case)
        if rows.is_empty():
            raise ConfigError(f"case {case!r}: expected one of {mode}, for example {', '.join(known.head(3))}")
    return rows.sort("host_map_sha256", "case_uid", "nodule_idx")


def export_masks(settings: Settings, rows: pl.DataFrame, to: Path, how: str, progress: Callable[[int], None]) -> int:
    """Write one file for each case; returns how many.

    Args:
        settings: gives the store.
        rows: from ``chosen``.
        to: folder to write to.
        how: one of ``FORMATS``.
        progress: told how many more are done.

    Raises:
        ConfigError: an unknown format.
        CaseRejected: a host map is missing or damaged.
    """
    if how not in FORMATS:
        raise ConfigError(f"--format {how!r}: expected one of {', '.join(FORMATS)}")
    count = 0
    for (uid,), group in rows.group_by(["case_uid"], maintain_order=True):
        first = group.row(0, named=True)
        trial, arm, number = str(uid).rsplit("/", 2)
        donors = [d.split("/", 1)[-1] for d in group["donor_nodule_uid"]]
        person = first["host_person_uid"].split("/", 1)[-1]
        name = case_key(f"{trial}_{arm}", int(number), person, first["dataset"], donors)
        lesions = [unpack_bits(b) for b in group["lesion"]]
        if how == "nifti":
            _nifti(settings, first, lesions, to / f"{name}_mask.nii.gz")
        else:
            host = load_host_map(settings.output, first["host_map_sha256"])
            masks = [whole(lesion, host.array.shape) for lesion in lesions]
            labels = [f"nodule {i}, donor {d}" for i, d in zip(group["nodule_idx"], donors, strict=True)]
            procedural = first["anatomy"] == "procedural"
            data = segmentation(
                host, masks, labels, str(first["mask_uid"]), str(first["host_scan_uid"]), person, procedural
            )
            replace_file(to / f"{name}_seg.dcm", data)
        count += 1
        progress(1)
    return count


def _nifti(settings: Settings, first: dict[str, Any], lesions: list[Lesion], path: Path) -> None:
    if first["mask_path"] is not None and (settings.output / first["mask_path"]).exists():
        replace_file(path, (settings.output / first["mask_path"]).read_bytes())  # no link: the copy may be changed
        return
    sha = first["host_map_sha256"]
    note = f"inserted nodules ({first['anatomy']} anatomy)"
    host = load_host_map(settings.output, sha)
    write_packed(path, stamp_packed(packed_host(settings.output, sha), host, lesions, note))


def whole(lesion: Lesion, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """A lesion as a mask (X, Y, Z) of the whole host."""
    mask = np.zeros(shape, bool, order="F")
    mask[lesion.box] = lesion.mask
    return mask
