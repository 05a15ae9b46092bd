"""The original's map API: keys listed by hand, and its faults that are not copied (docs/facts/explorer.md)."""

import csv
import io
import json
import os
from typing import Any

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.compat.nodulemap import router
from itrialspace_assets.explorer.layouts.files import layout_path, write_layout
from itrialspace_assets.explorer.layouts.nodule_map import NeighbourSearch, NoduleMap
from itrialspace_assets.explorer.layouts.table import Held
from itrialspace_assets.index.query import Index
from tests.explorer.bare_app import Root, client
from tests.explorer.nodules import known

BASE = "/compat/nodulemap"
REINSERTION = {
    *("reinsertion_lobe", "reinsertion_lung_side", "reinsertion_lung_zone"),
    *(f"reinsertion_{of}_{a}_pct" for of in ("lobe", "lung") for a in ("cc", "ml", "ap")),
    *("reinsertion_pleural_dist_mm", "reinsertion_airway_dist_mm", "reinsertion_nodule_diam_mm"),
}
METADATA = REINSERTION | {
    *("node_id", "dataset", "annotation_id", "patient_id", "label", "nodule_mean_diam_mm"),
    *("ct_path", "coordX", "coordY", "coordZ", "n_nodules_in_patient", "lobe_name", "lung_side", "lung_zone"),
    *("central_peripheral", "pleural_distance_mm", "airway_distance_mm", "label_source", "population_type"),
    *("size_bucket", "label_text"),
}
NODE = {
    *("id", "x", "y", "dataset", "label_text", "size_bucket", "color_value", "reinsertion_nodule_diam_mm"),
    *("reinsertion_lobe", "reinsertion_lung_zone", "annotation_id"),
}
CSV = [
    *("query_node_id", "query_dataset", "query_annotation_id", "neighbor_node_id", "neighbor_dataset"),
    *("neighbor_annotation_id", "distance", "similarity", "rank", "neighbor_diameter_mm", "neighbor_lobe"),
    *("neighbor_label", "model", "feature_set", "k", "scope"),
]
PCA = {"model": "PCA_2D"}


@pytest.fixture
def web(empty: Settings) -> TestClient:
    nodules = known()
    points = np.random.default_rng(1).normal(size=(60, 2)).astype(np.float32)  # a stand-in: quicker than t-SNE
    of = NoduleMap(empty, Held(nodules)).of("reinsertion_core")
    write_layout(layout_path(empty, "reinsertion_core", "TSNE_2D"), nodules["nodule_uid"], points, of)
    return client(Root(empty, Index(nodules)), router)


def get(web: TestClient, path: str, **params: Any) -> Any:
    found = web.get(BASE + path, params=params)
    assert found.status_code == 200, found.text
    return found.json()


def test_keys_of_health_models_and_filters(web: TestClient) -> None:
    health = get(web, "/health")
    assert set(health) == {"status", "version", "models", "artifact_dir"}
    assert (health["status"], health["artifact_dir"]) == ("ok", "")
    models = get(web, "/api/models")
    assert set(models) == {"models", "layout_models", "search_models", "health", "version"}
    assert all(set(m) == {"feature_set", "model_name", "n_dims"} for m in models["models"])
    assert {m["model_name"] for m in models["layout_models"]} == {"PCA_2D", "TSNE_2D"}
    assert {(m["model_name"], m["ready"]) for m in models["health"]} >= {("UMAP_2D", False), ("PCA_32", True)}
    filters = get(web, "/api/filters")
    assert set(filters) == {
        *("datasets", "labels", "lobes", "zones", "sides", "size_buckets", "label_sources", "population_types"),
        "diameter_range",
    }
    assert filters["labels"] == ["benign", "malignant", "unlabelled"]
    assert set(filters["diameter_range"]) == {"min", "max"}


