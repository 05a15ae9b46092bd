"""The original's retriever API: keys listed by hand (docs/facts/explorer.md), and its faults that are not copied."""

import csv
import io
import json
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.compat.retriever import router
from itrialspace_assets.index.query import FEATURES, Index
from tests.explorer.bare_app import Root, client
from tests.explorer.nodules import known

BASE = "/compat/retriever"
RESULT = {
    *("annotation_id", "dataset", "patient_id", "ct_path", "label", "lobe_name", "lung_side", "lung_zone"),
    *("central_peripheral", "nodule_mean_diam_mm", "pleural_distance_mm", "reinsertion_lobe"),
    *("reinsertion_nodule_diam_mm", "reinsertion_pleural_dist_mm", "reinsertion_lobe_cc_pct"),
}
FACETS = {"datasets", "lobes", "zones", "sides", "central_peripheral", "labels", "size_buckets"}
PATHS = {"ct_path", "nodule_mask_path", "organ_seg_path", "combined_mask_path", "refined_seg_path"}


@pytest.fixture
def web(empty: Settings) -> TestClient:
    return client(Root(empty, Index(known())), router)


def post(web: TestClient, path: str, **body: Any) -> Any:
    found = web.post(BASE + path, json=body)
    assert found.status_code == 200, found.text
    return found.json()


def test_keys_of_health_and_filters(web: TestClient) -> None:
    assert set(web.get(BASE + "/health").json()) == {"version", "n_nodules", "datasets"}
    assert set(web.get(BASE + "/filters").json()) == {
        *("datasets", "lobes", "zones", "sides", "labels", "central_peripheral", "population_types", "label_sources")
    }


def test_search_filters_draws_sorts_and_cuts_in_this_order(web: TestClient) -> None:
    nodules = known()
    asked = {"label": 1, "diameter_min": 5, "sort_by": "nodule_mean_diam_mm", "sort_ascending": False}
    found = post(web, "/search", **asked, limit=4, offset=2)
    kept = nodules.filter(pl.col("label") == 1, pl.col("nodule_mean_diam_mm") >= 5)
    order = kept.sort("nodule_mean_diam_mm", descending=True)
    assert set(found) == {"total_matching", "returned", "results", "facet_counts"}
    assert (found["total_matching"], found["returned"]) == (kept.height, 4)
    assert [r["annotation_id"] for r in found["results"]] == order["annotation_id"][2:6].to_list()
    assert all(set(r) == RESULT for r in found["results"])
    assert found["results"][0]["ct_path"] == order["scan_uid"][2]
    drawn = post(web, "/search", **asked, sample_n=5, sample_seed=3)
    assert (drawn["total_matching"], drawn["returned"]) == (kept.height, 5)
    sizes = [r["nodule_mean_diam_mm"] for r in drawn["results"]]
    assert sizes == sorted(sizes, reverse=True)
    assert post(web, "/search", **asked, sample_n=5, sample_seed=3) == drawn


def test_facets_follow_all_other_filters(web: TestClient) -> None:
    nodules = known()
    facets = post(web, "/search", datasets=["DLCS24"], label="unlabelled")["facet_counts"]
    assert set(facets) == FACETS
    assert set(facets["labels"]) == {"malignant", "benign", "unlabelled"}
    d0 = nodules.filter(pl.col("dataset") == "DLCS24")
    assert facets["labels"]["malignant"] == (d0["label"] == 1).sum()
    both = d0.filter(pl.col("label").is_null())
    assert facets["lobes"] == dict(both["lobe_name"].value_counts().sort("lobe_name").rows())
    unlabelled = nodules.filter(pl.col("label").is_null())
    assert facets["datasets"] == dict(unlabelled["dataset"].value_counts().sort("dataset").rows())


def test_a_missing_distance_is_in_no_range(empty: Settings) -> None:
    nodules = known().with_columns(
        pl.when(pl.int_range(pl.len()) < 9)
        .then(None)
        .otherwise(pl.col("pleural_distance_mm"))
        .alias("pleural_distance_mm")
    )
    web = client(Root(empty, Index(nodules)), router)
    assert post(web, "/search", pleural_distance_min=0)["total_matching"] == 51
    assert post(web, "/search", pleural_distance_min=900)["total_matching"] == 0


