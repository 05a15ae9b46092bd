"""What a trial file may say: its keys, their values, and which of them contradict each other.

Everything that a cohort is made of is a field of ``Cohort``. A size and an arm of a trial are partial cohorts, which
``resolve`` lays over the trial's own. Reads no file and knows no dataset.
"""

from typing import Any, Literal, Self, get_args

from pydantic import Field, model_validator

from itrialspace_assets.base.validation import WrittenModel
from itrialspace_assets.imaging.anatomy import SIZE_BUCKETS, LobeName

_NAME = r"^[a-z0-9_]{1,40}$"
#: The six size buckets, and the level beyond 20 mm of some sites.
SizeLevel = Literal["<5mm", "5-10mm", "10-15mm", "15-20mm", "20-30mm", ">30mm", ">20mm"]
Marginal = Literal["size", "lobe", "sex", "age", "smoking"]
#: What the report of a trial compares (``analysis/scoring/mode_contrasts.py`` makes the tests of each).
Contrast = Literal[
    "none",
    "prevalence",
    "size_bucket",
    "lobe",
    "lobe_size",
    "stratum",
    "counterfactual",
    "donor_dataset",
    "replicate",
    "reader",
    "round",
    "companions",
    "isolation",
    "complete",
    "crossing",
    "arm",
]
#: Contrasts of files from before they were an enumeration; ``dataset`` is the kind of the twins.
_OLD_CONTRASTS: dict[str, Contrast] = {"prevalence.value": "counterfactual", "weights": "lobe_size"}
assert set(SIZE_BUCKETS) < set(get_args(SizeLevel))


def _is_unset(value: object) -> bool:
    """Whether a list is not given: it is left out then, so that trials without it keep their hash."""
    return value is None


class Prevalence(WrittenModel):
    """Share of a unit that holds what is counted: ``of: malignant`` findings, or ``of: nodule`` (the rest are clean
    cases).

    ``by_size`` gives the malignant share of each size instead of one value (``site``: the site's own).
    """

    value: float | None = Field(None, ge=0, le=1)
    by_size: dict[SizeLevel, float] | Literal["site"] | None = None
    of: Literal["malignant", "nodule"] = "malignant"
    unit: Literal["finding", "scan", "person"] = "finding"

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.value is None) == (self.by_size is None):
            raise ValueError("give value or by_size")
        if self.by_size is not None and self.of == "nodule":
            raise ValueError("by_size is a share of malignant findings")
        return self


class LogNormal(WrittenModel):
    """Diameters by a truncated log-normal law (mm); becomes shares of the six size buckets."""

    mean_log_mm: float
    std_log_mm: float = Field(gt=0)
    min_mm: float = Field(3.0, gt=0, description="Published default.")
    max_mm: float = Field(60.0, gt=0, description="Published default.")


class Hosts(WrittenModel):
    """Whose scans may receive a nodule. Age, sex and smoking are the host's."""

    datasets: list[str] | Literal["all"] = "all"
    exclude: list[str] = Field(default_factory=list)
    sex: Literal["M", "F"] | None = None
    age: tuple[float, float] | None = Field(None, description="Years, lower bound in, upper bound out.")
    smoking: list[Literal["current", "former", "never"]] | None = None
    scans: list[str] | None = Field(
        None, min_length=1, description="Only these scans, by scan_uid.", exclude_if=_is_unset
    )
    max_uses: int | None = Field(2, ge=1, description="Cases of an arm that a scan may host.")


class Donors(WrittenModel):
    """Whose nodules may be put in."""

    datasets: list[str] | Literal["all"] = "all"
    exclude: list[str] = Field(default_factory=list)
    label_source: Literal["histopathology", "radiology", "none"] | None = None
    population: Literal["screening", "diagnostic"] | None = None
    lobes: list[LobeName] | None = None
    side: Literal["left", "right"] | None = None
    zones: list[Literal["upper_zone", "middle_zone", "lower_zone"]] | None = None
    central_peripheral: Literal["central", "peripheral"] | None = None
    diameter_mm: tuple[float, float] | None = Field(None, description="Lower bound in, upper bound out.")
    pleural_mm: tuple[float, float] | None = Field(
        None, description="Distance to the pleura, lower bound in, upper out."
    )
    nodules_in_scan: Literal["any", "single", "multiple"] = "any"
    nodules: list[str] | None = Field(
        None, min_length=1, description="Only these nodules, by nodule_uid.", exclude_if=_is_unset
    )
    max_uses: int | None = Field(3, ge=1, description="Cases of an arm that a nodule may be the primary of.")
    procedural: Literal["never", "gaps", "only"] = Field(
        "never",
        description="Drawn nodules, marked procedural, without a label: for size buckets without donor, or alone.",
    )


class Placement(WrittenModel):
    """Where a nodule goes: as in its own lobe (``profile``), in a lobe that is named (``prescribed``: percentages
    between the 10th and 90th percentile of that lobe's nodules; ``randomised``: between least and greatest), or
    voxel for voxel into its own scan (``native``)."""

    mode: Literal["profile", "prescribed", "randomised", "native"] = "profile"
    lobe: LobeName | None = Field(None, description="Target lobe; the donor's own if unset.")
    rotation: Literal["none", "axial", "any"] = Field(
        "none", description="Turn each nodule by a drawn angle: about the body's long axis, or about any."
    )
    mirror: bool = Field(False, description="Mirror half of the nodules left to right, by draw.")

    @model_validator(mode="after")
    def _native_is_native(self) -> Self:
        if self.mode == "native" and (self.rotation != "none" or self.mirror):
            raise ValueError("native placement keeps the nodule as it is: no rotation, no mirror")
        return self


