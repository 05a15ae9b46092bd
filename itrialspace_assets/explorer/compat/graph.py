"""The original's map as one graph: nodes with their place and colour, edges between those that a filter leaves."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from pydantic import Field

from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.explorer.compat.nodes import LABEL_TEXT, NODE_ID, is_among, is_between, label_is, met
from itrialspace_assets.explorer.layouts.nodule_map import ON_DEMAND, NeighbourSearch, NoduleMap
from itrialspace_assets.explorer.search.columns import Columns, Mask, RowNumbers

#: Columns that nodes can be coloured by (published).
COLOURS = ("dataset", "label_text", "reinsertion_lobe", "size_bucket", "reinsertion_lung_zone", "reinsertion_lung_side")
_NODE = (
    *("dataset", "label_text", "size_bucket", "reinsertion_nodule_diam_mm", "reinsertion_lobe"),
    *("reinsertion_lung_zone", "reinsertion_lung_side", "annotation_id"),
)
Words = str | list[str] | None


class GraphFilters(StrictModel):
    """Which nodes are wanted; all conditions together. Words may be one or a list; ``all`` asks for nothing."""

    datasets: Words = None
    label: str | int | None = None
    label_source: Words = None
    population_type: Words = None
    lobe: Words = None
    zone: Words = None
    side: Words = None
    size_bucket: Words = None
    diameter_min: float | None = None
    diameter_max: float | None = None
    pleural_min: float | None = None
    pleural_max: float | None = None
    airway_min: float | None = None
    airway_max: float | None = None


_Model = Annotated[str, Field(max_length=60)]


class GraphChoice(StrictModel):
    """Where nodes lie and which edges. ``search_backend`` is ours: the space of the edges."""

    vis_model: _Model = "UMAP_2D"
    search_model: _Model = "UMAP_2D"
    feature_set: _Model = "reinsertion_core"
    k: int = 5
    mode: _Model = "closest"
    scope: _Model = "cross_dataset"
    color_by: _Model = "dataset"
    search_backend: Literal["weighted", "feature_l2", "features", "embedding"] = "weighted"


class GraphRequest(GraphChoice):
    """A graph, and which nodes."""

    filters: GraphFilters = Field(default_factory=GraphFilters)


@dataclass(frozen=True)
class NeighbourGraph:
    """Nodes and edges under the original's keys; ``edges_available`` is false where they must be made first."""

    nodes: pl.DataFrame
    edges: pl.DataFrame
    n_total: int
    edges_available: bool

    @property
    def stats(self) -> dict[str, int]:
        return {
            "n_nodes": self.nodes.height,
            "n_edges": self.edges.height,
            "n_total": self.n_total,
            "n_filtered": self.nodes.height,
        }


def listed(words: Words) -> list[str]:
    """One word, several or none as a list."""
    return [words] if isinstance(words, str) else list(words or [])


def search_of(backend: str, feature_set: str, model: str) -> NeighbourSearch:
    """The search space that the original calls by a name.

    Args:
        backend: weighted, feature_l2 (or features) or embedding.
        feature_set: whose features.
        model: layout that ``embedding`` searches.
    """
    return NeighbourSearch("feature_l2" if backend == "features" else backend, feature_set, model)


