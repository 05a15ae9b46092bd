"""A scan to measure survives the way through JSON to its worker."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from itrialspace_assets.casework.cases import payload_hash
from itrialspace_assets.profiles.case import KnownNodule, MeasureCase, PixelFrame

PIXEL = PixelFrame(frame="LPS", z_unit="slice", slices_from="superior")
CASE = MeasureCase(
    ct_id="a",
    organ=Path("masks/a_seg.nii.gz"),
    nodules=Path("masks/a_mask.nii.gz"),
    known=(
        KnownNodule(id="a_1", centre=(1.5, -2.0, 3.0), diameter=6.5),
        KnownNodule(id="a_2", mask=Path("a_2.nii.gz"), centre=(10, 20, 3), pixel=PIXEL),
    ),
)


def test_a_case_is_equal_after_json() -> None:
    assert MeasureCase.model_validate(json.loads(json.dumps(CASE.model_dump(mode="json")))) == CASE


def test_every_part_of_a_case_is_in_its_hash() -> None:
    hashes = {payload_hash([], CASE)}
    for change in ({"ct_id": "b"}, {"organ": Path("other")}, {"nodules": None}, {"known": CASE.known[:1]}):
        hashes.add(payload_hash([], CASE.model_copy(update=change)))
    assert len(hashes) == 5


def test_an_unknown_frame_is_refused() -> None:
    with pytest.raises(ValidationError, match="'LPS' or 'RAS'"):
        PixelFrame(frame="XYZ", z_unit="mm", slices_from="inferior")
