"""Refuses, before an import begins, files and scans under whose names data would be lost or mixed up."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from itrialspace_assets.base.errors import CaseRejected, ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.imaging.geometry import read_volume
from itrialspace_assets.intake.case import ImportCase
from itrialspace_assets.profiles.registry import Dataset
from itrialspace_assets.records.text_tables import read_csv


def is_hidden(path: Path) -> bool:
    """Whether a file is one that programs leave behind: ``.DS_Store``, or ``._x`` of a Mac beside every ``x``."""
    return path.name.startswith(".")


def hidden_files(paths: Sequence[Path]) -> list[Path]:
    """The hidden files of some folders; an import leaves them out."""
    return [
        file for path in dict.fromkeys(paths) if path.is_dir() for file in sorted(path.iterdir()) if is_hidden(file)
    ]


def require_unicode_names(paths: Sequence[Path]) -> None:
    """Refuse names that are not UTF-8, those of a folder's files among them: no table could hold them.

    Raises:
        ConfigError: such a name; shows its bytes.
    """
    for path in dict.fromkeys(paths):
        for file in (path, *(sorted(path.iterdir()) if path.is_dir() else ())):
            try:
                str(file).encode()
            except UnicodeEncodeError:
                folder = os.fsencode(file.parent).decode("utf-8", "backslashreplace")
                raise ConfigError(
                    f"{folder}: expected file names in UTF-8, got {os.fsencode(file.name)!r} (an old CD or ZIP?); "
                    "rename it, or the whole folder with `convmv -f latin1 -t utf8 --notest -r FOLDER`"
                ) from None


def refuse_other_scans(cases: Sequence[ImportCase], settings: Settings, entry: Dataset) -> None:
    """Refuse scans that would replace another one of the dataset under the same id.

    The same scan is one with the same series (DICOM), or the same voxels and place (NIfTI).

    Args:
        cases: what is to be imported.
        settings: where the data root is.
        entry: the dataset.

    Raises:
        ConfigError: another scan has the id already; names both.
    """
    listed = entry.scan_list_csv(settings.data)
    if not listed.exists():
        return
    known = {row["ct_id"]: row for row in read_csv(listed).iter_rows(named=True)}
    for case in cases:
        here = settings.data / f"raw_ct/{entry.name}/{case.ct_id}.nii.gz"
        if case.ct_id in known and here.exists() and (other := _another(case, here, known[case.ct_id])):
            raise ConfigError(
                f"ct_id {case.ct_id!r}: {entry.name} holds another scan under this id ({other[0]}), got {case.ct} "
                f"({other[1]}). Give the new scan an id of its own (--ct-id, or the column ct_id of the list), or "
                "replace the old one with --replace"
            )


def refuse_same_series(cases: Sequence[ImportCase], settings: Settings, entry: Dataset) -> None:
    """Refuse a DICOM series under a second id: each of its nodules would be in the dataset twice.

    Args:
        cases: what is to be imported.
        settings: where the data root is.
        entry: the dataset.

    Raises:
        ConfigError: two scans, or a scan and one imported earlier, hold one series; names both.
    """
    listed = entry.scan_list_csv(settings.data)
    rows = read_csv(listed).iter_rows(named=True) if listed.exists() else ()
    holder = {str(row["series"]): str(row["ct_id"]) for row in rows if row.get("series")}
    for case in cases:
        series = "" if case.ct.name.endswith((".nii", ".nii.gz")) else _series_of(case.ct)[0]
        if series and (other := holder.setdefault(series, case.ct_id)) != case.ct_id:
            raise ConfigError(
                f"{case.ct}: expected each series once in {entry.name}, got {series} under the ids {other!r} and "
                f"{case.ct_id!r}; import it once, or into another dataset"
            )


def _another(case: ImportCase, here: Path, known: dict[str, str | None]) -> tuple[str, str] | None:
    """What tells a scan from the one that has its id: of the old one, and of the new; None if they are the same."""
    if case.ct.name.endswith((".nii", ".nii.gz")):
        try:
            old, new = read_volume(here), read_volume(case.ct, case.allowed.trust)
        except CaseRejected:
            return None  # the import itself says what is wrong
        if old.array.shape != new.array.shape:
            return f"{old.array.shape} voxels", f"{new.array.shape} voxels"
        if not np.allclose(old.affine, new.affine, atol=1e-3):
            return "another place or voxel size", "the same number of voxels"
        return None if np.array_equal(old.array, np.rint(new.array)) else ("other voxel values", "the same grid")
    series, patient = _series_of(case.ct)
    if series in ("", known.get("series")):
        return None
    return (
        f"patient {known.get('patient') or 'not stated'}, series {known.get('series') or 'not stated'}",
        f"patient {case.patient or patient or 'not stated'}, series {series}",
    )


def _series_of(path: Path) -> tuple[str, str]:
    """Series UID and patient id of a DICOM file, or of the first CT slice in a folder; empty if there is none."""
    import pydicom

    wanted = ["Modality", "SeriesInstanceUID", "PatientID"]
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=wanted)
        except Exception:  # damaged bytes raise what they like; the import itself names the file
            continue
        if header.get("Modality") == "CT":
            return str(header.get("SeriesInstanceUID", "")).strip(), str(header.get("PatientID", "")).strip()
    return "", ""
