"""What a trial file may say, and how a file, a size, an arm and a run's overrides become one plan.

Everything that a cohort is made of is a field of ``Cohort``. A size and an arm are partial cohorts laid
over the trial's, ``--set cohort.n_cases=1000`` is one more, and the result is checked as a whole: a wrong
key or value is refused with its path and the nearest known key.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from itrialspace_assets.anatomy import LOBES, SIZE_BUCKETS
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
_LARGEST = 200_000  # bytes of a trial file
Level = Literal["<5mm", "5-10mm", "10-15mm", "15-20mm", "20-30mm", ">30mm", ">20mm"]
Lobe = Literal[
    "left_lung_upper_lobe", "left_lung_lower_lobe", "right_lung_upper_lobe", "right_lung_middle_lobe", "right_lung_lower_lobe"
]  # fmt: skip
Marginal = Literal["size", "lobe", "sex", "age", "smoking"]
assert set(Lobe.__args__) == set(LOBES) and set(SIZE_BUCKETS) < set(Level.__args__)  # type: ignore[attr-defined]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Prevalence(_Strict):
    """Share of a unit that holds what is counted: ``of: malignant`` findings, or ``of: nodule`` (the rest are clean cases).

    ``by_size`` gives the malignant share of each size instead of one value (``site``: the site's own).
    """

    value: float | None = Field(None, ge=0, le=1)
    by_size: dict[Level, float] | Literal["site"] | None = None
    of: Literal["malignant", "nodule"] = "malignant"
    unit: Literal["finding", "scan", "person"] = "finding"

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.value is None) == (self.by_size is None):
            raise ValueError("give value or by_size")
        if self.by_size is not None and self.of == "nodule":
            raise ValueError("by_size is a share of malignant findings")
        return self


class LogNormal(_Strict):
    """Diameters by a truncated log-normal law (mm); becomes shares of the six buckets."""

    mean_log_mm: float
    std_log_mm: float = Field(gt=0)
    min_mm: float = Field(3.0, gt=0, description="Published default.")
    max_mm: float = Field(60.0, gt=0, description="Published default.")


class Hosts(_Strict):
    """Whose scans may receive a nodule. Age, sex and smoking are the host's."""

    datasets: list[str] | Literal["all"] = "all"
    exclude: list[str] = Field(default_factory=list)
    sex: Literal["M", "F"] | None = None
    age: tuple[float, float] | None = Field(None, description="Years, lower bound in, upper bound out.")
    smoking: list[Literal["current", "former", "never"]] | None = None
    max_uses: int | None = Field(2, ge=1, description="Cases of an arm that a scan may host.")


class Donors(_Strict):
    """Whose nodules may be put in."""

    datasets: list[str] | Literal["all"] = "all"
    exclude: list[str] = Field(default_factory=list)
    label_source: Literal["histopathology", "radiology", "none"] | None = None
    population: Literal["screening", "diagnostic"] | None = None
    lobes: list[Lobe] | None = None
    side: Literal["left", "right"] | None = None
    zones: list[Literal["upper_zone", "middle_zone", "lower_zone"]] | None = None
    central_peripheral: Literal["central", "peripheral"] | None = None
    diameter_mm: tuple[float, float] | None = Field(None, description="Lower bound in, upper bound out.")
    pleural_mm: tuple[float, float] | None = Field(
        None, description="Distance to the pleura, lower bound in, upper out."
    )
    nodules_in_scan: Literal["any", "single", "multiple"] = "any"
    max_uses: int | None = Field(3, ge=1, description="Cases of an arm that a nodule may be the primary of.")
    procedural: Literal["never", "gaps", "only"] = Field(
        "never",
        description="Drawn nodules, marked procedural and without a label: for size buckets that no donor has, or alone.",
    )


class Placement(_Strict):
    """Where a nodule goes: as in its own lobe (``profile``), in a lobe that is named (``prescribed``: percentages
    between the 10th and 90th percentile of that lobe's nodules; ``randomised``: between least and greatest), or
    voxel for voxel into its own scan (``native``)."""

    mode: Literal["profile", "prescribed", "randomised", "native"] = "profile"
    lobe: Lobe | None = Field(None, description="Target lobe; the donor's own if unset.")
    rotation: Literal["none", "axial", "any"] = Field(
        "none", description="Turn each nodule by a drawn angle: about the body's long axis, or about any."
    )
    mirror: bool = Field(False, description="Mirror half of the nodules left to right, by draw.")

    @model_validator(mode="after")
    def _native_is_native(self) -> Self:
        if self.mode == "native" and (self.rotation != "none" or self.mirror):
            raise ValueError("native placement keeps the nodule as it is: no rotation, no mirror")
        return self


class Acquisition(_Strict):
    """How the rendered scans are taken. What a renderer cannot do it refuses."""

    mtf50_per_mm: float = Field(
        0.4, ge=0.1, le=2, description="Sharpness: spatial frequency in plane at which the MTF is one half."
    )
    dose: float = Field(1.0, ge=0.01, le=100, description="Photons relative to the standard scan: noise goes as its inverse square root.")  # fmt: skip
    slice_mm: float | None = Field(
        None, gt=0, le=20, description="Slice thickness (mm); the host's slice spacing if unset."
    )


class Twin(_Strict):
    """How a twin trial pairs donors and hosts."""

    kind: Literal["isolation", "complete", "cross"]
    pairing: Literal["one_to_one", "one_to_many_hosts", "donor_patient_complete", "crossed"] = "one_to_one"
    n_hosts_per_donor: int = Field(3, ge=1)
    placement: Literal["profile_faithful_transfer", "host_constrained_transfer"] = "profile_faithful_transfer"
    render_seeds: int = Field(1, ge=1, le=20, description="Renderings of each pair (pairing crossed: two or more).")
    keep_native: bool = Field(
        False, description="Leave the host's other nodules in (isolation, cross): more rows of the case, marked kept."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.pairing == "crossed" and self.render_seeds < 2:
            raise ValueError(
                "pairing crossed needs render_seeds of 2 or more: else host, donor and render noise cannot be told apart"
            )
        if self.kind == "complete" and self.keep_native:
            raise ValueError("kind complete puts every nodule of the scan back: keep_native means nothing there")
        if self.kind != "cross" and (self.pairing != "one_to_one" or self.render_seeds != 1):
            raise ValueError("pairing and render_seeds belong to kind cross")
        return self


class Cohort(_Strict):
    """What cases are made of. Every field can be set for the trial, a size, an arm, or one run."""

    site: str | None = Field(None, description="Site profile (sites.yaml) that weights and prevalence come from.")
    calibrate: list[Marginal] = Field(default_factory=list, description="Marginals of the site to meet by exact quota.")
    prevalence: Prevalence | None = None
    label: Literal[0, 1] | None = Field(None, description="Take malignant (1) or benign (0) donors only.")
    sizes: dict[Level, float] | LogNormal | None = Field(
        None, description="Shares of size buckets; the site's if calibrated."
    )
    lobes: dict[Lobe, float] | None = Field(None, description="Shares of target lobes.")
    hosts: Hosts = Hosts()
    donors: Donors = Donors()
    exclude_training: list[str] = Field(
        default_factory=list, description="Datasets that a model saw: neither hosts nor donors."
    )
    placement: Placement = Placement()
    attenuation: Literal["solid", "part_solid", "ground_glass"] = Field(
        "solid", description="How dense the renderer makes the case's nodules."
    )
    acquisition: Acquisition = Acquisition()
    companions: Literal["none", "all_companions", "ipsilateral", "same_lobe"] = "none"
    lesion_free_twins: bool = Field(True, description="The host without any nodule as each case's negative.")
    same_person: bool = Field(False, description="Let a person be host and donor of one case.")
    max_scale: float = Field(
        1.5, ge=1, le=3, description="Largest isotropic scale, and its inverse the smallest (published)."
    )
    clearance_mm: float = Field(1.0, ge=0, le=20, description="Free lung wanted around a nodule.")
    n_cases: int | None = Field(None, ge=0, le=1_000_000, description="Cases of each arm.")
    n_bootstrap: int | None = Field(None, ge=1, le=10_000, description="Replicates (arms_from: replicates).")
    n_rounds: int | None = Field(None, ge=1, le=20, description="Screening rounds (arms_from: rounds).")
    values: list[float] | None = Field(None, description="Values that are swept (arms_from: vary).")
    datasets: list[str] | Literal["all"] | None = Field(
        None, description="Datasets of a twin trial, or of arms_from: datasets."
    )
    max_patients: int | None = Field(None, ge=1, description="People per dataset of a twin trial; all if unset.")
    max_nodules_per_scan: int | None = Field(None, ge=1)
    max_hosts: int | None = Field(None, ge=1, description="Host scans of a crossing.")
    max_donor_nodules: int | None = Field(None, ge=1, description="Donor nodules of a crossing.")
    max_donor_patients: int | None = Field(None, ge=1, description="Donor people of a crossing.")
    min_diameter_mm: float = Field(3.0, gt=0, description="Nothing is planned below (published floor of the size law).")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.prevalence and self.prevalence.of == "malignant" and self.label is not None:
            raise ValueError("give prevalence or label, not both")
        for name in ("sizes", "lobes"):
            shares = getattr(self, name)
            if isinstance(shares, dict):
                total = sum(shares.values())
                if not shares or abs(total - 1) > 0.005 or min(shares.values()) < 0:
                    raise ValueError(f"{name}: expected shares that sum to 1, got {total:.3f}")
        if isinstance(self.sizes, dict) and ">20mm" in self.sizes and {"20-30mm", ">30mm"} & set(self.sizes):
            raise ValueError("sizes: >20mm holds 20-30mm and >30mm; give it or those two")
        for name in ("age",):
            if (bounds := getattr(self.hosts, name)) and bounds[0] >= bounds[1]:
                raise ValueError(f"hosts.{name}: expected lower < upper, got {bounds}")
        for name in ("diameter_mm", "pleural_mm"):
            if (bounds := getattr(self.donors, name)) and bounds[0] >= bounds[1]:
                raise ValueError(f"donors.{name}: expected lower < upper, got {bounds}")
        if self.lobes and self.placement.lobe:
            raise ValueError("give lobes or placement.lobe, not both")
        if self.calibrate and not self.site:
            raise ValueError("calibrate needs a site")
        return self


class Arm(_Strict):
    """One level of what varies: a name, and the part of the cohort that it sets."""

    name: str = Field(pattern=_NAME)
    published: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,60}$", description="File stem in the published layout.")
    varies: str
    level: str
    share: float | None = Field(None, gt=0, le=1, description="Share of n_cases; the arms' shares sum to 1.")
    cohort: dict[str, Any] = Field(default_factory=dict)


class ArmsFrom(_Strict):
    """Arms that are made rather than listed.

    ``replicates``: n_bootstrap redraws of the cohort. ``rounds``: n_rounds screening rounds of the same people,
    prevalence times ``decay`` each round. ``vary``: one arm for each of ``values`` of a cohort field.
    ``datasets``: one arm a donor dataset. ``hosts``: one a host dataset (twins). ``crossings``: one for each host
    and donor dataset (twins).
    """

    what: Literal["replicates", "rounds", "vary", "datasets", "hosts", "crossings"]
    published: str = Field("{trial}", description="File stem; {trial}, {level} and {number} are filled in.")
    vary: str | None = Field(None, description="Path below cohort that takes each value.")
    decay: float = Field(1.0, gt=0, le=1)
    leave_after_cancer: bool = Field(False, description="People with a malignant finding leave after their round.")
    donor_datasets: list[str] | Literal["all"] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.what == "vary") != (self.vary is not None):
            raise ValueError("vary names a path exactly when what is vary")
        return self


