"""The case of a scan survives JSON, its hash covers every field, and the rows have the columns of their tables."""

from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import ValidationError

from itrialspace_assets.base.errors import CaseRejected
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.casework import workers
from itrialspace_assets.casework.cases import payload_hash
from itrialspace_assets.hosts import build as hosts
from itrialspace_assets.hosts import procedural
from itrialspace_assets.hosts.case import HostCase, HostNodule
from itrialspace_assets.hosts.rows import DonorRow, HostLobeRow, HostRow
from itrialspace_assets.hosts.store import prepare_scan
from itrialspace_assets.imaging.geometry import Volume, read_labels
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.profiles import build as profiles
from itrialspace_assets.profiles.registry import dataset as registered
from itrialspace_assets.records.store import read_table
from itrialspace_assets.records.tables import TABLES

CASE = HostCase(
    scan_uid="A/1",
    dataset="A",
    ct_id="1",
    person_uid="A/p",
    anatomy="procedural",
    age=61.5,
    sex=None,
    smoking="never",
    nodules=(
        HostNodule(nodule_uid="A/n", annotation_id="n", centre=(1.5, -2.0, 3.25), row=7),
        HostNodule(nodule_uid="A/m", annotation_id="m", centre=None, row=8),
    ),
)


def test_a_case_is_the_same_after_json() -> None:
    assert HostCase.model_validate(CASE.model_dump(mode="json")) == CASE
    with pytest.raises(ValidationError, match="ct_idd"):
        HostCase.model_validate(CASE.model_dump() | {"ct_idd": "1"})


def test_the_hash_covers_every_field() -> None:
    moved = CASE.nodules[0].model_copy(update={"centre": (1.5, -2.0, 3.5)})
    others = [
        CASE.model_copy(update={name: "x"}) for name in HostCase.model_fields if name not in ("age", "nodules")
    ] + [CASE.model_copy(update={"age": 62.0}), CASE.model_copy(update={"nodules": (moved, CASE.nodules[1])})]
    assert len({payload_hash(["1"], c) for c in [CASE, *others]}) == len(others) + 1


@pytest.mark.parametrize(("table", "row"), [("hosts", HostRow), ("host_lobes", HostLobeRow), ("donors", DonorRow)])
def test_a_row_has_the_columns_of_its_table(table: str, row: type) -> None:
    assert {f.name for f in fields(row)} == set(TABLES[table].schema)


def test_the_cases_of_a_dataset_are_its_scans(settings: Settings) -> None:
    profiles.build(settings, {"dataset": "DLCS24"})
    cases, absent = hosts.scan_cases(settings, "DLCS24")
    assert absent == []
    assert [c.uid for c in cases] == sorted(c.uid for c in cases)
    for case in cases:
        assert isinstance(case.payload, HostCase)
        assert HostCase.model_validate(case.payload.model_dump(mode="json")) == case.payload
        assert all(n.centre is not None for n in case.payload.nodules)
    assert sum(len(c.payload.nodules) for c in cases) > 0


def test_a_scan_without_a_map_is_rejected_at_once_and_made_when_the_map_is_there(
    own_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No worker, no line of the journal; the reason and its text are those of reading the file."""
    settings = load_settings(data_dir=own_root, output_dir=tmp_path / "out", workers=2)
    profiles.build(settings, {"dataset": "DLCS24"})
    folder = own_root / "masks" / "DLCS24" / "refined_seg"
    folder.rename(tmp_path / "away")
    with pytest.raises(CaseRejected) as read:
        read_labels(next(folder / p.name for p in sorted((tmp_path / "away").iterdir())))
    with monkeypatch.context() as no_worker:
        no_worker.setattr(workers, "_pool", lambda n: pytest.fail("a worker was started"))
        result = hosts.build(settings, {"dataset": "DLCS24"}, "r")
    scans = read_table(settings.output, "scan_lists", dataset="DLCS24").height
    assert (result.tables["hosts"], result.rejected, result.computed, result.retryable) == (0, scans, 0, 0)
    rejected = read_table(settings.output, "rejected_cases", stage="hosts", partition="DLCS24")
    assert set(rejected["reason"]) == {"missing_file"}
    assert rejected["detail"].sort()[0] == read.value.detail.removeprefix(f"{own_root}/")
    assert not list((settings.output / "work" / "hosts").rglob("*.jsonl"))
    (tmp_path / "away").rename(folder)
    cases, absent = hosts.scan_cases(settings, "DLCS24")
    assert (len(cases), absent) == (scans, [])


def test_procedural_donors_are_drawn_from_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procedural, "DIAMETERS_MM", procedural.DIAMETERS_MM[::5])  # a few sizes: large ones take long
    first = procedural.rows(42)
    assert procedural.rows(42) == first
    assert procedural.rows(43) != first
    assert len({r["nodule_uid"] for r in first}) == len(procedural.DIAMETERS_MM) * len(procedural.KINDS) * 5


def test_a_map_mirrored_left_to_right_is_no_host(settings: Settings, own_root: Path) -> None:
    """Its lobes have the right names on the wrong sides, so nodules would be planned into the wrong lung."""
    entry = registered(settings, "DLCS24")
    mine = load_settings(data_dir=own_root, output_dir=settings.output)
    profiles.build(mine, {"dataset": "DLCS24"})
    case = HostCase.model_validate(hosts.scan_cases(mine, "DLCS24")[0][0].payload)
    file = entry.organ_map(own_root, case.ct_id)
    labels = read_labels(file)
    file.unlink()
    write_volume(file, Volume(labels.array[::-1].copy(), labels.affine))
    with pytest.raises(CaseRejected, match=r"not_a_label_map.*anatomy of a chest") as error:
        prepare_scan(case, mine)
    assert file.name in str(error.value)
