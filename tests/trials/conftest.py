"""A root of the published size (13,140 procedural profiles), and small candidate pools made by hand."""

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest

from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.demo.paper import write_hosts_and_donors, write_root
from itrialspace_assets.index import build as index_build
from itrialspace_assets.profiles import build as profiles_build
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.records.store import read_table
from itrialspace_assets.trials.compose import Manifest, compose
from itrialspace_assets.trials.files import load_trial
from itrialspace_assets.trials.model import Trial
from itrialspace_assets.trials.pool import CandidatePool, make_pool
from itrialspace_assets.trials.resolve import Resolved, resolve
from itrialspace_assets.trials.sites import sites
from itrialspace_assets.trials.sources import pool_of

LOBES = ("left_lung_upper_lobe", "right_lung_lower_lobe")


@dataclass(frozen=True)
class Paper:
    """The root, what trials draw from, and a way to plan; a plan that was asked for before is the one made then."""

    settings: Settings
    pool: CandidatePool
    index: pl.DataFrame
    planned: dict[tuple[object, ...], tuple[Resolved, Manifest]] = field(default_factory=dict)

    def resolve(self, mode: str, size: str = "paper", *overrides: str) -> Resolved:
        return resolve(load_trial(self.settings, mode), size, overrides, list(datasets(self.settings))[:7])

    def plan(self, mode: str, size: str = "paper", *overrides: str, relax: bool = False) -> tuple[Resolved, Manifest]:
        asked = (mode, size, relax, *overrides)
        if asked not in self.planned:
            resolved = self.resolve(mode, size, *overrides)
            made = compose(resolved, self.pool, sites(self.settings), 42, "procedural", relax=relax)
            self.planned[asked] = resolved, made
        return self.planned[asked]


@pytest.fixture(scope="session")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Paper:
    folder: Path = tmp_path_factory.mktemp("paper")
    settings = load_settings(data_dir=folder / "data", output_dir=folder / "out", size="paper", workers=1)
    write_root(settings.data)
    for name in list(datasets(settings))[:7]:
        profiles_build.build(settings, {"dataset": name})
    index_build.build(settings, {})
    write_hosts_and_donors(settings)
    return Paper(settings, pool_of(settings)[0], read_table(settings.output, "nodules"))


def small_pool(people: int = 30, *, reverse: bool = False, dataset: str = "A") -> CandidatePool:
    """Donors of 4 to 39 mm in two lobes, half of them malignant; one host a person, men and women of 50 to 79."""
    ids = [f"{dataset}/{i:03d}" for i in range(people)]
    rows = range(people)
    diameters = [4 + 35 * i / (people - 1) for i in rows]
    nodules = pl.DataFrame(
        {
            "nodule_uid": ids,
            "label": [i % 2 for i in rows],
            "label_source": ["histopathology"] * people,
            "population_type": ["screening"] * people,
            "annotation_id": ids,
            "scan_uid": [f"{i}s" for i in ids],
            "person_uid": [f"{dataset}p{i}" for i in rows],
            "reinsertion_lung_zone": [("upper_zone", "lower_zone")[i % 2] for i in rows],
            "central_peripheral": [("central", "peripheral")[i % 2] for i in rows],
            "reinsertion_pleural_dist_mm": [float(i) for i in rows],
            "reinsertion_airway_dist_mm": [float(i) for i in rows],
            "n_nodules_in_patient": [1] * people,
            "anatomy": ["real"] * people,
            "coordX": [0.0] * people,
            "coordY": [0.0] * people,
            "coordZ": [0.0] * people,
            "reinsertion_lobe": [LOBES[i // 2 % 2] for i in rows],
        }
    )
    donors = pl.DataFrame(
        {
            "nodule_uid": ids,
            "dataset": [dataset] * people,
            "scan_uid": [f"{i}s" for i in ids],
            "person_uid": [f"{dataset}p{i}" for i in rows],
            "diameter_mm": diameters,
            "lobe": [LOBES[i // 2 % 2] for i in rows],
            **{f"{a}_pct": [float(20 + i) for i in rows] for a in ("cc", "ml", "ap")},
        }
    )
    hosts = pl.DataFrame(
        {
            "scan_uid": [f"{i}s" for i in ids],
            "dataset": [dataset] * people,
            "person_uid": [f"{dataset}p{i}" for i in rows],
            "age": [50.0 + i % 30 for i in rows],
            "sex": [("M", "F")[i % 2] for i in rows],
            "smoking": [("current", "former", None)[i % 3] for i in rows],
        }
    )
    lobes = pl.DataFrame([{"scan_uid": f"{i}s", "lobe": lobe, "fit_radius_mm": 30.0} for i in ids for lobe in LOBES])
    frames = (nodules, donors, hosts, lobes)
    return make_pool(*(f.reverse() for f in frames) if reverse else frames)


def small_trial(
    *,
    arms: list[dict[str, object]] | None = None,
    at_size: dict[str, object] | None = None,
    trial: dict[str, object] | None = None,
    **cohort: object,
) -> Trial:
    return Trial.model_validate(
        {
            "mode": "x_test",
            "trial": "test",
            "question": "?",
            "planner": "sampled",
            "cohort": cohort,
            "sizes": {"demo": at_size or {"n_cases": 4}},
            "arms": arms or [{"name": "a", "published": "a", "varies": "none", "level": "none"}],
            **(trial or {}),
        }
    )


def small_plan(
    n: int, pool: CandidatePool | None = None, *, relax: bool = False, trial: Trial | None = None, **cohort: object
) -> Manifest:
    made = trial or small_trial(**cohort)
    resolved = resolve(made, "demo", (f"cohort.n_cases={n}",), ["A"])
    return compose(resolved, pool or small_pool(), sites(load_settings()), 42, "real", relax=relax)
