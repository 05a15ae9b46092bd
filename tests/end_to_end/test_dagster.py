"""Runs through Dagster itself: no value between steps, shards, and a backfill through GraphQL."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.definitions import build_definitions
from itrialspace_assets.records.store import read_table
from itrialspace_assets.synthesis import images, quality, rendering

from ..synthesis.nodmaisi.tiny import tiny_weights
from .conftest import ITS

MODE = "m02_size_detection_curve"
PAIR_ASSETS = ("inserted_masks", "tissue/synthetic_cts", "tissue/eval_slices", "tissue/predictions/blob")


class Refuse(dg.IOManager):
    """Fails when a step hands a value to another."""

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        raise AssertionError(f"a value left {context.step_key}")

    def load_input(self, context: dg.InputContext) -> object:
        raise AssertionError("a value was asked for")


@pytest.fixture(scope="module")
def planned(planned_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs with two modes planned, and the folder of the second one's trial file in it."""
    out = tmp_path_factory.mktemp("planned") / "out"
    shutil.copytree(planned_once, out)
    return out


@pytest.mark.slow
def test_a_pair_in_shards_passes_no_value_and_counts(
    data_root: Path, planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ITRIALSPACE_SHARDS", "3")
    definitions = build_definitions(data_dir=data_root, output_dir=planned, workers=1)
    refusing = dg.Definitions.merge(definitions, dg.Definitions(resources={"io_manager": Refuse()}))
    job = refusing.resolve_implicit_global_asset_job_def()
    key = dg.MultiPartitionKey({"mode": MODE, "dataset": "LUNA25"})
    keys = [dg.AssetKey(a.split("/")) for a in PAIR_ASSETS]
    with dg.DagsterInstance.ephemeral() as instance:
        for expected in ("computed", "reused"):
            result = job.execute_in_process(instance=instance, partition_key=key, asset_selection=keys)
            metadata = {
                e.asset_key.to_user_string(): e.step_materialization_data.materialization.metadata
                for e in result.all_events
                if e.is_step_materialization
            }  # type: ignore[union-attr]
            assert set(metadata) == set(PAIR_ASSETS)
            for name, values in metadata.items():
                assert values[expected].value > 0, name
                assert {"dagster/partition_row_count", "uri", "seconds", "peak_memory_mb", "anatomy"} <= set(values)
                assert values["uri"].value.startswith("file:///"), "absolute"
            assert "data:image/png" in metadata["tissue/synthetic_cts"]["picture"].value
            steps = {e.step_key for e in result.all_events if e.step_key}
            shards = [s for s in steps if "synthetic_cts__shard[" in s]
            assert (len(shards) > 1) == (expected == "computed")
        before = read_table(planned, "cases", mode=MODE)
        config = {"ops": {"cohort_manifests": {"config": {"size": "paper"}}}}
        plan = [dg.AssetKey("cohort_manifests")]
        failed = job.execute_in_process(
            instance=instance, partition_key=MODE, asset_selection=plan, run_config=config, raise_on_error=False
        )
        assert not failed.success, "the size is run configuration, and this root has no donors for paper size"
        (event,) = [e for e in failed.all_events if e.is_step_failure]
        assert "no donor is left for case" in event.step_failure_data.user_failure_data.description  # type: ignore[union-attr]
        assert read_table(planned, "cases", mode=MODE).equals(before)
        checks = {(c.asset_key.to_user_string(), c.check_name): c for c in result.get_asset_check_evaluations()}
        assert all(c.passed for c in checks.values())
        of_masks, of_cts = {"as_planned", "unchanged_voxels", "collisions"}, {"complete", "gates"}
        of_answers = {"coverage", "refusals", "constant_answers", "duplicates"}
        assert {n for _, n in checks} == {"registry", "rejected_share"} | of_masks | of_cts | of_answers
        assert {c.partition for c in checks.values()} == {str(key)}


def post(port: int, query: str, **variables: Any) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"]  # type: ignore[no-any-return]


LAUNCH = """mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {
  ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  ... on InvalidSubsetError { message } } }"""
STATUS = (
    "query($b: String!) { partitionBackfillOrError(backfillId: $b) { ... on PartitionBackfill { status "
    "numPartitions } } }"
)


def backfill(port: int, assets: tuple[str, ...], partitions: list[str]) -> str:
    params = {
        "assetSelection": [{"path": a.split("/")} for a in assets],
        "partitionNames": partitions,
        "fromFailure": False,
    }
    launched = post(port, LAUNCH, p=params)["launchPartitionBackfill"]
    assert "backfillId" in launched, launched
    for _ in range(150):
        status: str = post(port, STATUS, b=launched["backfillId"])["partitionBackfillOrError"]["status"]
        if status not in ("REQUESTED", "IN_PROGRESS", "COMPLETING"):
            return status
        time.sleep(2)
    return "TIMED OUT"


@pytest.mark.slow
@pytest.mark.patient
def test_a_backfill_of_a_mode_and_its_report_from_the_ui(data_root: Path, planned: Path) -> None:
    roots = {
        "ITRIALSPACE_DATA_DIR": str(data_root),
        "ITRIALSPACE_OUTPUT_DIR": str(planned),
        "ITRIALSPACE_TRIALS_DIR": str(planned / "trials"),
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"} | roots
    with (planned / "ui.log").open("w") as log:
        server = subprocess.Popen([*ITS, "ui", "--port", str(port)], env=env, stdout=log, stderr=log)
    try:
        for _ in range(90):
            try:
                if post(port, "{ version }")["version"]:
                    break
            except OSError:
                time.sleep(1)
        assert backfill(port, PAIR_ASSETS, ["LUNA16|x_small", "LUNA25|x_small"]) == "COMPLETED_SUCCESS"
        assert backfill(port, ("evaluation_splits", "mode_report"), ["x_small"]) == "COMPLETED_SUCCESS"
        found = post(port, "{ runsOrError { ... on Runs { results { status } } } }")["runsOrError"]["results"]
        assert len(found) >= 4
        assert {r["status"] for r in found} == {"SUCCESS"}
    finally:
        server.terminate()
        server.wait(40)
    assert (planned / "reports/x_small/report.html").exists()


@pytest.mark.slow
def test_nodmaisi_renders_a_pair_in_shards_and_says_what_it_takes(
    data_root: Path, planned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inserted, rendered by small random networks, cut and read; observed before: the estimate, after: what it took.

    Random weights draw no organs: the gates on their HU are opened, those on grid, range and air stay.
    """
    monkeypatch.setattr(quality, "BANDS", {})
    monkeypatch.setattr(quality, "LEAST_CONTRAST_HU", 0.0)
    rendering._TWINS.clear()
    weights = tiny_weights(tmp_path).nodmaisi_models_dir
    for name, value in (("SHARDS", "2"), ("DEVICE", "cpu"), ("RENDERERS", "nodmaisi")):
        monkeypatch.setenv(f"ITRIALSPACE_{name}", value)
    monkeypatch.setenv("NODMAISI_MODELS_DIR", str(weights))
    job = build_definitions(data_dir=data_root, output_dir=planned, workers=1).resolve_implicit_global_asset_job_def()
    partition = {"mode": MODE, "dataset": "LUNA25"}
    assets = ("inserted_masks", "nodmaisi/synthetic_cts", "nodmaisi/eval_slices", "nodmaisi/predictions/blob")
    keys = [dg.AssetKey(a.split("/")) for a in assets]
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance, partition_key=dg.MultiPartitionKey(partition), asset_selection=keys
        )
        events = list(result.all_events)
    (observed,) = [
        e.asset_observation_data.asset_observation
        for e in events
        if e.event_type_value == "ASSET_OBSERVATION" and e.asset_key.path[-1] == "synthetic_cts"
    ]
    assert {"estimated_seconds_a_case", "estimated_gpu_gib", "estimated_gpu_hours"} <= set(observed.metadata)
    made = {
        e.asset_key.to_user_string(): e.step_materialization_data.materialization.metadata
        for e in events
        if e.is_step_materialization
    }  # type: ignore[union-attr]
    assert made["nodmaisi/synthetic_cts"]["seconds_a_case"].value > 0
    assert len({e.step_key for e in events if e.step_key and "nodmaisi__synthetic_cts__shard[" in e.step_key}) == 2
    rejected = read_table(planned, "rejected_cases", stage="nodmaisi/synthetic_cts", partition=f"{MODE}/LUNA25")
    assert rejected.is_empty(), rejected["detail"].to_list()
    rows, inserted = (
        read_table(planned, "cts", source="nodmaisi", **partition),
        read_table(planned, "insertions", **partition),
    )
    assert set(rows["case_uid"]) == set(inserted["case_uid"])
    settings = load_settings(data_dir=data_root, output_dir=planned)
    hosts = dict(inserted.select("case_uid", "host_map_sha256").iter_rows())
    for row in rows.filter(~pl.col("is_lesion_free")).iter_rows(named=True):
        assert row["decoding"] == "32x32x20"
        ct, host = images.open_ct(settings, row), rendering.load_host_map(planned, hosts[row["case_uid"]])
        assert ct.same_grid(host) and (ct.array[host.array == 0] == -1000).all()
    assert read_table(planned, "slices", source="nodmaisi", **partition)["source"].unique().to_list() == ["nodmaisi"]