def test_the_graph_has_the_published_keys_and_every_edge_between_its_nodes(web: TestClient, empty: Settings) -> None:
    body = {"vis_model": "PCA_2D", "search_model": "PCA_2D", "k": 3, "filters": {"label": "malignant"}}
    found = web.post(BASE + "/api/graph", json=body).json()
    assert set(found) == {"nodes", "edges", "stats", "edges_available"}
    assert all(set(n) >= NODE for n in found["nodes"])
    assert all(set(e) == {"source", "target", "similarity", "distance"} for e in found["edges"])
    nodules = known()
    malignant = nodules.filter(pl.col("label") == 1)
    ids = {f"{d}_{a}" for d, a in malignant.select("dataset", "annotation_id").rows()}
    assert {n["id"] for n in found["nodes"]} == ids
    assert found["stats"] == {
        "n_nodes": len(ids), "n_edges": len(found["edges"]), "n_total": 60, "n_filtered": len(ids)
    }  # fmt: skip
    every = NoduleMap(empty, Held(nodules)).edges(3, "closest", "all_datasets", NeighbourSearch())
    names = nodules.select(pl.concat_str("dataset", pl.lit("_"), "annotation_id")).to_series().to_list()
    pairs = {(names[s], names[t]) for s, t in every.select("source", "target").rows()}
    assert {(e["source"], e["target"]) for e in found["edges"]} == {p for p in pairs if set(p) <= ids}
    params = {"vis_model": "PCA_2D", "search_model": "PCA_2D", "k": 3, "label": "1"}
    assert get(web, "/api/graph", **params) == found
    colour = get(web, "/api/graph", color_by="reinsertion_lobe", **params)["nodes"]
    assert [n["color_value"] for n in colour] == [n["reinsertion_lobe"] for n in colour]
    some = get(web, "/api/graph", vis_model="PCA_2D", datasets="DLCS24,LUNA16", diameter_min=10, diameter_max=30)
    wanted = nodules.filter(
        pl.col("dataset").is_in(["DLCS24", "LUNA16"]), pl.col("reinsertion_nodule_diam_mm").is_between(10, 30)
    )
    assert some["stats"]["n_nodes"] == wanted.height


def test_a_node_has_its_metadata_and_no_path(web: TestClient, empty: Settings) -> None:
    row = known().row(7, named=True)
    node_id = f"{row['dataset']}_{row['annotation_id']}"
    found = get(web, f"/api/node/{node_id}")
    extra = {"demographics", "ct_path_abs", "nodule_mask_path_abs", "organ_seg_path_abs"}
    assert set(found) == METADATA | extra
    assert set(found["demographics"]) == {"patient_age", "patient_sex", "smoking_status", "pack_years"}
    assert found["ct_path"] == row["scan_uid"]
    assert found["ct_path_abs"] == (row["scan_uid"] if row["has_ct"] else "")
    assert web.get(f"{BASE}/api/node/nothing").json() == {"detail": "Node not found: nothing"}
    missing = web.get(f"{BASE}/api/node/{node_id}/axial_thumbnail")
    assert (missing.status_code, missing.json()["detail"]) == (404, "Thumbnail unavailable: CT or mask not found")


def test_neighbours_and_their_debugging(web: TestClient, empty: Settings) -> None:
    nodules = known()
    row = nodules.row(7, named=True)
    path = f"/api/node/{row['dataset']}_{row['annotation_id']}/neighbors"
    found = get(web, path, k=6, debug=1, balance_by_dataset=True, **PCA)
    assert set(found) == {"query_node_id", "k", "scope", "neighbors", "_debug"}
    assert all(set(n) == METADATA | {"distance", "similarity", "rank"} for n in found["neighbors"])
    assert set(found["_debug"]) == {
        *("model_requested", "model_canonical", "feature_set", "embedding_dim", "n_embeddings", "elapsed_ms"),
        "n_results",
    }
    weighted = NoduleMap(empty, Held(nodules)).space(NeighbourSearch()).points
    assert found["_debug"]["embedding_dim"] == weighted.shape[1]  # of what was searched, not of the model
    assert {n["dataset"] for n in found["neighbors"]} == {"DLCS24", "LUNA16", "LUNA25"}
    other = get(web, path, k=59, exclude_same_patient=True, **PCA)["neighbors"]
    assert row["patient_id"] not in {n["patient_id"] for n in other}
    tsne = get(web, path, search_backend="embedding", model="t-sne_2d", debug=1)
    assert (tsne["_debug"]["model_canonical"], tsne["_debug"]["embedding_dim"]) == ("TSNE_2D", 2)


