"""Dagster and ``its status`` agree on what is out of date, whatever is changed: settings, files, weights, options."""

import dataclasses
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from itrialspace_assets.base.fingerprints import hash_file
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.casework.steps import last_record, partition_name
from itrialspace_assets.definitions import build_definitions
from itrialspace_assets.drive import RunChoice, drive
from itrialspace_assets.graph import build_graph
from itrialspace_assets.orchestration.instance import open_instance
from itrialspace_assets.orchestration.lineage import up_to_date, upstream_partitions
from itrialspace_assets.orchestration.nodes import STAGES
from itrialspace_assets.orchestration.observe import report_sources
from itrialspace_assets.orchestration.staleness import ready
from itrialspace_assets.synthesis import renderers

MODE, DATASETS = "x_fresh", ("DLCS24", "LUNA16")
WANTED = RunChoice((MODE,), DATASETS, STAGES[: STAGES.index("report") + 1])
TRIAL = """
mode: x_fresh
trial: fresh
question: What is out of date?
planner: sampled
cohort:
  hosts: {datasets: [DLCS24, LUNA16], max_uses: null}
  donors: {max_uses: null}
arms: [{name: all, published: fresh, varies: none, level: none}]
sizes: {demo: {n_cases: 3}, paper: {n_cases: 4}}
"""
READERS = "readers: {{blob: {{kind: blob, options: {{threshold_hu: {threshold}, marks: 5}}}}}}"
#: What a partition is called in both views.
Name = tuple[str, str]


@dataclass
class World:
    """A finished small run: its settings and files that a test may change and put back."""

    settings: Settings
    weights: Path

    def change(self, **more: Any) -> Settings:
        return self.settings.model_copy(update=more)


def ledger(settings: Settings) -> set[Name]:
    """Partitions that were made and are out of date, as ``its status`` counts them."""
    graph = build_graph(settings)
    return {
        (n.step.name, partition_name(p))
        for n in graph.nodes
        for p in upstream_partitions(n.step.dims, {}, {"mode": (MODE,), "dataset": DATASETS})
        if last_record(settings, n.step, p) is not None and not up_to_date(graph, n, settings, p)
    }


def dagster(settings: Settings) -> set[Name]:
    """The same, as the web page shows them, once the sources are observed."""
    graph, definitions = build_graph(settings), build_definitions(settings=settings)
    found = set()
    with open_instance(settings) as instance:
        report_sources(instance, graph, settings, [s.key for s in graph.sources])
        resolver = CachingStaleStatusResolver(
            instance, definitions.resolve_asset_graph(), LoadingContextForTest(instance)
        )
        for node in graph.nodes:
            for part in upstream_partitions(node.step.dims, {}, {"mode": (MODE,), "dataset": DATASETS}):
                key: Any = dg.MultiPartitionKey(part) if len(part) == 2 else next(iter(part.values()), None)
                if resolver.get_status(dg.AssetKey(list(node.step.key)), key) == StaleStatus.STALE:
                    found.add((node.step.name, partition_name(part)))
    return found


