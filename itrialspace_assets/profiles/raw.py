"""Versions of the raw data of a root: profile tables by content, volumes by listing. No volume is read."""

from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.profiles.registry import dataset
from itrialspace_assets.records.store import file_digests


def version_of(settings: Settings, kind: str, name: str) -> str:
    """Version of a dataset's raw data.

    Args:
        settings: data root and output folder.
        kind: ``profiles`` (hash of the table), ``masks`` or ``cts`` (hash of names, sizes and times of the files).
        name: the dataset.
    """
    if kind == "profiles":
        (sha,) = file_digests(settings.output, [dataset(settings, name).profile_csv(settings.data)]).values()
        return sha or "missing"
    base = settings.data / ("raw_ct" if kind == "cts" else "masks") / name
    found = (
        sorted(
            (str(p.relative_to(base)), p.stat().st_size, p.stat().st_mtime_ns) for p in base.rglob("*") if p.is_file()
        )
        if base.is_dir()
        else []
    )
    return digest(found, 32)
