"""The registered datasets and the names of their columns and files, read from ``datasets.yaml``.

Nothing here opens a table or a volume.
"""

import os
import re
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import StrictModel, explain
from itrialspace_assets.base.yaml_files import read_yaml
from itrialspace_assets.records.layout import PROCEDURAL

#: Registry of a data root, if it has one; entries of ITRIALSPACE_DATASETS_CONFIG override it.
OWN_DATASETS = "datasets.yaml"
#: A dataset's name, as a regular expression; it is also a folder's name.
NAME = r"^[A-Za-z0-9_]{1,40}$"
REFUSED = ("NLST3D",)  # withdrawn from the published release (docs/facts/published-release.md#volumes-and-profiles)
RESERVED = (PROCEDURAL,)  # the dataset of drawn donors
#: Licences that say nothing: such a dataset is never passed on.
_NO_LICENCE = ("", "not stated", "unknown", "see source")
#: Keys of the original's registry: where the table is, and what its programs keep in mind about it.
_STATED = ("csv_path", "path")
_ORIGINALS = (
    *_STATED,
    "has_label",
    "all_malignant",
    "all_unlabelled",
    "label_is_soft",
    "label_threshold",
    "lobe_ml_pct_unreliable",
    "lobe_ap_pct_unreliable",
    "lobe_cc_pct_unreliable",
    "notes",
)


class LabelRule(StrictModel):
    """How a native label column becomes 1 (malignant), 0 (benign) or null.

    ``indeterminate`` (low, high, both included) leaves a soft label unlabelled.
    """

    rule: Literal["integer", "at_least", "always", "words"]
    column: str | None = None
    threshold: float | None = None
    indeterminate: tuple[float, float] | None = None
    value: int | None = None
    words: dict[str, int] = Field(default_factory=dict)


class Demographics(StrictModel):
    """Columns with age (years), sex and smoking status."""

    age: str | None = None
    sex: str | None = None
    smoking: str | None = None


class Files(StrictModel):
    """File names below ``masks/<dataset>/``."""

    organ: str = "{ct_id}_seg.nii.gz"
    nodule: str = "{annotation_id}.nii.gz"
    combined: str = "{ct_id}_mask.nii.gz"


class Defect(StrictModel):
    """A known defect of a published table: the rule that finds it, and the share of rows that break it."""

    rule: str
    share: float | None = Field(None, ge=0, le=1, description="Published share of rows; null where none is.")
    note: str


class Dataset(StrictModel):
    """One dataset: id columns, label rule, demographics, file names, known defects."""

    name: str = Field(pattern=NAME)
    patient: str | None
    scan_person: str | None = None
    aliases: str | None = Field(None, description="Table that joins scan_person (or patient) to a person.")
    annotation: str | None
    published_annotation: str | None = Field(
        None, description="How the original names a finding of a table without ids: {ct_id}, and {row} from 0."
    )
    lesion: str | None = Field(None, description="Column that joins one lesion's findings over scans.")
    label: LabelRule | None
    label_source: Literal["histopathology", "radiology", "none"]
    population: Literal["screening", "diagnostic"]
    demographics: Demographics = Demographics()
    mask_source: Literal["manual", "consensus", "gtv", "grown", "procedural", "unknown"] = "unknown"
    diam_definition: str = "volume_equivalent_sphere"
    files: Files = Files()
    extras: tuple[str, ...] = Field((), description="Native columns beyond the 53 that the publisher names.")
    defects: tuple[Defect, ...] = ()
    annotation_completeness: Literal["complete", "partial"]
    licence: str
    licence_source: str = Field("not stated", description="Where the terms are stated.")
    citation: str = "not stated"
    redistributable: bool = Field(False, description="Whether its terms let others pass it on.")
    release_rows: int | None = None

    @model_validator(mode="after")
    def _known_terms(self) -> Self:
        if self.redistributable and self.licence.strip().lower() in _NO_LICENCE:
            raise ValueError(f"redistributable: expected a licence that is known, got {self.licence!r}")
        return self

    def canonical_annotation(self, annotation_id: str) -> str:
        """A finding's id as the index has it, from that or from the original's form (``published_annotation``)."""
        if self.published_annotation is None:
            return annotation_id
        pattern = re.escape(self.published_annotation)
        pattern = pattern.replace(re.escape("{ct_id}"), "(.+)").replace(re.escape("{row}"), r"\d+")
        found = re.fullmatch(pattern, annotation_id)
        return found[1] if found else annotation_id

    def profile_csv(self, data: Path) -> Path:
        """The published table of nodules below a data root."""
        return data / "profiles" / f"{self.name}_nodule_profiles.csv"

    def scan_list_csv(self, data: Path) -> Path:
        """Optional table of every scan (``ct_id``, ``patient``), those without a nodule too."""
        return data / "profiles" / f"{self.name}_scans.csv"

    def organ_map(self, data: Path, ct_id: str) -> Path:
        """Label map of a scan: organs, and nodules as label 23."""
        return data / "masks" / self.name / "refined_seg" / self.files.organ.format(ct_id=ct_id)

    def nodule_mask(self, data: Path, ct_id: str, annotation_id: str) -> Path:
        """Mask of one nodule.

        Args:
            data: the data root.
            ct_id: id of the scan.
            annotation_id: id of the nodule in its dataset.
        """
        name = self.files.nodule.format(ct_id=ct_id, annotation_id=annotation_id)
        return data / "masks" / self.name / "nodule_seg" / name

    def combined_mask(self, data: Path, ct_id: str) -> Path:
        """Mask of all nodules of a scan."""
        return data / "masks" / self.name / "combined_seg" / self.files.combined.format(ct_id=ct_id)


