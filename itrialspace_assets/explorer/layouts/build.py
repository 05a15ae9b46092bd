"""Makes the asset ``nodule_map`` and the files of layouts and edges."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import Options, Partition, Result, Step
from itrialspace_assets.explorer.layouts.features import features_of
from itrialspace_assets.explorer.layouts.files import edges_path, layout_path, write_edges, write_layout
from itrialspace_assets.explorer.layouts.nodule_map import NeighbourSearch, NoduleMap, edges_name
from itrialspace_assets.explorer.layouts.presets import FEATURE_SETS, PRESETS, Preset, preset
from itrialspace_assets.explorer.layouts.reduce import reduce
from itrialspace_assets.explorer.layouts.table import Held, NoduleTable
from itrialspace_assets.records.store import read_table, write_table

VERSION = "2"
#: Feature set of the asset, and of what names none (published).
CORE = "reinsertion_core"


def options(settings: Settings) -> Options:
    return {"layouts": settings.layouts} if settings.layouts else {}


STEP = Step(("nodule_map",), "index", (), VERSION, options)


def project(nodules: NoduleTable) -> pl.DataFrame:
    """The layout PCA_2D of the feature set reinsertion_core: ``nodule_uid``, ``dataset``, ``x``, ``y`` (no unit).

    Args:
        nodules: the table ``nodules``.
    """
    points = reduce(features_of(nodules, FEATURE_SETS[CORE]), PRESETS["PCA_2D"]).astype(float).round(6)
    return nodules.frame(["nodule_uid", "dataset"]).with_columns(x=pl.Series(points[:, 0]), y=pl.Series(points[:, 1]))


def build(settings: Settings, partition: Partition) -> Result:
    """Write ``nodule_map`` for the table ``nodules``, and the files of the layouts that the settings name.

    Raises:
        ConfigError: a layout that there is none of, or that needs the extra ``maps``.
    """
    require_data_root(settings)
    chosen = [preset(name.strip()) for name in settings.layouts.split(",") if name.strip()]
    nodules = Held(read_table(settings.output, "nodules").sort("nodule_uid"))
    frame = project(nodules)
    path = write_table(settings.output, "nodule_map", frame)
    files = dict(make_layout(settings, nodules, CORE, one) for one in chosen)
    return Result({"nodule_map": frame.height}, computed=frame.height, written=(path,), files=files)


def make_layout(
    settings: Settings, nodules: NoduleTable, feature_set: str, chosen: Preset, verbose: bool = False
) -> tuple[str, str]:
    """Write the file of a layout: its path below the output folder, and the SHA-256 of its bytes.

    Args:
        settings: give the output folder.
        nodules: the nodules.
        feature_set: name of the feature set.
        chosen: the layout.
        verbose: print progress.

    Raises:
        ConfigError: the extra ``maps`` is not installed, there are too few nodules, or no such feature set.
    """
    made = NoduleMap(settings, nodules)
    points = reduce(made.features(feature_set), chosen, verbose)
    path = layout_path(settings, feature_set, chosen.name)
    sha256 = write_layout(path, nodules.series("nodule_uid"), points, made.of(feature_set))
    return str(path.relative_to(settings.output)), sha256


def make_edges(
    nodules: NoduleMap, k: int, mode: str, scope: str, search: NeighbourSearch, told: Callable[[int], None]
) -> tuple[Path, int]:
    """Write the file of edges: its path, and how many edges it holds.

    Args:
        nodules: the map.
        k: neighbours of each nodule: 3, 5, 10 or 25.
        mode: closest or farthest.
        scope: all_datasets, within_dataset or other_datasets.
        search: in what sense they are near.
        told: is told how many more nodules are done.

    Raises:
        ConfigError: a value that is not offered.
        TableError: the layout that is searched has not been built.
    """
    edges = nodules.edges(k, mode, scope, search, told)
    path = edges_path(nodules.settings, edges_name(k, mode, scope, search))
    write_edges(path, edges, nodules.edges_of(search))
    return path, edges.height
