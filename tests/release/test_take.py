"""A handmade release of a plan and its masks is used, or refused by name; a refused one leaves nothing behind."""

import json
from pathlib import Path
from typing import Any

import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import digest, hash_file, sha256_bytes
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.casework.steps import Result, Step, contracts_of, is_current, read_record, record
from itrialspace_assets.release.partitions import NAME
from itrialspace_assets.release.parts import SUMS
from itrialspace_assets.release.take import Taken, chosen_parts, take_release

MODE = "m02_size_detection_curve"
PLAN, HOSTS, MASKS = f"cohort_manifests|{MODE}", "hosts|LUNGx", f"inserted_masks|{MODE}/LUNGx"
TABLE, STORED = f"tables/balance/{MODE}/part.parquet", "store/masks/aa/aa.nii.gz"
MASK = "inserted_masks/mode2_size_detection_curve/size/a_mask.nii.gz"
PLANNED = Step(("cohort_manifests",), "plan", ("mode",), "1")
INSERT = Step(("inserted_masks",), "insert", ("mode", "dataset"), "of another code version")


def partition(label: str, files: dict[str, str], reads: dict[str, str]) -> dict[str, Any]:
    contracts = contracts_of(["balance"])
    version = digest([files, contracts], 32)
    made = {"label": label, "code_version": "1", "data_version": version, "contracts": contracts}
    return made | {"tables": {"balance": 0}, "files": files, "beside": {}, "reads": reads, "cases": 3} | {
        "rejected": 1,
        "note": "",
    }  # fmt: skip


def describe(root: Path, *partitions: dict[str, Any]) -> None:
    """Write ``partitions.json`` and ``SHA256SUMS`` as they should be for the files that are there."""
    text = json.dumps({"format": 1, "anatomy": "procedural", "partitions": partitions})
    (root / NAME).write_text(text)
    files = sorted(p for p in root.rglob("*") if p.is_file() and p.name != SUMS)
    (root / SUMS).write_text("".join(f"{hash_file(p)}  {p.relative_to(root)}\n" for p in files))


@pytest.fixture
def plan() -> dict[str, Any]:
    return partition(PLAN, {TABLE: sha256_bytes(b"rows")}, {})


@pytest.fixture
def release(tmp_path: Path, plan: dict[str, Any]) -> Path:
    """A plan with one table, and a mask that lies under its published name alone."""
    root = tmp_path / "release"
    for name, content in ((TABLE, b"rows"), (MASK, b"voxels")):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(content)
    describe(root, plan, partition(MASKS, {STORED: sha256_bytes(b"voxels")}, {PLAN: plan["data_version"], HOSTS: "h"}))
    return root


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out")


def take(settings: Settings, root: Path, parts: str = "all") -> Taken:
    return take_release(settings, root, chosen_parts(parts), {PLAN, MASKS})


def refused(settings: Settings, root: Path, parts: str = "all") -> str:
    with pytest.raises(ConfigError) as error:
        take(settings, root, parts)
    left = [p for p in settings.output.rglob("*") if p.is_file() and "fingerprints.sqlite" not in p.name]
    assert not left, "a refused release leaves nothing behind"
    return str(error.value)


def test_a_taken_partition_is_current_while_it_is_intact_and_agrees(settings: Settings, release: Path) -> None:
    taken = take(settings, release)
    assert (taken.labels, taken.by_part) == ((PLAN, MASKS), {"manifests": 1, "inserted_masks": 1})
    assert (settings.output / STORED).samefile(release / MASK), "a hard link, found by its hash"
    held = read_record(settings, MASKS)
    assert held is not None
    assert (held["released"], held["reused"], held["rejected"]) == (True, 3, 1)
    assert settings.anatomy == "procedural"
    part = {"mode": MODE, "dataset": "LUNGx"}
    version = held["reads"][PLAN]
    assert is_current(settings, INSERT, part, {PLAN: version, HOSTS: "made later"})
    assert is_current(settings, INSERT, part, {PLAN: ""})
    assert not is_current(settings, INSERT, part, {PLAN: "planned again"})
    (settings.output / STORED).unlink()
    assert not is_current(settings, INSERT, part, {PLAN: version})