class Weighting(_Strict):
    """Weights over the cases of one arm that stand for other cohorts: no new images.

    ``resample``: n_bootstrap resamples of whole host people. ``prevalence``: the same cases at other shares of
    malignant findings.
    """

    what: Literal["resample", "prevalence"]
    arm: str
    values: list[float] = Field(default_factory=list)


class Trial(_Strict):
    """A whole trial file."""

    mode: str
    trial: str = Field(pattern=_NAME)
    question: str
    planner: Literal["sampled", "twin"]
    cohort: Cohort
    twin: Twin | None = None
    arms: list[Arm] = Field(default_factory=list)
    arms_from: ArmsFrom | None = None
    share: list[Literal["host", "size", "lobe", "position"]] = Field(
        default_factory=list, description="What the k-th cases of all arms have in common, so that one factor changes."
    )
    independent_arms: bool = Field(
        False, description="Split people among arms, so that no two share a host or a donor person."
    )
    weightings: list[Weighting] = Field(default_factory=list)
    contrast: str = "none"
    seed: int | None = Field(None, ge=0, lt=2**63, description="Root of the plan's draws; ITRIALSPACE_SEED if unset.")
    sizes: dict[Literal["demo", "paper"], dict[str, Any]]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len({a.name for a in self.arms}) != len(self.arms):
            raise ValueError("arms: expected unique names")
        if bool(self.arms) == bool(self.arms_from):
            raise ValueError("give arms or arms_from")
        if (self.planner == "twin") != (self.twin is not None):
            raise ValueError("twin belongs to planner twin")
        shares = [a.share for a in self.arms]
        if any(shares) and (None in shares or abs(sum(filter(None, shares)) - 1) > 1e-6):
            raise ValueError("arms: give every arm a share, summing to 1, or none")
        made = {"hosts", "crossings"} if self.planner == "twin" else {"replicates", "rounds", "vary", "datasets"}
        if self.arms_from and self.arms_from.what not in made:
            raise ValueError(f"arms_from: planner {self.planner} makes arms from {', '.join(sorted(made))}")
        if self.share and self.independent_arms:
            raise ValueError("arms that share hosts cannot be independent")
        return self