@pytest.fixture(scope="module")
def world(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The tissue renderer is given a file of weights here, so that weights can change without a GPU."""
    folder = tmp_path_factory.mktemp("fresh")
    shutil.copytree(data_root, folder / "data", copy_function=os.link)
    (folder / "trials").mkdir()
    (folder / "trials" / "x_fresh.yaml").write_text(TRIAL)
    (folder / "readers.yaml").write_text(READERS.format(threshold=300))
    weights = folder / "weights.pt"
    weights.write_bytes(b"one")
    patch = pytest.MonkeyPatch()
    for name in [n for n in os.environ if n.startswith("ITRIALSPACE_") or n == "DAGSTER_HOME"]:
        patch.delenv(name)
    weighted = dataclasses.replace(
        renderers.RENDERERS["tissue"], has_weights=True, locked_weights=lambda settings: hash_file(weights)
    )
    patch.setitem(renderers.RENDERERS, "tissue", weighted)
    settings = load_settings(
        data_dir=folder / "data",
        output_dir=folder / "out",
        workers=1,
        trials_dir=folder / "trials",
        readers_config=folder / "readers.yaml",
    )
    assert not drive(settings, WANTED)
    yield World(settings, weights)
    patch.undo()


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.unlink()  # a hard link of a shared file
    path.write_text(text.replace(old, new))


def other_reader(world: World) -> Settings:
    config = world.settings.data.parent / "readers2.yaml"
    config.write_text(READERS.format(threshold=200))
    return world.change(readers_config=config)


def other_trial(world: World) -> Settings:
    assert world.settings.trials_dir
    rewrite(world.settings.trials_dir / "x_fresh.yaml", "out of date?", "stale?")
    return world.settings


def other_weights(world: World) -> Settings:
    world.weights.write_bytes(b"two!")
    return world.settings


def other_mask(world: World) -> Settings:
    mask = sorted((world.settings.data / "masks" / "LUNA16" / "refined_seg").glob("*.nii.gz"))[0]
    data = mask.read_bytes()
    mask.unlink()
    mask.write_bytes(data)
    os.utime(mask, (1, 1))
    return world.settings


def other_profile(world: World) -> Settings:
    table = world.settings.data / "profiles" / "DLCS24_nodule_profiles.csv"
    lines = table.read_text().splitlines()
    at = lines[0].split(",").index("pleural_distance_mm")
    cells = lines[1].split(",")
    old = cells[at]
    rewrite(table, f",{old},", f",{float(old) + 0.5:g},")
    return world.settings


PAIRS = {(f"tissue/{name}", f"{MODE}/{d}") for name in ("synthetic_cts",) for d in DATASETS}
PLANNED = {("cohort_manifests", MODE), ("trial_feasibility", MODE)}
CHANGES: dict[str, tuple[Callable[[World], Settings], set[Name]]] = {
    "size": (lambda w: w.change(size="paper"), PLANNED),
    "seed": (lambda w: w.change(seed=43), PLANNED | PAIRS | {("procedural_donors", "all")}),
    "set": (lambda w: w.change(overrides="cohort.n_cases=2"), PLANNED),
    "relax": (lambda w: w.change(relax=True), PLANNED),
    "placement": (lambda w: w.change(placement="compat"), {("inserted_masks", f"{MODE}/{d}") for d in DATASETS}),
    "reader option": (other_reader, {("tissue/predictions/blob", f"{MODE}/{d}") for d in DATASETS}),
    "trial file": (other_trial, PLANNED),
    "weights": (other_weights, PAIRS),
    "mask": (other_mask, {("hosts", "LUNA16"), ("nodule_index", "all")}),
    "profile row": (other_profile, {("profiles", "DLCS24")}),
}
#: What follows changes files.
LAST_SETTING = "reader option"


@pytest.mark.slow
def test_both_views_agree_after_each_change(world: World) -> None:
    """One change after the other, those of files on top of those before; then everything is made again."""
    assert ledger(world.settings) == dagster(world.settings) == set()
    so_far: set[Name] = set()
    for name, (apply, expected) in CHANGES.items():
        settings = apply(world)
        seen = ledger(settings)
        assert expected <= seen, name
        assert seen == dagster(settings), name
        asked = {
            (s.node.step.name, partition_name(s.partition)) for s in ready(build_graph(settings), settings, STAGES)
        }
        assert asked <= seen, name
        if name == "reader option":
            assert asked == {n for n in seen if n[0].endswith("predictions/blob")}, "that reader's partitions alone"
            assert len(asked) == 2 * len(DATASETS)
        if settings is world.settings:  # a file: it stays changed
            so_far |= expected
            assert so_far <= seen
        else:
            assert ledger(world.settings) == so_far, f"{name} put back"
        if name == LAST_SETTING:
            assert dagster(world.settings) == so_far, "all put back"
    world.settings = world.change(split="second")  # other weights make other images: the frozen list stays as it was
    assert not drive(world.settings, WANTED)
    assert ledger(world.settings) == dagster(world.settings) == set(), "made again"


@pytest.mark.slow
def test_a_run_that_chooses_its_own_size_is_out_of_date_in_both_views(world: World) -> None:
    job = build_definitions(settings=world.settings).resolve_implicit_global_asset_job_def()
    with open_instance(world.settings) as instance:
        done = job.execute_in_process(
            instance=instance,
            partition_key=MODE,
            asset_selection=[dg.AssetKey("cohort_manifests")],
            run_config={"ops": {"cohort_manifests": {"config": {"set": ["cohort.n_cases=2"]}}}},
        )
        assert done.success
    seen = ledger(world.settings)
    assert ("cohort_manifests", MODE) in seen
    assert seen == dagster(world.settings)
    assert not drive(world.settings, WANTED)
    assert ledger(world.settings) == dagster(world.settings) == set()
