"""The graph as Dagster sees it, held against a snapshot; both locations; no value between steps."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.definitions import build_definitions
from itrialspace_assets.graph import build_graph, mermaid
from itrialspace_assets.orchestration.nodes import RELEASED, STAGES
from itrialspace_assets.orchestration.partitions import mapping
from itrialspace_assets.trials.files import mode_keys

SNAPSHOT = Path(__file__).with_name("graph_snapshot.json")


def describe(definitions: dg.Definitions) -> dict[str, Any]:
    graph = definitions.resolve_asset_graph()
    assets = {}
    for key in sorted(graph.get_all_asset_keys(), key=str):
        node = graph.get(key)
        mappings = {}
        for parent in sorted(node.parent_keys, key=str):
            found = node.partition_mappings.get(parent)
            named = getattr(found, "partition_dimension_name", None)
            mappings[parent.to_user_string()] = f"{type(found).__name__}({named})" if named else type(found).__name__
        partitions = node.partitions_def
        names = (
            [d.name for d in partitions.partitions_defs] if isinstance(partitions, dg.MultiPartitionsDefinition) else []
        )
        assets[key.to_user_string()] = {
            "group": node.group_name,
            "kinds": sorted(k.removeprefix("dagster/kind/") for k in node.tags if k.startswith("dagster/kind/")),
            "owners": list(node.owners),
            "deps": mappings,
            "partitions": names or ([] if partitions is None else partitions.get_partition_keys()),
            "checks": sorted(c.name for c in node.check_keys),
            "executable": node.is_executable,
        }
    jobs = sorted(j.name for j in definitions.resolve_all_job_defs() if not j.name.startswith("__"))
    return {
        "assets": assets,
        "jobs": jobs,
        "schedules": sorted(s.name for s in definitions.get_repository_def().schedule_defs),
        "sensors": sorted(s.name for s in definitions.get_repository_def().sensor_defs),
    }


def test_the_graph_is_as_it_was() -> None:
    """To accept a change: delete the snapshot, run this test twice, read the difference."""
    found = json.loads(json.dumps(describe(build_definitions())))
    if not SNAPSHOT.exists():
        SNAPSHOT.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        pytest.fail("wrote a new snapshot; read it, then run again")
    assert found == json.loads(SNAPSHOT.read_text())


def test_every_edge_between_different_partitions_names_its_mapping() -> None:
    graph = build_definitions().resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        for parent in node.parent_keys:
            upstream = graph.get(parent)
            if upstream.partitions_def is not None and upstream.partitions_def != node.partitions_def:
                assert node.partition_mappings.get(parent) is not None, f"{parent} -> {key}"
    with pytest.raises(ValueError, match="no natural mapping"):
        mapping(("mode",), ("dataset",))


@pytest.mark.parametrize("location", ["cpu", "gpu", None])
def test_each_location_loads_and_holds_stubs_for_the_other(
    location: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "readers.yaml"
    config.write_text("readers: {blob_gpu: {kind: blob, location: gpu, options: {threshold_hu: 300, marks: 5}}}")
    monkeypatch.setenv("ITRIALSPACE_READERS_CONFIG", str(config))
    definitions = build_definitions(location=location, readers_config=config)
    dg.Definitions.validate_loadable(definitions)
    found = describe(definitions)["assets"]
    graph = build_graph(load_settings(readers_config=config))
    told = location != "gpu"  # platform_health
    assert len(found) == len(graph.nodes) + len(graph.sources) + len(RELEASED) + told
    assert found["tissue/predictions/blob_gpu"]["executable"] == (location != "cpu")
    assert found["tissue/predictions/blob"]["executable"] == (location != "gpu")
    gpu = found["tissue/predictions/blob_gpu"]
    assert (gpu["partitions"], list(gpu["deps"])) == (
        ["dataset", "mode"],
        [] if location == "cpu" else ["tissue/eval_slices", "tissue/synthetic_cts"],
    )
    assert bool(gpu["checks"]) == (location != "cpu")


def test_a_gpu_shard_asks_kubernetes_for_a_gpu(tmp_path: Path) -> None:
    config = tmp_path / "readers.yaml"
    config.write_text("readers: {blob_gpu: {kind: blob, location: gpu, options: {threshold_hu: 300, marks: 5}}}")
    job = build_definitions(readers_config=config).resolve_implicit_global_asset_job_def()
    inner = {d.name: d.tags for g in job.graph.node_defs if hasattr(g, "node_defs") for d in g.node_defs}
    request = json.loads(inner["tissue__predictions__blob_gpu__shard"]["dagster-k8s/config"])
    assert request["container_config"]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "dagster-k8s/config" not in inner["tissue__predictions__blob__shard"]


def test_a_part_of_the_stages_loads_alone() -> None:
    dg.Definitions.validate_loadable(build_definitions(stages=("slice", "read")))
    with pytest.raises(ConfigError, match="render"):
        build_definitions(stages=("render",))
    with pytest.raises(ConfigError, match="moon"):
        build_definitions(location="moon")
    assert set(STAGES) == {n.step.stage for n in build_graph(load_settings()).nodes}


def test_user_modes_and_datasets_are_appended(tmp_path: Path) -> None:
    text = (
        Path("itrialspace_assets/trials/modes/m02_size_detection_curve.yaml")
        .read_text()
        .replace("m02_size_detection_curve", "x_mine")
    )
    (tmp_path / "x_mine.yaml").write_text(text)
    keys = describe(build_definitions(trials_dir=tmp_path))["assets"]["cohort_manifests"]["partitions"]
    assert len(keys) == len(mode_keys(load_settings())) + 1
    assert keys[-1] == "x_mine"


def test_the_picture_in_the_readme_is_the_graph() -> None:
    assert mermaid(load_settings()) in Path("README.md").read_text(encoding="utf-8")


def test_overrides_reach_the_steps(tmp_path: Path) -> None:
    workspace = build_definitions(seed=7, workers=1, output_dir=tmp_path).resources["workspace"]
    settings = workspace.settings()
    assert (settings.seed, settings.workers, settings.output) == (7, 1, tmp_path)
