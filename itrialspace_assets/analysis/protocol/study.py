"""The study file: primary endpoint, clusters, alpha; read, hashed and locked."""

import json
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import digest, replace_file
from itrialspace_assets.base.settings import Settings, read_yaml
from itrialspace_assets.base.validation import StrictModel, explain


class Endpoint(StrictModel):
    """The number that a study is decided by."""

    task: Literal["presence", "size"]
    metric: Literal["auc", "sensitivity", "specificity", "balanced_accuracy", "accuracy"]
    condition: Literal["plain", "bbox", "contour", "bbox_contour"]


class Study(StrictModel):
    """A protocol."""

    study: str = Field(pattern=r"^[a-z0-9_]{1,40}$")
    primary: Endpoint
    clusters: list[Literal["host_person_uid", "donor_person_uid"]] = Field(min_length=1, max_length=2)
    alpha: float = Field(gt=0, lt=0.5)
    min_clusters: int = Field(ge=2)
    refusals: Literal["wrong"]

    @property
    def sha256(self) -> str:
        return digest(self.model_dump(mode="json"))


def load_study(settings: Settings) -> Study:
    """The configured study, the user's folder first.

    Raises:
        ConfigError: no such study, or a wrong one; names file and key.
    """
    folders = [f for f in (settings.studies_dir, Path(__file__).parent / "studies") if f]
    path = next((f / f"{settings.study}.yaml" for f in folders if (f / f"{settings.study}.yaml").exists()), None)
    if path is None:
        known = sorted(p.stem for f in folders for p in f.glob("*.yaml"))
        raise ConfigError(f"ITRIALSPACE_STUDY={settings.study}: expected one of {', '.join(known)}")
    try:
        return Study.model_validate(read_yaml(path))
    except ValidationError as error:
        raise ConfigError(f"{path.name}: {explain(error, Study)}") from None


def _lock_path(settings: Settings, study: Study) -> Path:
    return settings.output / "splits" / f"{settings.split}.{study.study}.lock.json"


def lock_study(settings: Settings, study: Study) -> None:
    """Write down the study's hash, once for a split."""
    path = _lock_path(settings, study)
    if not path.exists():
        content = {"study": study.study, "sha256": study.sha256, "split": settings.split}
        replace_file(path, json.dumps(content, indent=1, sort_keys=True).encode())


def changed_since_lock(settings: Settings, study: Study) -> bool:
    """True if the study is no longer the one that was locked with the split."""
    try:
        return bool(json.loads(_lock_path(settings, study).read_text())["sha256"] != study.sha256)
    except FileNotFoundError:
        return True
