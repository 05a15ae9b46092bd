"""What an entry of ``annotations.yaml``, or a user's own, may say of an annotation table: columns and what they mean.

Reads entries; tables are read by them in ``annotations``.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.validation import StrictModel, explain
from itrialspace_assets.base.yaml_files import read_yaml


class Centre(StrictModel):
    """Columns with a nodule's centre, and their frame and units."""

    x: str | None = None
    y: str | None = None
    pair: str | None = Field(None, description="One column that holds 'x, y' instead of two.")
    z: str
    frame: Literal["LPS", "RAS"]
    unit: Literal["mm", "pixel"] = "mm"
    z_unit: Literal["mm", "slice"] = "mm"
    base: Literal[0, 1] = Field(0, description="Number of the first pixel or slice.")
    slices_from: Literal["superior", "inferior"] = Field("inferior", description="Where slice numbers begin.")
    spacing_xy: str | None = Field(None, description="Column with the pixel size in mm.")
    spacing_z: str | None = Field(None, description="Column with the distance between slices in mm.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.pair is None) == (self.x is None or self.y is None):
            raise ValueError("give x and y, or pair")
        return self


class LabelWords(StrictModel):
    """A label in words, and the registry's column that it goes to."""

    column: str
    target: str
    words: dict[str, int | None]


class Scans(StrictModel):
    """The table of all scans: those without a nodule stay in every denominator."""

    scan: str
    patient: str | None = None
    series: str | None = None
    header: bool = True
    differ: tuple[str, str] | None = Field(
        None, description="Two columns that readers take for the same; reported where they differ."
    )


class People(StrictModel):
    """Columns of the table of scans or patients that go to each nodule: registry column -> its column."""

    key: str
    columns: dict[str, str]


class AnnotationSource(StrictModel):
    """One kind of annotation table."""

    about: str
    dataset: str
    entry: dict[str, Any] | None = Field(None, description="Registry entry of a dataset that is not registered.")
    format: Literal["csv", "xlsx"] = "csv"
    scan: str
    ct: str = Field(
        "{scan}", pattern=r"^[^{}/]*\{scan(:[^{}]*)?\}[^{}/]*$", description="Name of the CT; {scan} is filled in."
    )
    finding: str | None = Field(
        None, description="Column with the finding's number in its scan; else numbered by position."
    )
    whole_id: bool = Field(False, description="The finding's id is unique without the scan's.")
    centre: Centre
    box: tuple[str, str, str] | None = None
    diameter: str | None = None
    volume: str | None = None
    diam_definition: str = "unknown"
    stand_in_volume: float | None = Field(None, description="A volume (mm³) that stands for 'not measured'.")
    merge: tuple[str, ...] = Field(
        (), description="Columns of the rows that are one nodule: numbers by median, centres by mean."
    )
    most_readings: int | None = Field(None, description="More rows than this in one nodule are reported.")
    keep: dict[str, str] = Field(default_factory=dict, description="Column values of rows that are nodules.")
    label: LabelWords | None = None
    native: dict[str, str] = Field(default_factory=dict, description="Registry column -> column of the table.")
    absent: tuple[str, ...] = Field((), description="Registry columns that this table cannot fill; written empty.")
    zero_is_missing: tuple[str, ...] = ()
    scans: Scans | None = None
    people: People | None = None


@lru_cache(maxsize=1)
def shipped_sources() -> dict[str, AnnotationSource]:
    """Sources of the published datasets, by name."""
    return {
        name: _source(name, entry, "annotations.yaml")
        for name, entry in read_yaml(Path(__file__).with_name("annotations.yaml")).items()
    }


def find_source(name: str) -> AnnotationSource:
    """A shipped source by name, or the one of a YAML file.

    Raises:
        ConfigError: neither, or a wrong key; names it.
    """
    if name in shipped_sources():
        return shipped_sources()[name]
    if Path(name).suffix in (".yaml", ".yml"):
        tree = read_yaml(Path(name))
        if not isinstance(tree, dict) or len(tree) != 1 or not isinstance(next(iter(tree.values())), dict):
            raise ConfigError(f"{name}: expected one entry: a name, and below it the keys of a source")
        ((key, entry),) = tree.items()
        return _source(str(key), entry, name)
    raise ConfigError(f"source {name!r}: expected a YAML file or one of {', '.join(shipped_sources())}")


def _source(name: str, entry: dict[str, Any], where: str) -> AnnotationSource:
    try:
        return AnnotationSource(**entry)
    except ValidationError as error:
        raise ConfigError(f"{where}: {name}: {explain(error, AnnotationSource)}") from None
