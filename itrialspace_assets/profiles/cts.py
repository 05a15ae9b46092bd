"""The real CT of a scan: a NIfTI file under ``raw_ct``, or in its place a folder with the DICOM slices of its series.

``ct_path`` of a profile names the file; the folder has the same name without ``.nii.gz``.
"""

from functools import lru_cache
from pathlib import Path

from itrialspace_assets.base.fingerprints import FileHashes, digest
from itrialspace_assets.imaging.geometry import Volume, read_volume
from itrialspace_assets.profiles.dicom.series import read_ct_series


def ct_source(data: Path, ct_path: str) -> Path:
    """The CT file, or the folder of its DICOM slices if there is no such file."""
    file = data / "raw_ct" / ct_path
    folder = file.with_name(file.name.removesuffix(".gz").removesuffix(".nii"))
    return folder if not file.is_file() and folder.is_dir() else file


def ct_hash(hashes: FileHashes, data: Path, ct_path: str) -> str | None:
    """Hash of the file, or of the names and contents of a folder; None where there is neither.

    Args:
        hashes: cache of file hashes.
        data: the data root.
        ct_path: CT of a profile, relative to ``raw_ct/``.
    """
    source = ct_source(data, ct_path)
    if not source.is_dir():
        return hashes.get(source)
    return digest([[p.name, hashes.get(p)] for p in sorted(source.iterdir()) if p.is_file()])


def real_ct(data: Path, ct_path: str) -> Volume:
    """HU of a real scan (X, Y, Z) in canonical RAS+; the last two scans are cached until their files change.

    Raises:
        CaseRejected: missing, damaged, a series with a gap, or oblique; names the file or folder.
    """
    source = ct_source(data, ct_path)
    files = sorted(source.iterdir()) if source.is_dir() else [source] if source.exists() else []
    return _read(source, tuple((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files))


@lru_cache(maxsize=2)
def _read(source: Path, state: tuple[tuple[str, int, int], ...]) -> Volume:
    return read_ct_series(source)[0] if source.is_dir() else read_volume(source)