@dataclass(frozen=True)
class PlannedArm:
    """An arm as it will be planned: its cohort with size, arm and overrides laid over."""

    name: str
    published: str
    folder: str
    varies: str
    level: str
    cohort: Cohort
    number: int  # 0-based place among the arms
    cases: int | None = None  # sampled: how many cases
    host_dataset: str | None = None  # twins
    donor_dataset: str | None = None


@dataclass(frozen=True)
class Resolved:
    """A trial at one size with a run's overrides: what is planned, and nothing else is read."""

    trial: Trial
    size: str
    overrides: tuple[str, ...]
    cohort: Cohort
    arms: tuple[PlannedArm, ...]


#: Keys of which a mapping holds one.
_EITHER = (frozenset({"value", "by_size"}),)


def lay_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping with another laid over it, key by key; shares of a distribution are replaced whole.

    Of two ways to say the same (a prevalence as one value or by size) the upper one replaces the other.
    """
    out = {k: v for k, v in below.items() if not any(k in pair and pair - {k} & above.keys() for pair in _EITHER)}
    for key, value in above.items():
        deep = isinstance(value, Mapping) and isinstance(out.get(key), Mapping) and key not in ("sizes", "lobes")
        out[key] = lay_over(out[key], value) if deep else value
    return out


def read_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """``cohort.n_cases=1000`` and the like as a partial cohort; values are YAML.

    Raises:
        ConfigError: no ``path=value``, or a path outside ``cohort``.
    """
    out: dict[str, Any] = {}
    for text in texts:
        path, mark, value = text.partition("=")
        keys = path.strip().split(".")
        if not mark or keys[0] != "cohort" or len(keys) < 2:
            raise ConfigError(f"--set {text!r}: expected cohort.<field>=<value>, for example cohort.n_cases=1000")
        try:
            found = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {text!r}: expected a YAML value, got {error}") from None
        at: dict[str, Any] = {keys[-1]: found}
        for key in reversed(keys[1:-1]):
            at = {key: at}
        out = lay_over(out, at)
    return out


def resolve(trial: Trial, size: str, overrides: Sequence[str] = (), known: Sequence[str] = ()) -> Resolved:
    """The plan of a trial at a size.

    Args:
        trial: the trial file.
        size: ``demo`` or ``paper``.
        overrides: ``cohort.<field>=<value>`` of this run.
        known: registered datasets, which ``all`` stands for in arms.

    Raises:
        ConfigError: the size is not in the file, or a combination is wrong; names the path.
    """
    if size not in trial.sizes:
        raise ConfigError(f"{trial.trial}: size {size!r}: expected one of {', '.join(trial.sizes)}")
    base = trial.cohort.model_dump(exclude_unset=True)
    base = lay_over(base, trial.sizes[size])
    late = read_overrides(overrides)
    whole = _cohort(trial, lay_over(base, late), f"sizes.{size}")
    arms = tuple(_listed(trial, base, late, whole) if trial.arms else _made(trial, base, late, whole, known))
    if len({a.name for a in arms}) != len(arms):
        raise ConfigError(f"{trial.trial}: arms: expected unique names, got {', '.join(a.name for a in arms)}")
    for arm in arms:
        if trial.planner == "sampled" and arm.cases is None:
            raise ConfigError(f"{trial.trial}: sizes.{size}.n_cases: a sampled trial needs it")
    return Resolved(trial, size, tuple(overrides), whole, arms)


def _cohort(trial: Trial, content: Mapping[str, Any], where: str) -> Cohort:
    try:
        return Cohort.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{trial.trial}: {where}: {_explain(error, Cohort)}") from None


def _listed(trial: Trial, base: dict[str, Any], late: dict[str, Any], whole: Cohort) -> Iterable[PlannedArm]:
    counts = _shared_out([a.share for a in trial.arms], whole.n_cases) if trial.arms[0].share else None
    for number, arm in enumerate(trial.arms):
        cohort = _cohort(trial, lay_over(lay_over(base, arm.cohort), late), f"arms.{number}.cohort")
        cases = counts[number] if counts else cohort.n_cases
        yield PlannedArm(arm.name, arm.published, "", arm.varies, arm.level, cohort, number, cases)


def _shared_out(shares: Sequence[float | None], total: int | None) -> list[int]:
    from itrialspace_assets.trials.quotas import quota_sequence

    sequence = quota_sequence([s or 0.0 for s in shares], total or 0)
    return [int((sequence == i).sum()) for i in range(len(shares))]


def _made(
    trial: Trial, base: dict[str, Any], late: dict[str, Any], whole: Cohort, known: Sequence[str]
) -> Iterable[PlannedArm]:
    how = trial.arms_from
    assert how is not None

    def arm(number: int, name: str, varies: str, level: str, change: dict[str, Any], **more: Any) -> PlannedArm:
        cohort = _cohort(trial, lay_over(lay_over(base, change), late), f"arms_from ({level})")
        published = how.published.format(trial=trial.trial, level=level, number=number)
        return PlannedArm(
            name, published, more.pop("folder", ""), varies, level, cohort, number, cohort.n_cases, **more
        )

    def needed(field: str) -> Any:
        if (value := getattr(whole, field)) is None:
            raise ConfigError(f"{trial.trial}: arms_from {how.what}: expected {field} in the cohort or the size")
        return value

    def listed(given: list[str] | str | None) -> list[str]:
        return list(known) if given in (None, "all") else list(given or [])

    if how.what == "replicates":
        for i in range(needed("n_bootstrap")):
            yield arm(i, f"boot{i:03d}", "replicate", f"{i:03d}", {})
    elif how.what == "rounds":
        first = whole.prevalence
        if first is None or first.value is None:
            raise ConfigError(f"{trial.trial}: arms_from rounds: expected prevalence.value in the cohort")
        for i in range(needed("n_rounds")):
            value = round(first.value * how.decay**i, 10)
            yield arm(i, f"round{i + 1}", "round", str(i + 1), {"prevalence": {"value": value}})
    elif how.what == "vary":
        for i, value in enumerate(needed("values")):
            change: dict[str, Any] = {}
            for key in reversed(str(how.vary).split(".")):
                change = {key: change or value}
            name = "v" + f"{value:g}".replace(".", "_").replace("-", "m")
            yield arm(i, name, str(how.vary), f"{value:g}", change)
    elif how.what == "datasets":
        for i, name in enumerate(listed(needed("datasets"))):
            yield arm(i, name.lower(), "donor_dataset", name, {"donors": {"datasets": [name]}})
    elif how.what == "hosts":
        for i, name in enumerate(listed(needed("datasets"))):
            yield arm(i, name.lower(), "dataset", name, {}, folder=f"{name}/", host_dataset=name, donor_dataset=name)
    else:
        number = 0
        for host in listed(whole.hosts.datasets):
            for donor in listed(whole.donors.datasets):
                if host == donor:
                    continue
                level = f"{host}_x_{donor}"
                yield arm(
                    number,
                    level.lower(),
                    "crossing",
                    level,
                    {},
                    folder=f"{level}/",
                    host_dataset=host,
                    donor_dataset=donor,
                )
                number += 1


def _explain(error: ValidationError, model: type[BaseModel]) -> str:
    """What is wrong with a file, by path; an unknown key gets the nearest known one."""
    return "; ".join(_one(e, model) for e in error.errors())


def _one(error: Any, model: type[BaseModel]) -> str:
    path = [str(p) for p in error["loc"]]
    where = (
        ".".join(p for p in path if not p.startswith(("dict[", "list[", "literal[", "LogNormal", "tuple["))) or "file"
    )
    if error["type"] == "extra_forbidden":
        known = _fields_at(model, path[:-1])
        near = difflib.get_close_matches(path[-1], known, 1, 0.5)
        return f"{where}: unknown key{f'; did you mean {near[0]!r}' if near else ''}; expected one of {', '.join(sorted(known))}"
    return f"{where}: {error['msg'].removeprefix('Value error, ')} (got {str(error['input'])[:60]!r})"


def _fields_at(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    at: Any = model
    for key in path:
        field = getattr(at, "model_fields", {}).get(key)
        if field is None:
            continue  # a list index, or a branch of a union
        options = [field.annotation, *getattr(field.annotation, "__args__", ())]
        inner = [
            o
            for o in options
            for o in (o, *getattr(o, "__args__", ()))
            if isinstance(o, type) and issubclass(o, BaseModel)
        ]
        at = inner[0] if inner else at
    return list(getattr(at, "model_fields", {}))


def trial_files(settings: Settings) -> dict[str, Path]:
    """Trial file by mode key: the thirteen, then those shipped beside them, then the user's ``x_<name>.yaml``.

    Raises:
        ConfigError: the user's folder is not there, or one of its files has the name of a shipped one.
    """
    found = {path.stem: path for path in sorted(_FOLDER.glob("m*.yaml"))}
    found |= {path.stem: path for path in sorted(_FOLDER.glob("x_*.yaml"))}
    if settings.trials_dir:
        if not settings.trials_dir.is_dir():
            raise ConfigError(
                f"ITRIALSPACE_TRIALS_DIR={settings.trials_dir}: expected a folder of trial files, found none"
            )
        own = {path.stem: path for path in sorted(settings.trials_dir.glob("x_*.yaml"))}
        if twice := sorted(set(own) & set(found)):
            raise ConfigError(f"{own[twice[0]]}: the name {twice[0]} is that of a shipped trial; choose another")
        found |= own
    return found


def mode_keys(settings: Settings) -> tuple[str, ...]:
    """The thirteen frozen keys, then the others in the order of ``trial_files``."""
    return (*MODES, *(key for key in trial_files(settings) if key.startswith("x_")))


def load_trial(settings: Settings, mode: str) -> Trial:
    """The trial of a mode.

    Raises:
        ConfigError: no such mode, or a wrong file; names the key.
    """
    files = trial_files(settings)
    if mode not in files:
        near = difflib.get_close_matches(mode, list(files), 1, 0.4)
        hint = f"; did you mean {near[0]!r}" if near else ""
        raise ConfigError(f"mode {mode!r} is not a mode: expected one of {', '.join(files)}{hint}")
    trial = read_trial(files[mode])
    names: dict[str, str] = {}
    for key, path in files.items():
        name = trial.trial if key == mode else _name_in(path)
        if name == trial.trial and key != mode:
            raise ConfigError(
                f"{files[mode].name}: trial: the name {name!r} is also that of {path.name}; names tell cases apart"
            )
        names[name] = key
    return trial


def _name_in(path: Path) -> str:
    """The trial's name in a file, without judging the rest of it."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("trial:"):
            return line.partition(":")[2].strip().strip("'\"")
    return ""


