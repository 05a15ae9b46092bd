"""Routes of the maps: what they stream is what the plain functions give, and wrong questions get an answer."""

import io

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.layouts.nodule_map import NeighbourSearch, NoduleMap, Reach
from itrialspace_assets.explorer.layouts.table import Held
from itrialspace_assets.explorer.server.routes.maps import router
from itrialspace_assets.index.query import Index
from tests.explorer.bare_app import Root, client
from tests.explorer.nodules import known


@pytest.fixture
def web(empty: Settings) -> TestClient:
    return client(Root(empty, Index(known())), router)


def streamed(web: TestClient, path: str) -> pl.DataFrame:
    found = web.get(path)
    assert found.status_code == 200, found.text
    assert found.headers["content-type"] == "application/vnd.apache.arrow.stream"
    return pl.read_ipc_stream(io.BytesIO(found.content))


def test_points_and_edges_are_streamed_in_the_order_of_the_index(web: TestClient, empty: Settings) -> None:
    seen = NoduleMap(empty, Held(known()))
    points = streamed(web, "/api/map?name=pca_2d&feature_set=core_53")
    assert points.schema == {"x": pl.Float32, "y": pl.Float32}
    assert np.array_equal(points.to_numpy(), seen.layout("core_53", "PCA_2D"))
    edges = streamed(web, "/api/map/edges?k=3&mode=farthest&scope=other_datasets&space=feature_l2")
    assert edges.equals(seen.edges(3, "farthest", "other_datasets", NeighbourSearch("feature_l2")))
    assert edges.schema == {"source": pl.UInt32, "target": pl.UInt32, "distance": pl.Float32, "rank": pl.UInt8}


def test_neighbours_say_in_what_space_they_are(web: TestClient, empty: Settings) -> None:
    nodules = known()
    uid = nodules["nodule_uid"][7]
    found = web.get("/api/map/neighbours", params={"uid": uid, "k": 4, "space": "embedding", "layout": "PCA_2D"}).json()
    wanted = NoduleMap(empty, Held(nodules)).neighbours(7, 4, NeighbourSearch("embedding", layout="PCA_2D"), Reach())
    assert (found["uid"], found["space"], found["metric"], found["columns"]) == (uid, "embedding", "euclidean", 2)
    assert [n["uid"] for n in found["neighbours"]] == nodules["nodule_uid"][wanted["row"]].to_list()
    assert [n["distance"] for n in found["neighbours"]] == wanted["distance"].to_list()
    assert found["neighbours"][0]["diameter_mm"] == nodules["reinsertion_nodule_diam_mm"][int(wanted["row"][0])]
    two = {"uid": uid, "k": 40, "scope": "selected_datasets", "dataset": ["DLCS24", "LUNA16"], "balance": True}
    near = web.get("/api/map/neighbours", params=two).json()["neighbours"]
    assert {n["dataset"] for n in near} == {"DLCS24", "LUNA16"}


def test_what_there_is_is_listed(web: TestClient) -> None:
    found = web.get("/api/maps").json()
    ready = {(m["feature_set"], m["name"]): m["ready"] for m in found["layouts"]}
    assert len(ready) == 12
    assert ready["core_53", "PCA_2D"]
    assert not ready["reinsertion_core", "UMAP_2D"]
    assert found["nodules"] == 60
    assert found["slices"] == []


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/api/map?name=MDS", 422, "expected one of PCA_2D"),
        ("/api/map?feature_set=all", 422, "expected one of reinsertion_core, core_53"),
        ("/api/map?name=TSNE_2D", 409, "its-nodulemap build --model TSNE_2D"),
        ("/api/map/edges?k=6", 422, "expected one of 3, 5, 10, 25"),
        ("/api/map/edges?scope=selected_datasets", 422, "scope 'selected_datasets'"),
        ("/api/map/edges?space=L1", 422, "expected one of weighted"),
        ("/api/map/neighbours?uid=DLCS24/none", 404, "DLCS24/none"),
        ("/api/map/neighbours?uid=DLCS24/n000&k=0", 422, "greater than or equal to 1"),
        ("/api/slices/map?reader=nobody&source=tissue", 422, "reader 'nobody'"),
        ("/api/slices/map?reader=blob&source=tissue&task=age", 422, "task 'age'"),
    ],
)
def test_wrong_questions(web: TestClient, path: str, status: int, message: str) -> None:
    found = web.get(path)
    assert (found.status_code, message in found.text) == (status, True), found.text