class Acquisition(WrittenModel):
    """How the rendered scans are taken. What a renderer cannot do it refuses."""

    mtf50_per_mm: float = Field(
        0.4, ge=0.1, le=2, description="Sharpness: spatial frequency in plane at which the MTF is one half."
    )
    dose: float = Field(
        1.0,
        ge=0.01,
        le=100,
        description="Photons relative to the standard scan: noise goes as its inverse square root.",
    )
    slice_mm: float | None = Field(
        None, gt=0, le=20, description="Slice thickness (mm); the host's slice spacing if unset."
    )


class TwinDesign(WrittenModel):
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
                "pairing crossed needs render_seeds of 2 or more: else host, donor and render noise cannot be "
                "told apart"
            )
        if self.kind == "complete" and self.keep_native:
            raise ValueError("kind complete puts every nodule of the scan back: keep_native means nothing there")
        if self.kind != "cross" and (self.pairing != "one_to_one" or self.render_seeds != 1):
            raise ValueError("pairing and render_seeds belong to kind cross")
        return self


class Cohort(WrittenModel):
    """What cases are made of. Every field can be set for the trial, a size, an arm, or one run."""

    site: str | None = Field(None, description="Site profile (sites.yaml) that weights and prevalence come from.")
    calibrate: list[Marginal] = Field(default_factory=list, description="Marginals of the site to meet by exact quota.")
    prevalence: Prevalence | None = None
    label: Literal[0, 1] | None = Field(None, description="Take malignant (1) or benign (0) donors only.")
    sizes: dict[SizeLevel, float] | LogNormal | None = Field(
        None, description="Shares of size buckets; the site's if calibrated."
    )
    lobes: dict[LobeName, float] | None = Field(None, description="Shares of target lobes.")
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
        if self.hosts.age and self.hosts.age[0] >= self.hosts.age[1]:
            raise ValueError(f"hosts.age: expected lower < upper, got {self.hosts.age}")
        for name in ("diameter_mm", "pleural_mm"):
            if (bounds := getattr(self.donors, name)) and bounds[0] >= bounds[1]:
                raise ValueError(f"donors.{name}: expected lower < upper, got {bounds}")
        if self.lobes and self.placement.lobe:
            raise ValueError("give lobes or placement.lobe, not both")
        if self.calibrate and not self.site:
            raise ValueError("calibrate needs a site")
        return self


class Arm(WrittenModel):
    """One level of what varies: a name, and the part of the cohort that it sets."""

    name: str = Field(pattern=_NAME)
    published: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,60}$", description="File stem in the published layout.")
    varies: str
    level: str
    share: float | None = Field(None, gt=0, le=1, description="Share of n_cases; the arms' shares sum to 1.")
    cohort: dict[str, Any] = Field(default_factory=dict)


class ArmsFrom(WrittenModel):
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


class Weighting(WrittenModel):
    """Weights over the cases of one arm that stand for other cohorts: no new images.

    ``resample``: n_bootstrap resamples of whole host people. ``prevalence``: the same cases at other shares of
    malignant findings.
    """

    what: Literal["resample", "prevalence"]
    arm: str
    values: list[float] = Field(default_factory=list)


class Trial(WrittenModel):
    """A whole trial file."""

    mode: str
    trial: str = Field(pattern=_NAME)
    question: str
    planner: Literal["sampled", "twin"]
    cohort: Cohort
    twin: TwinDesign | None = None
    arms: list[Arm] = Field(default_factory=list)
    arms_from: ArmsFrom | None = None
    share: list[Literal["host", "size", "lobe", "position"]] = Field(
        default_factory=list, description="What the k-th cases of all arms have in common, so that one factor changes."
    )
    independent_arms: bool = Field(
        False, description="Split people among arms, so that no two share a host or a donor person."
    )
    weightings: list[Weighting] = Field(default_factory=list)
    contrast: Contrast = Field(
        "none",
        description="What the report compares: predictive values over prevalence; a trend over size_bucket or round; "
        "each lobe, stratum, donor_dataset, companions or arm against the others; lobe_size: whether lobe and size "
        "act together; counterfactual: lesion against lesion-free twin; isolation, complete: twin against real "
        "finding; replicate: spread of redraws; reader: every two readers; crossing: host against donor. "
        "The name that the arms give in varies means arm.",
    )
    seed: int | None = Field(None, ge=0, lt=2**63, description="Root of the plan's draws; ITRIALSPACE_SEED if unset.")
    sizes: dict[Literal["demo", "paper"], dict[str, Any]]

    @model_validator(mode="before")
    @classmethod
    def _contrast_by_its_present_name(cls, given: Any) -> Any:
        """Contrasts were free text once: those of shipped files, and what a user's arms vary, keep their meaning."""
        old = given.get("contrast") if isinstance(given, dict) else None
        if not isinstance(old, str) or old in get_args(Contrast):
            return given
        if old == "dataset":
            twin = given.get("twin")
            kind = twin.get("kind") if isinstance(twin, dict) else None
            return given | {"contrast": {None: "donor_dataset", "cross": "crossing"}.get(kind, kind)}
        arms, made = given.get("arms"), given.get("arms_from")
        varied = {a.get("varies") for a in arms if isinstance(a, dict)} if isinstance(arms, list) else set()
        varied |= {made.get("vary")} if isinstance(made, dict) else set()
        return given | {"contrast": _OLD_CONTRASTS.get(old, "arm" if old in varied else old)}

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