def graph(seen: NoduleMap, columns: Columns, asked: GraphRequest) -> NeighbourGraph:
    """The graph that is asked for.

    Args:
        seen: the map of the index.
        columns: of the index.
        asked: what is drawn.

    Raises:
        ConfigError: a value that is not offered.
        TableError: the layout has not been built.
    """
    if asked.color_by not in COLOURS:
        raise ConfigError(f"color_by {asked.color_by!r}: expected one of {', '.join(COLOURS)}")
    points = seen.layout(asked.feature_set, asked.vis_model)
    kept = met(columns, _conditions(columns, asked.filters))
    rows = np.flatnonzero(kept)
    nodes = (
        columns.frame([*(c for c in _NODE if c != "label_text"), "label"], rows)
        .with_columns(LABEL_TEXT)
        .select(NODE_ID.alias("id"), *_NODE)
        .with_columns(
            x=pl.Series(points[rows, 0]),
            y=pl.Series(points[rows, 1]),
            color_value=pl.col(asked.color_by).cast(pl.String),
        )
    )
    search = search_of(asked.search_backend, asked.feature_set, asked.search_model)
    try:
        found = seen.edges(asked.k, asked.mode, asked.scope, search, most=ON_DEMAND)
    except TableError:
        found = None
    if found is not None:
        source, target = (kept[found[end].to_numpy()] for end in ("source", "target"))
        found = found.filter(pl.Series(source & target))
    return NeighbourGraph(nodes, _edges(nodes["id"], rows, found), columns.height, found is not None)


def _edges(ids: pl.Series, rows: RowNumbers, found: pl.DataFrame | None) -> pl.DataFrame:
    if found is None:
        return pl.DataFrame(schema={"source": pl.String, "target": pl.String, "similarity": pl.Float64})
    distance = found["distance"].cast(pl.Float64)
    return pl.DataFrame(
        {
            "source": ids[np.searchsorted(rows, found["source"].to_numpy())],
            "target": ids[np.searchsorted(rows, found["target"].to_numpy())],
            "similarity": np.exp(-distance.to_numpy()),
            "distance": distance,
        }
    )


def _conditions(columns: Columns, asked: GraphFilters) -> list[Mask | None]:
    words = {
        "dataset": asked.datasets,
        "label_source": asked.label_source,
        "population_type": asked.population_type,
        "reinsertion_lobe": asked.lobe,
        "reinsertion_lung_zone": asked.zone,
        "reinsertion_lung_side": asked.side,
        "size_bucket": asked.size_bucket,
    }
    return [
        label_is(columns, asked.label),
        *(is_among(columns, column, listed(given)) for column, given in words.items()),
        is_between(columns, "reinsertion_nodule_diam_mm", asked.diameter_min, asked.diameter_max),
        is_between(columns, "reinsertion_pleural_dist_mm", asked.pleural_min, asked.pleural_max),
        is_between(columns, "reinsertion_airway_dist_mm", asked.airway_min, asked.airway_max),
    ]


def neighbour_export(query: dict[str, Any], found: pl.DataFrame, asked: dict[str, Any]) -> pl.DataFrame:
    """Neighbours of a node as the original's CSV has them.

    Args:
        query: metadata row of the node.
        found: metadata rows of the neighbours with distance, similarity and rank.
        asked: model, feature_set, k and scope.
    """
    return found.select(
        query_node_id=pl.lit(query["node_id"]),
        query_dataset=pl.lit(query["dataset"]),
        query_annotation_id=pl.lit(query["annotation_id"]),
        neighbor_node_id="node_id",
        neighbor_dataset="dataset",
        neighbor_annotation_id="annotation_id",
        distance="distance",
        similarity="similarity",
        rank="rank",
        neighbor_diameter_mm="reinsertion_nodule_diam_mm",
        neighbor_lobe="reinsertion_lobe",
        neighbor_label="label",
        model=pl.lit(asked["model"]),
        feature_set=pl.lit(asked["feature_set"]),
        k=pl.lit(asked["k"]),
        scope=pl.lit(asked["scope"]),
    )


def donor_export(found: pl.DataFrame) -> pl.DataFrame:
    """Neighbours as candidate donors: ids of scan and nodule where the original had paths.

    Args:
        found: columns of the index.
    """
    return found.select(
        donor_annotation_id="annotation_id",
        donor_dataset="dataset",
        ct_path=pl.when("has_ct").then("scan_uid").otherwise(pl.lit("")),
        mask_path=pl.when("has_nodule_mask").then("nodule_uid").otherwise(pl.lit("")),
    )
