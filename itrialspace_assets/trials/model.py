"""What a trial file may say, and reading one. A wrong key or value is refused with its path."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from itrialspace_assets.errors import ConfigError
from itrialspace_assets.settings import Settings, read_yaml

MODES: tuple[str, ...] = (
    "m01_controlled_prevalence", "m02_size_detection_curve", "m03_location_sensitivity",
    "m04_demographic_stratification", "m05_counterfactual", "m06_cross_dataset",
    "m07_bootstrap_confidence", "m08_algorithm_comparison", "m09_screening_simulation",
    "m10_multi_nodule_realism", "m11_digital_twin_isolation", "m12_digital_twin_complete",
    "m13_digital_twin_cross",
)  # fmt: skip
_FOLDER = Path(__file__).parent / "modes"
_NAME = r"^[a-z0-9_]{1,40}$"
Bucket = Literal["<5mm", "5-10mm", "10-15mm", "15-20mm", "20-30mm", ">30mm"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Prevalence(_Strict):
    """Share of findings (scans, people) that are malignant (or hold a nodule)."""

    value: float = Field(ge=0, le=1)
    of: Literal["malignant"] = "malignant"
    unit: Literal["finding"] = "finding"


class Pool(_Strict):
    """Where hosts or donors may come from."""

    datasets: list[str] | Literal["all"] = "all"


class Cohort(_Strict):
    """What every arm of the trial shares."""

    site: str | None = None
    prevalence: Prevalence | None = None
    label: Literal[0, 1] | None = None
    size_weights: dict[Bucket, float] | None = None
    hosts: Pool = Pool()
    donors: Pool = Pool()
    placement: Literal["profile", "native"] = "profile"
    lesion_free_twins: bool = True
    max_scale: float = Field(1.5, ge=1, le=3, description="Largest isotropic scale, and its inverse the smallest.")
    clearance_mm: float = Field(1.0, ge=0, le=20, description="Free lung wanted around a nodule.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.prevalence and self.label is not None:
            raise ValueError("give prevalence or label, not both")
        if self.size_weights:
            total = sum(self.size_weights.values())
            if abs(total - 1) > 0.005 or min(self.size_weights.values()) < 0:
                raise ValueError(f"size_weights: expected shares that sum to 1, got {total:.3f}")
        return self


class Arm(_Strict):
    """One level of what varies."""

    name: str = Field(pattern=_NAME)
    published: str = Field(pattern=r"^[A-Za-z0-9_.=-]{1,60}$", description="File stem in the published layout.")
    varies: str
    level: str
    size_bucket: Bucket | None = None


class Size(_Strict):
    """A column of the run-size table."""

    n_cases: int | None = Field(None, ge=0, le=1_000_000, description="Cases per arm (planner sampled).")
    max_host_uses: int | None = Field(None, ge=1)
    max_donor_uses: int | None = Field(None, ge=1)
    datasets: list[str] | Literal["all"] | None = Field(None, description="Datasets of a twin trial.")
    max_patients: int | None = Field(None, ge=1, description="People per dataset (planner twin); all if unset.")
    max_nodules_per_scan: int | None = Field(None, ge=1)


class Trial(_Strict):
    """A whole trial file."""

    mode: str
    trial: str = Field(pattern=_NAME)
    question: str
    planner: Literal["sampled", "twin"]
    cohort: Cohort
    arms: list[Arm] = Field(default_factory=list)
    arms_by: Literal["dataset"] | None = None
    contrast: str = "none"
    sizes: dict[Literal["demo", "paper"], Size]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len({a.name for a in self.arms}) != len(self.arms):
            raise ValueError("arms: expected unique names")
        if self.planner == "sampled":
            if not self.arms:
                raise ValueError("arms: a sampled trial needs at least one arm")
            if any(size.n_cases is None for size in self.sizes.values()):
                raise ValueError("sizes: a sampled trial needs n_cases in every size")
        elif self.arms or self.arms_by != "dataset" or self.cohort.placement != "native":
            raise ValueError("a twin trial has arms_by: dataset, no arms, and placement: native")
        return self


def trial_files(settings: Settings) -> dict[str, Path]:
    """Trial file by mode key: those shipped, then the user's ``x_<name>.yaml``."""
    found = {path.stem: path for path in sorted(_FOLDER.glob("m*.yaml"))}
    if settings.trials_dir:
        if not settings.trials_dir.is_dir():
            raise ConfigError(
                f"ITRIALSPACE_TRIALS_DIR={settings.trials_dir}: expected a folder of trial files, found none"
            )
        found |= {path.stem: path for path in sorted(settings.trials_dir.glob("x_*.yaml"))}
    return found


def mode_keys(settings: Settings) -> tuple[str, ...]:
    """The thirteen frozen keys, then the user's."""
    return (*MODES, *(key for key in trial_files(settings) if key.startswith("x_")))


def load_trial(settings: Settings, mode: str) -> Trial:
    """The trial of a mode.

    Raises:
        ConfigError: no such mode, no trial file for it, or a wrong file; names the key.
    """
    files = trial_files(settings)
    if mode not in files:
        expected = ", ".join(files)
        what = "has no trial file in this version" if mode in MODES else "is not a mode"
        raise ConfigError(f"mode {mode!r} {what}: expected one of {expected}")
    return read_trial(files[mode])


def read_trial(path: Path) -> Trial:
    """Read and check one trial file.

    Raises:
        ConfigError: a key or value is wrong; names the file and the path of the key.
    """
    try:
        trial = Trial.model_validate(read_yaml(path))
    except ValidationError as error:
        detail = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']} (got {str(e['input'])[:60]!r})"
            for e in error.errors()
        )
        raise ConfigError(f"{path.name}: {detail}") from None
    if trial.mode != path.stem:
        raise ConfigError(f"{path.name}: mode: expected {path.stem!r} like the file's name, got {trial.mode!r}")
    return trial
