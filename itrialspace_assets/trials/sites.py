"""Site profiles: the people and nodules of a screening trial, each value with the ground that it stands on.

The values are in ``sites.yaml`` (docs/facts/trials.md#sites). Turns a site into shares that a planner can meet. Knows
no donor and no host.
"""

import difflib
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from pydantic import ValidationError, model_validator
from scipy.special import ndtr

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import WrittenModel, explain
from itrialspace_assets.base.yaml_files import read_yaml
from itrialspace_assets.imaging.anatomy import LobeName
from itrialspace_assets.trials.model import SizeLevel

T = TypeVar("T")
#: Width (years) of the age bands in which an age marginal is met; ours.
AGE_BAND = 5


class Stated(WrittenModel, Generic[T]):
    """A value, and whether a publication states it, it follows from one, or it could not be checked."""

    value: T
    status: Literal["published", "derived", "unverified"]
    note: str = ""


class Site(WrittenModel):
    """One site. Ages in years, upper bounds out; diameters in mm; shares of people or nodules."""

    publication: str
    population: Literal["screening", "diagnostic"]
    participants: Stated[int] | None = None
    age_range: Stated[tuple[float, float]] | None = None
    age_mean: Stated[float] | None = None
    age_sd: Stated[float] | None = None
    male: Stated[float] | None = None
    smoking: Stated[list[Literal["current", "former", "never"]]] | None = None
    pack_years_min: Stated[float] | None = None
    any_nodule: Stated[float] | None = None
    malignancy: Stated[float] | None = None
    size_floor_mm: Stated[float] | None = None
    sizes: Stated[dict[SizeLevel, float]] | None = None
    malignancy_by_size: Stated[dict[SizeLevel, float]] | None = None
    lobes: Stated[dict[LobeName, float]] | None = None

    @model_validator(mode="after")
    def _shares(self) -> "Site":
        for name in ("sizes", "lobes"):
            shares = getattr(self, name)
            if shares is not None and abs(sum(shares.value.values()) - 1) > 0.005:
                raise ValueError(f"{name}: expected shares that sum to 1, got {sum(shares.value.values()):.3f}")
        return self

    def age_bands(self) -> list[tuple[float, float, float]] | None:
        """(from, to, share) of each age band of the site's truncated normal law; None if it states none."""
        if not (self.age_range and self.age_mean and self.age_sd):
            return None
        low, high = self.age_range.value
        edges = np.unique(
            np.concatenate([[low], np.arange(np.ceil(low / AGE_BAND) * AGE_BAND, high, AGE_BAND), [high]])
        )
        mass = np.diff(ndtr((edges - self.age_mean.value) / self.age_sd.value))
        return [(float(a), float(b), float(m)) for a, b, m in zip(edges, edges[1:], mass / mass.sum(), strict=False)]


def sites(settings: Settings) -> dict[str, Site]:
    """All sites, those shipped first.

    Raises:
        ConfigError: a site is wrong; names file and key.
    """
    found = dict(_read(Path(__file__).with_name("sites.yaml"), 0))
    if settings.trials_dir and (own := settings.trials_dir / "sites.yaml").exists():
        found |= _read(own, own.stat().st_mtime_ns)
    return found


@lru_cache(maxsize=8)
def _read(path: Path, changed: int) -> dict[str, Site]:
    tree: Any = read_yaml(path)
    if not isinstance(tree, dict):
        raise ConfigError(f"{path.name}: expected site names with their values")
    out = {}
    for name, entry in tree.items():
        try:
            out[str(name)] = Site.model_validate(entry)
        except ValidationError as error:
            raise ConfigError(f"{path.name}: {name}: {explain(error, Site)}") from None
    return out


def find_site(known: dict[str, Site], name: str) -> Site:
    """One site.

    Raises:
        ConfigError: it is not there; names those that are.
    """
    if name not in known:
        near = difflib.get_close_matches(name, list(known), 1, 0.4)
        raise ConfigError(
            f"site {name!r}: expected one of {', '.join(known)}{f'; did you mean {near[0]}' if near else ''}"
        )
    return known[name]
