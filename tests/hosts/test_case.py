"""The case of a scan survives JSON, its hash covers every field, and the rows have the columns of their tables."""

from dataclasses import fields

import pytest
from pydantic import ValidationError

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.cases import payload_hash
from itrialspace_assets.hosts import build as hosts
from itrialspace_assets.hosts import procedural
from itrialspace_assets.hosts.case import HostCase, HostNodule
from itrialspace_assets.hosts.rows import DonorRow, HostLobeRow, HostRow
from itrialspace_assets.profiles import build as profiles
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
    cases = hosts.scan_cases(settings, "DLCS24")
    assert [c.uid for c in cases] == sorted(c.uid for c in cases)
    for case in cases:
        assert isinstance(case.payload, HostCase)
        assert HostCase.model_validate(case.payload.model_dump(mode="json")) == case.payload
        assert all(n.centre is not None for n in case.payload.nodules)
    assert sum(len(c.payload.nodules) for c in cases) > 0


def test_procedural_donors_are_drawn_from_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procedural, "DIAMETERS_MM", procedural.DIAMETERS_MM[::5])  # a few sizes: large ones take long
    first = procedural.rows(42)
    assert procedural.rows(42) == first
    assert procedural.rows(43) != first
    assert len({r["nodule_uid"] for r in first}) == len(procedural.DIAMETERS_MM) * len(procedural.KINDS) * 5
