"""Names and parameters of feature sets and layouts, as published (docs/facts/explorer.md). Computes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from itrialspace_assets.base.errors import ConfigError

Algorithm = Literal["pca", "umap", "tsne"]

#: Seed of every layout (published).
SEED = 42
#: Neighbours of UMAP and perplexity of t-SNE (published); fewer where there are fewer nodules.
NEIGHBOURS = 30
#: Iterations of t-SNE (published).
ITERATIONS = 1000


@dataclass(frozen=True)
class FeatureSet:
    """Columns of ``nodules`` that a feature set is made of.

    ``robust``: numbers are centred on the median and divided by the interquartile range, and a missing one counts as
    the median; else mean and standard deviation, and as the mean.
    """

    name: str
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    robust: bool


@dataclass(frozen=True)
class Preset:
    """A layout: how features are reduced, and to how many numbers. ``min_dist`` is UMAP's."""

    name: str
    algorithm: Algorithm
    dims: int
    min_dist: float = 0.0


_PLACE = (
    *(f"reinsertion_lobe_{a}_pct" for a in ("cc", "ml", "ap")),
    *(f"reinsertion_lung_{a}_pct" for a in ("cc", "ml", "ap")),
    "reinsertion_pleural_dist_mm",
    "reinsertion_airway_dist_mm",
    "reinsertion_nodule_diam_mm",
)
_PLACE_CATEGORIES = ("reinsertion_lobe", "reinsertion_lung_side", "reinsertion_lung_zone")
_MEASURED = (
    *("nodule_mean_diam_mm", "nodule_vol_mm3", "cranio_caudal_pct", "mediolateral_pct", "anteroposterior_pct"),
    *(f"lobe_{a}_pct" for a in ("cc", "ml", "ap")),
    *(f"dist_to_{o}_mm" for o in ("trachea", "aorta", "heart", "esophagus", "pulmonary_vein", "superior_vena_cava")),
    *("pleural_distance_mm", "airway_distance_mm", "n_nodules_in_patient", "nearest_nodule_dist_mm"),
    *(f"nearest_d{a}_mm" for a in "xyz"),
)
#: Published feature sets; the name of the second is the original's, it has 30 numbers and 7 categories.
FEATURE_SETS: Mapping[str, FeatureSet] = {
    s.name: s
    for s in (
        FeatureSet("reinsertion_core", _PLACE, _PLACE_CATEGORIES, False),
        FeatureSet(
            "core_53",
            (*_MEASURED, *_PLACE),
            ("lobe_name", "lung_side", "lung_zone", "central_peripheral", *_PLACE_CATEGORIES),
            True,
        ),
    )
}
#: Published layouts.
PRESETS: Mapping[str, Preset] = {
    p.name: p
    for p in (
        Preset("PCA_2D", "pca", 2),
        Preset("PCA_32", "pca", 32),
        Preset("UMAP_2D", "umap", 2, 0.3),
        Preset("UMAP_16", "umap", 16, 0.1),
        Preset("UMAP_32", "umap", 32, 0.1),
        Preset("TSNE_2D", "tsne", 2),
    )
}
#: Other names of the published layouts, in lower case.
_ALIASES = {"pca_32d": "PCA_32", "umap_16d": "UMAP_16", "umap_32d": "UMAP_32", "t-sne_2d": "TSNE_2D"}
_BY_NAME = {name.lower(): name for name in PRESETS} | _ALIASES


def preset(name: str) -> Preset:
    """A layout by its name or a published alias, whatever the case.

    Raises:
        ConfigError: there is none of that name.
    """
    if name.lower() not in _BY_NAME:
        raise ConfigError(f"layout {name!r}: expected one of {', '.join(PRESETS)}")
    return PRESETS[_BY_NAME[name.lower()]]


def feature_set(name: str) -> FeatureSet:
    """A feature set by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in FEATURE_SETS:
        raise ConfigError(f"feature set {name!r}: expected one of {', '.join(FEATURE_SETS)}")
    return FEATURE_SETS[name]
