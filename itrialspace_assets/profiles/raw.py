"""Versions of what the data root holds: profile tables by content, volumes by listing. No volume is read."""

from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.profiles.registry import dataset
from itrialspace_assets.records.store import file_digests


def version_of(settings: Settings, kind: str, name: str) -> str:
    """Version of one kind of raw data of a dataset; empty where there is none.

    Args:
        settings: where the data root lies.
        kind: ``profiles`` (by content, with the dataset's entry in the registry), ``masks`` or ``cts`` (by name, size
            and modification time).
        name: the dataset.
    """
    if kind == "profiles":
        entry = dataset(settings, name)
        tables = [entry.profile_csv(settings.data), entry.scan_list_csv(settings.data)]
        csv, scans = file_digests(settings.output, tables).values()
        if not csv:
            return ""
        return digest([csv, scans, entry.model_dump(mode="json"), settings.anatomy, settings.released], 32)
    base = settings.data / ("raw_ct" if kind == "cts" else "masks") / name
    found = (
        sorted(
            (str(p.relative_to(base)), p.stat().st_size, p.stat().st_mtime_ns) for p in base.rglob("*") if p.is_file()
        )
        if base.is_dir()
        else []
    )
    if not found:
        return ""
    names = dataset(settings, name).files.model_dump(mode="json") if kind == "masks" else {}
    return digest([found, names], 32)