def shipped() -> tuple[str, ...]:
    """Names of the datasets that the platform ships."""
    return tuple(read_yaml(Path(__file__).with_name("datasets.yaml"))["datasets"])


def check_name(name: str, *, own: bool = False) -> None:
    """Refuse a dataset name before any work.

    Args:
        name: name that a user gives a dataset.
        own: the name of a shipped dataset is refused too.

    Raises:
        ConfigError: a withdrawn dataset, a name that cannot be a folder's, or a shipped one.
    """
    if name in REFUSED:
        raise ConfigError(f"dataset {name} was withdrawn by its publishers and is refused")
    if not re.fullmatch(NAME, name):
        raise ConfigError(f"dataset {name!r}: expected letters, digits and _ (at most 40)")
    if name in RESERVED:
        raise ConfigError(f"dataset {name}: the name is reserved for drawn donors; choose another")
    if own and name in shipped():
        raise ConfigError(f"dataset {name}: is shipped with its own columns; choose another name for your scans")


def _entry(config: Path, data: Path, name: str, given: Any, shipped: Collection[str]) -> dict[str, Any]:
    """An entry of a registry as fields of ``Dataset``.

    The original's form is a path of the profile table, or a mapping with it
    (docs/facts/datasets.md#the-originals-registry). It adds nothing to the shipped entry, and its path must be where
    the table is looked for.

    Args:
        config: the registry's file.
        data: the data root.
        name: of the dataset.
        given: the entry as the file has it.
        shipped: names of the shipped datasets.

    Raises:
        ConfigError: an entry of the original's form for a dataset that is not shipped, or of a table elsewhere.
    """
    entry = {"csv_path": given} if isinstance(given, str) else dict(given or {})
    stated = [str(entry[key]) for key in _STATED if entry.get(key)]
    if not stated:
        return entry
    wanted = Path("profiles") / f"{name}_nodule_profiles.csv"
    if name not in shipped:
        raise ConfigError(
            f"{config}: datasets.{name}: expected the columns of its table too (`its import --dataset {name}` writes "
            f"them), got only its path {stated[0]}"
        )
    for path in stated:
        if Path(os.path.normpath(data / path)) != data / wanted:
            raise ConfigError(
                f"{config}: datasets.{name}: expected its table at {data / wanted}, got {path}; copy or link it there"
            )
    return {key: value for key, value in entry.items() if key not in _ORIGINALS}


@lru_cache(maxsize=8)
def _datasets(configs: tuple[tuple[Path, int], ...], data: Path) -> dict[str, Dataset]:
    entries = dict(read_yaml(Path(__file__).with_name("datasets.yaml"))["datasets"])
    where = dict.fromkeys(entries, "datasets.yaml")
    known = tuple(entries)
    for config, _ in configs:
        own = read_yaml(config, os.environ | {"ITRIALSPACE_DATA_DIR": str(data)})
        if not isinstance(own, dict) or not isinstance(own.get("datasets"), dict):
            raise ConfigError(f"{config}: expected a mapping with the key 'datasets', got {type(own).__name__}")
        for name, entry in own["datasets"].items():
            entries[name] = {**entries.get(name, {}), **_entry(config, data, name, entry, known)}
            where[name] = str(config)
    found: dict[str, Dataset] = {}
    for name, entry in entries.items():
        if name in REFUSED:
            raise ConfigError(f"{where[name]}: dataset {name} was withdrawn by its publishers and is refused")
        if name in RESERVED:
            raise ConfigError(f"{where[name]}: dataset {name}: the name is reserved for drawn donors; choose another")
        try:
            found[name] = Dataset(name=name, **entry)
        except (ValidationError, TypeError) as error:
            detail = explain(error, Dataset) if isinstance(error, ValidationError) else str(error)
            raise ConfigError(f"{where[name]}: datasets.{name}: {detail}") from None
    return found


def datasets(settings: Settings) -> dict[str, Dataset]:
    """All registered datasets by name, the seven published ones first.

    Raises:
        ConfigError: an entry is wrong; names file, key and what is allowed.
    """
    own = settings.data / OWN_DATASETS
    configs = [p for p in (own if own.exists() else None, settings.datasets_config) if p is not None]
    return _datasets(tuple((p, p.stat().st_mtime_ns if p.exists() else 0) for p in configs), settings.data)


def dataset(settings: Settings, name: str) -> Dataset:
    """One dataset.

    Raises:
        ConfigError: it is not registered; lists those that are.
    """
    known = datasets(settings)
    if name not in known:
        raise ConfigError(f"dataset {name!r}: expected one of {', '.join(known)}")
    return known[name]
