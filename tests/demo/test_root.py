"""The procedural data root: what it holds, that its seed decides its bytes, and what it refuses."""

import json
from pathlib import Path

import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import hash_file
from itrialspace_assets.base.settings import PROCEDURAL_MARK, Settings, load_settings
from itrialspace_assets.demo.case import PhantomCase
from itrialspace_assets.demo.root import NOTE, make_host, make_root, plan_hosts
from itrialspace_assets.imaging.anatomy import NODULE, SIZE_BUCKETS
from itrialspace_assets.imaging.geometry import read_labels, read_volume
from itrialspace_assets.profiles.registry import datasets

COARSE = (5.0, 5.0, 6.0)
NAMES = ("DLCS24", "LUNA25", "LUNA16", "LUNGx", "LNDbv4", "NSCLCR", "IMDCT")


def host(name: str, seed: int = 42) -> PhantomCase:
    """The first host of a dataset."""
    return next(h for h in plan_hosts(NAMES, 2, seed, COARSE) if h.dataset == name)


def at(folder: Path) -> Settings:
    return load_settings(data_dir=folder, output_dir=folder)


def test_the_plan_has_every_bucket_and_two_scans_of_one_person() -> None:
    plan = plan_hosts(NAMES, 5, 42)
    assert len({h.uid for h in plan}) == 35
    assert {n.bucket for h in plan for n in h.nodules} == set(SIZE_BUCKETS)
    assert {n.label for h in plan for n in h.nodules} == {0, 1}
    assert all(len(h.nodules) == 1 for h in plan if h.dataset in ("IMDCT", "NSCLCR"))
    assert [h.person for h in plan if h.dataset == "LUNA25"] == [0, 1, 2, 3, 0]
    assert [h.person for h in plan if h.dataset == "DLCS24"] == [0, 1, 2, 3, 4]


def test_the_plan_names_the_published_datasets_in_their_order() -> None:
    assert tuple(datasets(load_settings()))[:7] == NAMES


def test_a_case_survives_the_journal() -> None:
    case = host("LUNA16")
    assert PhantomCase.model_validate(json.loads(json.dumps(case.model_dump(mode="json")))) == case


def test_a_seed_decides_a_hosts_bytes(tmp_path: Path) -> None:
    first = make_host(host("IMDCT"), at(tmp_path / "a"))
    assert make_host(host("IMDCT"), at(tmp_path / "b")) == first
    other = make_host(host("IMDCT", seed=43), at(tmp_path / "c"))
    assert set(other.files) == set(first.files)
    assert all(other.files[name] != sha for name, sha in first.files.items())


def test_a_host_has_its_files_and_rows(tmp_path: Path) -> None:
    case = host("LUNA16")
    made = make_host(case, at(tmp_path))
    entry = datasets(load_settings())["LUNA16"]
    organs = read_labels(entry.organ_map(tmp_path, case.ct_id))
    ct = read_volume(tmp_path / "raw_ct/LUNA16" / f"{case.ct_id}.nii.gz")
    assert organs.same_grid(ct)
    assert tuple(organs.spacing) == COARSE
    assert (organs.array == NODULE).any()
    assert len(made.rows["profiles"]) == len(case.nodules)
    for row in made.rows["profiles"]:
        x, y, z = (round(v) for v in organs.to_voxel([row["coordX"], row["coordY"], row["coordZ"]]))
        assert organs.array[x, y, z] == NODULE
    (meta,) = made.rows["meta"]
    assert (meta["ct"], meta["nodules"], meta["note"]) == (case.ct_id, len(case.nodules), NOTE)


def test_a_foreign_folder_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    own = tmp_path / "profiles" / "MINE_nodule_profiles.csv"
    own.write_text("mine")
    with pytest.raises(ConfigError, match="expected an empty folder, found a data root that this command did not make"):
        make_root(tmp_path, hosts=1, spacing=COARSE)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [own]


def test_a_root_of_other_options_is_refused(tmp_path: Path) -> None:
    (tmp_path / PROCEDURAL_MARK).write_text(json.dumps({"options": {"seed": 1}, "files": {}}))
    with pytest.raises(ConfigError, match="holds a procedural root of other options"):
        make_root(tmp_path, hosts=1, spacing=COARSE)


@pytest.mark.parametrize("hosts", [0, 201])
def test_the_number_of_hosts_is_limited(tmp_path: Path, hosts: int) -> None:
    with pytest.raises(ConfigError, match=f"--hosts: expected 1 to 200, got {hosts}"):
        make_root(tmp_path, hosts=hosts)


def test_a_whole_root_is_made_once_and_mended(tmp_path: Path) -> None:
    def make() -> bool:
        return make_root(tmp_path, hosts=1, spacing=COARSE, workers=1)

    assert make() is True
    mark = (tmp_path / PROCEDURAL_MARK).read_bytes()
    content = json.loads(mark)
    assert (content["anatomy"], content["note"]) == ("procedural", NOTE)
    written = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert set(content["files"]) == {n for n in written if not n.startswith("work/")} - {PROCEDURAL_MARK}
    assert sum(n.startswith("profiles/") for n in written) == sum(n.startswith("meta/") for n in written) == len(NAMES)
    assert make() is False
    damaged = tmp_path / next(n for n in content["files"] if n.startswith("raw_ct/"))
    damaged.write_bytes(b"")
    assert make() is True
    assert hash_file(damaged) == content["files"][str(damaged.relative_to(tmp_path))]
    assert (tmp_path / PROCEDURAL_MARK).read_bytes() == mark
