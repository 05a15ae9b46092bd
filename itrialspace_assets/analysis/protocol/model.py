"""What a study file may say: its keys, what each means, and which contradict each other. Reads no file.

Only the keys of the first version (study, primary, clusters, alpha, min_clusters, refusals) must be given. What is not
stated means what reports do anyway, so that a short file stays valid.
"""

import difflib
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from itrialspace_assets.analysis.protocol.names import ControlName, Negative, StudyTask, wrong_metric
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.validation import WrittenModel
from itrialspace_assets.records.layout import MODES
from itrialspace_assets.records.tables import Condition

#: Columns of slices that strata are made of.
StratumFactor = Literal["all", "size_bucket", "lobe", "dataset", "arm", "host_dataset", "donor_dataset", "label"]


class Endpoint(WrittenModel):
    """The number that a study is decided by."""

    task: StudyTask = Field(description="What readers are asked; detection: marks on whole scans.")
    metric: str = Field(description="Name of the number in the table metrics, for example auc or macro_recall.")
    condition: Condition = Field(description="Guidance on the slices.")
    estimand: str = Field(
        "",
        description="In one sentence: whose answers to which cases are summed up how, and what becomes of refusals and "
        "rejected cases.",
    )
    mode: str | None = Field(
        None, description="The trial mode that decides, or real-<dataset>; unset: one primary number a mode."
    )
    source: str | None = Field(None, description="The image source that decides; unset: one primary number a source.")
    reader: str | None = Field(None, description="The reader that decides; unset: one primary number a reader.")
    against: str | None = Field(
        None, description="Reader that the primary reader is compared with: the difference then decides."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if wrong := wrong_metric(self.task, self.metric):
            raise ValueError(f"metric: {wrong}")
        if self.task == "detection" and self.condition != "plain":
            raise ValueError("condition: expected plain for detection: scans are marked without guidance")
        if self.against is not None and self.reader is None:
            raise ValueError("against: expected reader as well: whose difference from it decides")
        if self.against is not None and self.against == self.reader:
            raise ValueError(f"against: expected another reader than {self.reader!r}")
        if self.mode is not None:
            _require_mode(self.mode)
        return self


class Secondary(WrittenModel):
    """Numbers that are planned beside the primary one: every metric under every condition in every stratum."""

    task: StudyTask = Field(description="What readers are asked.")
    metrics: list[str] = Field(min_length=1, description="Names in the table metrics.")
    conditions: list[Condition] = Field(["plain"], min_length=1, description="Guidance on the slices.")
    strata: list[StratumFactor] = Field(
        ["all"], min_length=1, description="all: over all slices; else one number for each level of this column."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for metric in self.metrics:
            if wrong := wrong_metric(self.task, metric):
                raise ValueError(f"metrics: {wrong}")
        return self


class Populations(WrittenModel):
    """Which cases and readers the study is about. Numbers of others are exploratory."""

    modes: list[str] | Literal["all"] = Field("all", description="Trial modes, by key.")
    datasets: list[str] | Literal["all"] = Field("all", description="Datasets whose real slices are read.")
    sources: list[str] | Literal["all"] = Field("all", description="Image sources: real, or names of renderers.")
    readers: list[str] | Literal["all"] = Field("all", description="Readers, by the names of readers.yaml.")

    @field_validator("modes")
    @classmethod
    def _known(cls, modes: list[str] | Literal["all"]) -> list[str] | Literal["all"]:
        for mode in () if modes == "all" else modes:
            _require_mode(mode)
        return modes


class Tests(WrittenModel):
    """Which comparisons are planned, and how chance findings among them are held down.

    A family is all comparisons of one kind on one image source in one report.
    """

    __test__ = False  # no class of tests, for pytest

    families: list[Literal["readers", "conditions"]] = Field(
        ["readers", "conditions"], description="readers: every two; conditions: each with the plain picture."
    )
    correction: Literal["holm", "max_t"] = Field(
        "holm",
        description="holm: Holm's steps; max_t: against the largest statistic of a family.",
    )


class Margin(WrittenModel):
    """The largest difference that does not matter, for claims that two numbers are equivalent."""

    value: float = Field(gt=0, description="In units of the primary metric.")
    reason: str = Field(min_length=1, description="Why a difference of this size does not matter.")


class Study(WrittenModel):
    """A study file: what is asked, of which cases and readers, and by which rules it is answered."""

    study: str = Field(pattern=r"^[a-z0-9_]{1,40}$", description="Name of the study; the file is <name>.yaml.")
    question: str = Field("", description="What the study answers, in one sentence that ends with a question mark.")
    context_of_use: str = Field(
        "", description="Who would decide what with the answer, and what it must not be used for."
    )
    model_influence: str = Field(
        "", description="How much the virtual trial weighs in that decision beside other evidence (ASME V&V 40)."
    )
    decision_consequence: str = Field("", description="What happens if that decision is wrong (ASME V&V 40).")
    primary: Endpoint = Field(description="The number that the study is decided by.")
    secondary: list[Secondary] = Field([], description="Numbers that are planned beside it; others are exploratory.")
    populations: Populations = Field(Populations(), description="Which cases and readers the study is about.")
    clusters: list[Literal["host_person_uid", "donor_person_uid"]] = Field(
        min_length=1, max_length=2, description="Which persons make answers depend on each other; both in most studies."
    )
    alpha: float = Field(gt=0, lt=0.5, description="Level of tests; intervals cover 1 - alpha.")
    min_clusters: int = Field(ge=2, description="Fewer persons than this are flagged and not tested.")
    tests: Tests = Field(Tests(), description="Planned comparisons and their correction.")
    margin: Margin | None = Field(None, description="For claims of equivalence; unset: none is made.")
    negatives: list[Negative] | Literal["all"] = Field(
        "all",
        description="Which slices without a nodule count: twin (the host without the nodule), level (another level of "
        "a real scan), clean_scan (a scan without any).",
    )
    refusals: Literal["wrong"] = Field(description="wrong: a slice without an answer counts as answered wrongly.")
    sensitivity: list[Literal["refusals_dropped"]] = Field(
        [], description="refusals_dropped: the endpoints again, without slices that got no answer."
    )
    rejected: Literal["left_out"] = Field(
        "left_out", description="left_out: a rejected case is in no number; it is counted, and never replaced."
    )
    readers_are: Literal["fixed", "random"] = Field(
        "fixed", description="fixed: about these readers; random: about readers like them (`its score mrmc`)."
    )
    controls: list[ControlName] = Field(
        [], description="What is shown or asked to see whether a reader looks at pixels."
    )
    limits: list[str] = Field([], description="What the study cannot tell, a sentence each.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("clusters", "controls", "sensitivity"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name}: expected each once, got {', '.join(values)}")
        if self.negatives == []:
            raise ValueError("negatives: expected all, or at least one of twin, level, clean_scan")
        for name, of in (("source", self.populations.sources), ("reader", self.populations.readers)):
            value = getattr(self.primary, name)
            if value is not None and of != "all" and value not in of:
                raise ValueError(f"primary.{name}: {value!r} is not in populations.{name}s ({', '.join(of)})")
        modes, mode = self.populations.modes, self.primary.mode
        if mode is not None and not mode.startswith("real-") and modes != "all" and mode not in modes:
            raise ValueError(f"primary.mode: {mode!r} is not in populations.modes ({', '.join(modes)})")
        return self

    def metrics_of(self, task: str) -> list[str]:
        """Metrics of a task that the study asks for, the primary one first, each once."""
        first = [self.primary.metric] if self.primary.task == task else []
        return list(dict.fromkeys([*first, *(m for s in self.secondary if s.task == task for m in s.metrics)]))

    @property
    def sha256(self) -> str:
        """Hash of what the file states. A value that is the default may be stated or not; comments do not count."""
        return digest(self.model_dump(mode="json", exclude_defaults=True))


def _require_mode(mode: str) -> None:
    """Refuse a misspelt mode; of a user's own only the form of its name is known here.

    Raises:
        ValueError: no such mode.
    """
    if mode not in MODES and not mode.startswith(("x_", "real-")):
        near = difflib.get_close_matches(mode, MODES, 1, 0.4)
        hint = f"; did you mean {near[0]!r}" if near else ""
        raise ValueError(f"{mode!r} is not a mode{hint}; expected one of {', '.join(MODES)}, or x_<name>")