def test_exports_are_downloads_and_leave_nothing_behind(web: TestClient, empty: Settings) -> None:
    row = known().row(7, named=True)
    asked = {"node_id": f"{row['dataset']}_{row['annotation_id']}", "k": 5, "model": "PCA_2D"}
    before = {str(p) for p, _, _ in os.walk(empty.output)}
    found = {f: web.post(BASE + "/api/export", json=asked | {"format": f}) for f in ("csv", "json", "donors")}
    assert all(r.status_code == 200 and "attachment" in r.headers["content-disposition"] for r in found.values())
    assert {str(p) for p, _, _ in os.walk(empty.output)} == before
    table = list(csv.DictReader(io.StringIO(found["csv"].text)))
    assert list(table[0]) == CSV
    content = json.loads(found["json"].text)
    assert set(content) == {"query", "neighbors", "meta"}
    assert set(content["meta"]) == {"model", "feature_set", "k", "scope", "exported_at"}
    donors = list(csv.DictReader(io.StringIO(found["donors"].text)))
    assert list(donors[0]) == ["donor_annotation_id", "donor_dataset", "ct_path", "mask_path"]
    own = set(known().filter(pl.col("person_uid") == row["person_uid"])["annotation_id"])
    assert not own & {d["donor_annotation_id"] for d in donors}
    assert str(empty.data) not in "".join(r.text for r in found.values())


def test_keys_of_debugging(web: TestClient, empty: Settings) -> None:
    layout = get(web, "/debug/layout", limit=3, **PCA)
    assert (set(layout), layout["n_total"]) == ({"n_total", "samples"}, 60)
    points = NoduleMap(empty, Held(known())).layout("reinsertion_core", "PCA_2D")
    assert [[s["x"], s["y"]] for s in layout["samples"]] == points[:3].tolist()
    assert all(set(s) == {"node_id", "x", "y"} for s in layout["samples"])
    assert set(get(web, "/debug/search", **PCA)) == {"embedding_dim", "n_embeddings", "elapsed_ms", "neighbors"}
    aligned = get(web, "/debug/alignment")
    assert set(aligned) == {"PCA_2D", "PCA_32", "TSNE_2D"}
    assert set(aligned["PCA_2D"]) == {"n_nodes", "first_5", "aligned"}
    assert set(aligned["PCA_32"]) == {"n_nodes", "first_5", "aligned", "ref_model"}


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/api/graph", 404, "its-nodulemap build --model UMAP_2D"),  # the original's default, not built
        ("/api/graph?vis_model=PCA_2D&label=maybe", 422, "label 'maybe': expected one of 0, benign"),
        ("/api/graph?vis_model=PCA_2D&lobe=RUL", 422, "reinsertion_lobe 'RUL'"),
        ("/api/graph?vis_model=PCA_2D&color_by=age", 422, "color_by 'age'"),
        ("/api/graph?vis_model=PCA_2D&scope=near", 422, "scope 'near'"),
        ("/debug/search?model=MDS", 422, "layout 'MDS'"),
        ("/debug/search?search_backend=faiss", 422, "weighted"),
        ("/debug/alignment?feature_set=x", 422, "feature set 'x'"),
        ("/api/node/../../etc/passwd", 404, ""),
    ],
)
def test_unknown_values_are_refused(web: TestClient, path: str, status: int, message: str) -> None:
    found = web.get(BASE + path)
    assert (found.status_code, message in found.text) == (status, True), found.text