def test_what_is_missing_or_changed_is_named(settings: Settings, release: Path) -> None:
    (release / TABLE).unlink()
    (release / MASK).write_bytes(b"other")
    told = refused(settings, release)
    assert f"{PLAN}: {TABLE}: missing" in told
    assert f"{MASKS}: {MASK}: changed" in told
    assert "slices: the release holds none" in refused(settings, release, "manifests,slices")
    with pytest.raises(ConfigError, match=r"--use: expected all or some of profiles, .* got volumes"):
        chosen_parts("manifests,volumes")


def test_masks_that_disagree_with_their_manifest_are_refused(
    settings: Settings, release: Path, plan: dict[str, Any]
) -> None:
    assert f"{MASKS}: disagrees with {PLAN}" in refused(settings, release, "inserted_masks"), "no manifest at all"
    describe(release, plan, partition(MASKS, {STORED: sha256_bytes(b"voxels")}, {PLAN: "another"}))
    assert f"{MASKS}: disagrees with {PLAN}: it was made from version another" in refused(settings, release)
    describe(release, plan | {"data_version": "another"}, partition(MASKS, {}, {PLAN: "another"}))
    assert f"{PLAN}: {NAME} contradicts itself" in refused(settings, release)
    describe(release, plan | {"contracts": {"balance": "old"}})
    assert f"{PLAN}: its tables are of another contract" in refused(settings, release)


def test_a_folders_own_partition_is_not_overwritten(settings: Settings, release: Path, plan: dict[str, Any]) -> None:
    own = settings.output / TABLE
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    with pytest.raises(ConfigError, match=r"tables/balance/.*: the output folder holds another"):
        take(settings, release)
    own.write_bytes(b"rows")
    record(settings, PLANNED, {"mode": MODE}, {}, Result({"balance": 0}, written=(own,)))
    assert take(settings, release).labels == (MASKS,), "the same plan was made here: it stays our own"
    record(settings, PLANNED, {"mode": MODE}, {}, Result({"balance": 0}))
    with pytest.raises(ConfigError, match=f"{PLAN.replace('|', '.')}: the output folder holds its own"):
        take(settings, release)


@pytest.mark.parametrize("path", ["store/../../outside", "/etc/hostname", "work/accepted/x.json", "dagster/x"])
def test_a_path_that_leads_elsewhere_is_refused(settings: Settings, release: Path, path: str) -> None:
    describe(release, partition(PLAN, {path: sha256_bytes(b"voxels")}, {}))
    assert f"{PLAN}: {path}: expected a path below tables, store" in refused(settings, release)


def test_a_link_out_of_the_release_is_refused(settings: Settings, release: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"voxels")
    (release / MASK).unlink()
    (release / MASK).symlink_to(secret)
    assert f"{MASK}: leads out of the release" in refused(settings, release)


def test_a_published_release_gives_its_profile_tables_alone(settings: Settings, release: Path) -> None:
    (release / NAME).unlink()
    (release / SUMS).unlink()
    (release / "profiles").mkdir()
    (release / "profiles/LUNGx_nodule_profiles.csv").write_text("table")
    assert "the published files alone state no seeds" in refused(settings, release, "profiles,inserted_masks")
    taken = take(settings, release, "profiles")
    assert (taken.labels, taken.tables) == ((), ("LUNGx_nodule_profiles.csv",))
    assert (settings.data / "profiles/LUNGx_nodule_profiles.csv").read_text() == "table"
    (settings.data / "profiles/LUNGx_nodule_profiles.csv").write_text("mine")
    with pytest.raises(ConfigError, match=r"the data root has another LUNGx_nodule_profiles\.csv"):
        take(settings, release, "profiles")


def test_nothing_procedural_comes_into_a_root_of_real_people(settings: Settings, release: Path) -> None:
    (settings.data / "profiles").mkdir(parents=True)
    assert "is of real anatomy, the release of procedural" in refused(settings, release)
    assert settings.anatomy == "real"
