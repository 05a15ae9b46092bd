"""Answers of the originals' endpoints as strict models, so that their description names every key."""

from collections.abc import Iterable

from pydantic import Field, create_model

from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.explorer.compat.found import RESULT
from itrialspace_assets.explorer.compat.nodes import METADATA
from itrialspace_assets.index.query import FEATURES, MISMATCHES
from itrialspace_assets.records.tables import TABLES

_KINDS: dict[str, type] = {"text": str, "integer": int, "number": float, "flag": bool}
_COLUMNS = {column.name: _KINDS[column.type] for column in TABLES["nodules"].columns}


def _row(name: str, columns: Iterable[str], **more: type) -> type[StrictModel]:
    """A model with columns of the index, each of which may be null, and further fields, which may not."""
    fields = {column: (_COLUMNS[column] | None, ...) for column in columns}
    fields |= {field: (kind, ...) for field, kind in more.items()}
    return create_model(name, __base__=StrictModel, **fields)  # type: ignore[call-overload,no-any-return]


class MapModel(StrictModel):
    """A layout that is there."""

    feature_set: str
    model_name: str
    n_dims: int


class MapModelState(MapModel):
    """A layout, and whether it is there."""

    ready: bool


class MapHealth(StrictModel):
    status: str
    version: str
    models: list[MapModel]
    artifact_dir: str


class MapModels(StrictModel):
    models: list[MapModel]
    layout_models: list[MapModel]
    search_models: list[MapModel]
    health: list[MapModelState]
    version: str


class Range(StrictModel):
    min: float | None
    max: float | None


class MapFilters(StrictModel):
    datasets: list[str]
    labels: list[str]
    lobes: list[str]
    zones: list[str]
    sides: list[str]
    size_buckets: list[str]
    label_sources: list[str]
    population_types: list[str]
    diameter_range: Range


class GraphNode(StrictModel):
    id: str
    x: float
    y: float
    dataset: str
    label_text: str
    size_bucket: str | None
    color_value: str | None
    reinsertion_nodule_diam_mm: float | None
    reinsertion_lobe: str
    reinsertion_lung_zone: str
    reinsertion_lung_side: str
    annotation_id: str


class GraphEdge(StrictModel):
    source: str
    target: str
    similarity: float
    distance: float


class GraphStats(StrictModel):
    n_nodes: int
    n_edges: int
    n_total: int
    n_filtered: int


class GraphAnswer(StrictModel):
    nodes: list[GraphNode]
    edges: list[GraphEdge]
    stats: GraphStats
    edges_available: bool


class DemographicsAnswer(StrictModel):
    patient_age: str
    patient_sex: str
    smoking_status: str
    pack_years: str


_NAMES = {"node_id": str, "label_text": str, "ct_path": str}
NodeAnswer = _row(
    "NodeAnswer",
    METADATA,
    **_NAMES,
    demographics=DemographicsAnswer,
    ct_path_abs=str,
    nodule_mask_path_abs=str,
    organ_seg_path_abs=str,
)
NeighbourRow = _row("NeighbourRow", METADATA, **_NAMES, distance=float, similarity=float, rank=int)


class Debug(StrictModel):
    """What was asked, and the matrix that was searched."""

    model_requested: str
    model_canonical: str
    feature_set: str
    embedding_dim: int
    n_embeddings: int
    elapsed_ms: float
    n_results: int


class NeighboursAnswer(StrictModel):
    query_node_id: str
    k: int
    scope: str
    neighbors: list[NeighbourRow]  # type: ignore[valid-type]
    debug: Debug | None = Field(None, alias="_debug")


class Sample(StrictModel):
    node_id: str
    x: float
    y: float


class LayoutSample(StrictModel):
    n_total: int
    samples: list[Sample]


class SearchSample(StrictModel):
    embedding_dim: int
    n_embeddings: int
    elapsed_ms: float
    neighbors: list[NeighbourRow]  # type: ignore[valid-type]


class Alignment(StrictModel):
    n_nodes: int
    first_5: list[str]
    aligned: bool
    ref_model: str | None = None


class RetrieverHealth(StrictModel):
    version: str
    n_nodules: int
    datasets: list[str]


class RetrieverFilters(StrictModel):
    datasets: list[str]
    lobes: list[str]
    zones: list[str]
    sides: list[str]
    labels: list[int | None]
    central_peripheral: list[str]
    population_types: list[str]
    label_sources: list[str]


ResultRow = _row("ResultRow", RESULT)


class SearchAnswer(StrictModel):
    total_matching: int
    returned: int
    results: list[ResultRow]  # type: ignore[valid-type]
    facet_counts: dict[str, dict[str, int]]


FeatureDeltas = _row("FeatureDeltas", (column for column, _ in (*FEATURES.values(), *MISMATCHES.values())))
SimilarRow = _row(
    "SimilarRow",
    ("lobe_name", "nodule_mean_diam_mm", "label"),
    annotation_id=str,
    dataset=str,
    distance=float,
    rank=int,
    feature_deltas=FeatureDeltas,
)


class SimilarAnswer(StrictModel):
    reference_id: str
    k: int
    results: list[SimilarRow]  # type: ignore[valid-type]


class MatchRow(StrictModel):
    annotation_id: str
    dataset: str
    ct_path: str
    score: float
    lobe: str
    diameter_mm: float
    pleural_mm: float | None
    lobe_cc_pct: float | None
    label: int | None


class MatchAnswer(StrictModel):
    target_lobe: str
    k: int
    results: list[MatchRow]


class FileIds(StrictModel):
    ct_path: str
    nodule_mask_path: str
    organ_seg_path: str
    combined_mask_path: str
    refined_seg_path: str


class FilesThere(StrictModel):
    ct_path: bool
    nodule_mask_path: bool
    organ_seg_path: bool
    combined_mask_path: bool
    refined_seg_path: bool


NoduleDetail = _row("NoduleDetail", _COLUMNS)


class NoduleAnswer(StrictModel):
    annotation_id: str
    dataset: str
    patient_id: str | None
    label: int | None
    detail: NoduleDetail  # type: ignore[valid-type]
    paths: FileIds
    paths_exist: FilesThere


class CtInfo(StrictModel):
    shape: list[int]
    spacing_mm: list[float]