def test_similar_nodules_and_donors(web: TestClient) -> None:
    index = Index(known())
    row = index.nodules.row(7, named=True)
    found = post(web, "/similar", annotation_id=row["annotation_id"], k=5, exclude_datasets=["LUNA16"])
    assert set(found) == {"reference_id", "k", "results"}
    wanted = index.similar(row["nodule_uid"], 5, filters=["dataset!=LUNA16"])
    assert [r["annotation_id"] for r in found["results"]] == wanted["annotation_id"].to_list()
    keys = {
        "annotation_id",
        "dataset",
        "distance",
        "rank",
        "lobe_name",
        "nodule_mean_diam_mm",
        "label",
        "feature_deltas",
    }
    assert all(set(r) == keys for r in found["results"])
    column = FEATURES["diameter"][0]
    assert found["results"][0]["feature_deltas"][column] == pytest.approx(wanted[column][0] - row[column], abs=1e-4)
    place = {"lobe": "LUL", "lobe_cc_pct": 50, "diameter_mm": 9, "lung_side": "left", "k": 7}
    donors = post(web, "/matcher", **place)
    assert (set(donors), donors["target_lobe"]) == ({"target_lobe", "k", "results"}, "LUL")
    keys = {"annotation_id", "dataset", "ct_path", "score", "lobe", "diameter_mm", "pleural_mm", "lobe_cc_pct", "label"}
    assert all(set(r) == keys and r["lobe"].startswith("left") for r in donors["results"])
    scores = [r["score"] for r in donors["results"]]
    assert scores == sorted(scores)


def test_a_nodule_is_found_by_its_dataset_where_two_share_an_id(empty: Settings) -> None:
    shared = pl.int_range(pl.len()).is_in([0, 20])  # of two datasets
    nodules = known().with_columns(
        annotation_id=pl.when(shared).then(pl.lit("same")).otherwise("annotation_id"),
        nodule_uid=pl.when(shared).then(pl.concat_str("dataset", pl.lit("/same"))).otherwise("nodule_uid"),
    )
    web = client(Root(empty, Index(nodules)), router)
    found = web.get(BASE + "/nodule/same")
    assert (found.status_code, "give one of DLCS24/same, LUNA16/same" in found.text) == (422, True)
    one = web.get(f"{BASE}/nodule/same?dataset=LUNA16").json()
    assert one["detail"]["nodule_uid"] == "LUNA16/same"
    assert set(one) == {"annotation_id", "dataset", "patient_id", "label", "detail", "paths", "paths_exist"}
    assert set(one["detail"]) == set(nodules.columns)
    assert set(one["paths"]) == set(one["paths_exist"]) == PATHS
    assert one["paths_exist"]["ct_path"] == nodules["has_ct"][20]


def test_exports_are_whole(web: TestClient, empty: Settings) -> None:
    found = web.post(BASE + "/export", json={"filters": {"datasets": ["DLCS24", "LUNA16"]}, "filename": "mine.csv"})
    assert found.headers["content-disposition"] == 'attachment; filename="mine.csv"'
    rows = list(csv.DictReader(io.StringIO(found.text)))
    assert len(rows) == known().filter(pl.col("dataset") != "LUNA25").height  # no limit of its own
    assert set(rows[0]) == {*known().columns, "ct_path_abs", *PATHS}
    assert str(empty.data) not in found.text
    other = web.post(BASE + "/export", json={"format": "json", "include_paths": False, "filters": {"label": 1}})
    content = json.loads(other.text)
    assert set(content) == {"n_results", "filters", "results"}
    assert content["n_results"] == len(content["results"]) == (known()["label"] == 1).sum()


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/search", {"datasets": ["NLST3D"]}, 422, "dataset 'NLST3D': expected one of DLCS24, LUNA16, LUNA25"),
        ("/search", {"sort_by": "size"}, 422, "sort_by 'size'"),
        ("/search", {"population_type": "rural"}, 422, "population_type 'rural'"),
        ("/search", {"limit": 0}, 422, "greater than or equal to 1"),
        ("/similar", {"annotation_id": "none"}, 404, "annotation_id 'none'"),
        ("/matcher", {"lobe": "middle"}, 422, "RUL, RML, RLL, LUL, LLL"),
        ("/export", {"filename": "../x.csv"}, 422, "filename"),
    ],
)
def test_wrong_questions(web: TestClient, path: str, body: dict[str, Any], status: int, message: str) -> None:
    found = web.post(BASE + path, json=body)
    assert (found.status_code, message in found.text) == (status, True), found.text
