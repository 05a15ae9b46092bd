"""Runs through Dagster itself: no value between steps, shards, and a backfill through GraphQL."""

import json
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from itrialspace_assets.definitions import build_definitions
from itrialspace_assets.store import read_table

from .conftest import ITS, its

MODE = "m02_size_detection_curve"
PAIR_ASSETS = ("inserted_masks", "tissue/synthetic_cts", "tissue/eval_slices", "tissue/predictions/blob")


class Refuse(dg.IOManager):
    """Fails when a step hands a value to another."""

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        raise AssertionError(f"a value left {context.step_key}")

    def load_input(self, context: dg.InputContext) -> object:
        raise AssertionError("a value was asked for")


@pytest.mark.slow
def test_a_pair_in_shards_passes_no_value_and_counts(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = its(
        "run", "--modes", "2", "--to", "plan", ITRIALSPACE_DATA_DIR=str(data_root), ITRIALSPACE_OUTPUT_DIR=str(tmp_path)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.setenv("ITRIALSPACE_SHARDS", "3")
    definitions = build_definitions(data_dir=data_root, output_dir=tmp_path, workers=1)
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
                assert {"dagster/row_count", "uri", "seconds", "peak_memory_mb", "anatomy"} <= set(values)
            assert "data:image/png" in metadata["tissue/synthetic_cts"]["picture"].value
            steps = {e.step_key for e in result.all_events if e.step_key}
            shards = [s for s in steps if "synthetic_cts__shard[" in s]
            assert (len(shards) > 1) == (expected == "computed")
        before = read_table(tmp_path, "cases", mode=MODE)
        config = {"ops": {"cohort_manifests": {"config": {"size": "paper"}}}}
        plan = [dg.AssetKey("cohort_manifests")]
        failed = job.execute_in_process(
            instance=instance, partition_key=MODE, asset_selection=plan, run_config=config, raise_on_error=False
        )
        assert not failed.success, "the size is run configuration, and this root has no donors for paper size"
        (event,) = [e for e in failed.all_events if e.is_step_failure]
        assert "no donor is left for case" in event.step_failure_data.user_failure_data.description  # type: ignore[union-attr]
        assert read_table(tmp_path, "cases", mode=MODE).equals(before)
        checks = {(c.asset_key.to_user_string(), c.check_name): c for c in result.get_asset_check_evaluations()}
        assert all(c.passed for c in checks.values())
        of_masks, of_cts = {"as_planned", "unchanged_voxels", "collisions"}, {"complete", "gates"}
        assert {n for _, n in checks} == {"registry", "rejected_share"} | of_masks | of_cts
        assert {c.partition for c in checks.values()} == {str(key)}


def post(port: int, query: str, **variables: Any) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"]  # type: ignore[no-any-return]


LAUNCH = """mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {
  ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } ... on InvalidSubsetError { message } } }"""
STATUS = "query($b: String!) { partitionBackfillOrError(backfillId: $b) { ... on PartitionBackfill { status numPartitions } } }"


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
def test_a_backfill_of_mode_2_and_its_report_from_the_ui(data_root: Path, tmp_path: Path) -> None:
    roots = {"ITRIALSPACE_DATA_DIR": str(data_root), "ITRIALSPACE_OUTPUT_DIR": str(tmp_path)}
    assert its("run", "--modes", "2", "--to", "plan", **roots).returncode == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    import os

    env = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"} | roots
    with (tmp_path / "ui.log").open("w") as log:
        server = subprocess.Popen([*ITS, "ui", "--port", str(port)], env=env, stdout=log, stderr=log)
    try:
        for _ in range(90):
            try:
                if post(port, "{ version }")["version"]:
                    break
            except OSError:
                time.sleep(1)
        datasets = ("DLCS24", "LUNA25", "LUNA16", "LUNGx", "LNDbv4", "NSCLCR", "IMDCT")
        assert backfill(port, PAIR_ASSETS, [f"{d}|{MODE}" for d in datasets]) == "COMPLETED_SUCCESS"
        assert backfill(port, ("evaluation_splits", "mode_report"), [MODE]) == "COMPLETED_SUCCESS"
        found = post(port, "{ runsOrError { ... on Runs { results { status } } } }")["runsOrError"]["results"]
        assert len(found) >= 9
        assert {r["status"] for r in found} == {"SUCCESS"}
    finally:
        server.terminate()
        server.wait(40)
    assert (tmp_path / "reports" / MODE / "report.html").exists()
