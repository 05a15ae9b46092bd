"""Tables of a user's own dataset in the data root: profile CSV, list of scans, and entry of the registry."""

from dataclasses import dataclass, fields
from typing import Any

import polars as pl
import yaml

from itrialspace_assets.base.errors import TableError
from itrialspace_assets.base.fingerprints import replace_file
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.yaml_files import load_yaml_file
from itrialspace_assets.profiles.load import write_checked
from itrialspace_assets.profiles.registry import OWN_DATASETS, Dataset
from itrialspace_assets.profiles.registry import datasets as registered
from itrialspace_assets.records.tables import PROFILE_COLUMNS
from itrialspace_assets.records.text_tables import read_csv


@dataclass(frozen=True)
class OwnColumns:
    """Columns of a profile row beyond the published ones; ``age`` in years, ``doubts``: codes of the scan's inputs."""

    patient: str | None
    annotation: str
    label: int | None
    age: str | None
    sex: str | None
    nodule_name: str
    lobe_share: float | None
    mask_source: str
    diam_definition: str
    doubts: str | None


def own_entry() -> dict[str, Any]:
    """Registry entry of an imported dataset; its user may edit it in ``datasets.yaml`` of the root."""
    return {
        "patient": "patient",
        "annotation": "annotation",
        "label": {"column": "label", "rule": "integer"},
        "label_source": "none",
        "population": "diagnostic",
        "demographics": {"age": "age", "sex": "sex"},
        "mask_source": "unknown",
        "extras": ["nodule_name"],
        "annotation_completeness": "partial",
        "licence": "not stated",
        "redistributable": False,
    }


def own_dataset(dataset: str) -> Dataset:
    """An imported dataset as its registry entry describes it at first."""
    return Dataset(name=dataset, **own_entry())


def write_tables(settings: Settings, dataset: str, rows: list[dict[str, Any]], scans: list[dict[str, Any]]) -> None:
    """Write profile CSV, scan list and registry of the root; rows of scans that were imported earlier stay.

    Args:
        settings: where the data root is.
        dataset: name of the dataset.
        rows: profiles of the scans: the published columns, and those of ``OwnColumns``.
        scans: the scans that were imported now: ``ct_id``, ``patient`` and ``series``.

    Raises:
        TableError: two nodules under one id, or a row that breaks a rule of the tables; no table is written.
    """
    entry = own_dataset(dataset)
    done = [s["ct_id"] for s in scans]
    text = pl.String()
    columns = [*(c.name for c in PROFILE_COLUMNS), *(f.name for f in fields(OwnColumns))]
    fresh = pl.DataFrame(
        [{c: None if r.get(c) is None else str(r[c]) for c in columns} for r in rows],
        schema=dict.fromkeys(columns, text),
    )
    profile, listed = entry.profile_csv(settings.data), entry.scan_list_csv(settings.data)
    if profile.exists():
        old = read_csv(profile)
        fresh = pl.concat(
            [old.filter(~pl.col("ct_path").is_in([f"{dataset}/{c}.nii.gz" for c in done])), fresh], how="diagonal"
        )
    names = pl.DataFrame(
        [{k: s[k] for k in ("ct_id", "patient", "series")} for s in scans],
        schema=dict.fromkeys(("ct_id", "patient", "series"), text),
    )
    if listed.exists():
        names = pl.concat([read_csv(listed).filter(~pl.col("ct_id").is_in(done)), names], how="diagonal")
    if (twice := fresh.filter(pl.col("annotation").is_duplicated())).height:
        raise TableError(
            f"{profile.name}: expected unique ids of nodules, got {twice['annotation'][0]} in the scans "
            f"{' and '.join(twice['ct_path'].unique().sort())}; give one of them another ct_id and import both again"
        )
    known = registered(settings).get(dataset, entry)
    write_checked(known, profile, fresh.sort("annotation"), listed, names.sort("ct_id"), settings.anatomy)
    registry = settings.data / OWN_DATASETS
    entries: dict[str, Any] = {"datasets": {}}
    if registry.exists():  # as it stands, so that its ${VAR} stay; it was checked above
        entries = load_yaml_file(registry)
    if dataset not in entries["datasets"]:
        entries["datasets"][dataset] = own_entry()
        head = "# Datasets of this root, written by `its import`; edit licence, population and labels.\n"
        replace_file(registry, (head + yaml.safe_dump(entries, sort_keys=False)).encode())