def read_trial(path: Path) -> Trial:
    """Read and check one trial file; both sizes must resolve.

    Raises:
        ConfigError: a key or value is wrong; names the file and the path of the key.
    """
    if path.exists() and path.stat().st_size > _LARGEST:
        raise ConfigError(f"{path.name}: expected a trial file below {_LARGEST} bytes, got {path.stat().st_size}")
    _refuse_aliases(path)
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise ConfigError(f"{path.name}: expected the keys of a trial, got {type(tree).__name__}")
    try:
        trial = Trial.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{path.name}: {_explain(error, Trial)}") from None
    if trial.mode != path.stem:
        raise ConfigError(f"{path.name}: mode: expected {path.stem!r} like the file's name, got {trial.mode!r}")
    for size in trial.sizes:
        try:
            resolve(trial, size, (), ("A", "B"))
        except ConfigError as error:
            raise ConfigError(f"{path.name}: {str(error).removeprefix(f'{trial.trial}: ')}") from None
    return trial


def _refuse_aliases(path: Path) -> None:
    """A trial file needs no YAML anchors or tags; with them a small file can stand for a huge one, or for code."""
    try:
        for token in yaml.scan(path.read_text(encoding="utf-8")):
            if isinstance(token, yaml.AliasToken | yaml.AnchorToken | yaml.TagToken):
                what = {"AliasToken": "alias", "AnchorToken": "anchor", "TagToken": "tag"}[type(token).__name__]
                raise ConfigError(
                    f"{path.name}: line {token.start_mark.line + 1}: a YAML {what} is not allowed in a trial file"
                )
    except FileNotFoundError:
        raise ConfigError(f"{path}: expected a trial file, found none") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name}: expected YAML, got {error}") from None


def json_schema() -> dict[str, Any]:
    """JSON Schema of a trial file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Trial.model_json_schema()}
