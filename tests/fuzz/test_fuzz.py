"""Valid inputs damaged at random, 2,000 times: rejected by name, right, or flagged; never a crash."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from itrialspace_assets.base.errors import PlatformError
from itrialspace_assets.intake import importing
from itrialspace_assets.intake.importing import import_case
from itrialspace_assets.intake.own_dataset import own_dataset, write_tables
from itrialspace_assets.intake.own_files import refuse_same_series
from itrialspace_assets.profiles.load import load_profiles
from itrialspace_assets.profiles.registry import dataset

from . import damage
from .scan import at_root, case, lie, told, write_scan

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

Damage = Callable[[Path, np.random.Generator], bool]


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scan")
    write_scan(folder)
    return folder


def one_file(inner: Damage) -> Damage:
    """Damage to one file of a folder."""

    def change(folder: Path, rng: np.random.Generator) -> bool:
        files = sorted(folder.glob("*.dcm"))
        return inner(files[rng.integers(len(files))], rng)

    return change


NUMBERS = r"[-+\d.]+"
COORDINATES = r"<(xCoord|yCoord|imageZposition|inclusion)>[^<]*<"
#: File, CT and nodules of its import, how it is damaged, and how often.
KINDS: dict[str, tuple[str, str, tuple[Damage, ...], int]] = {
    "ct.nii.gz": ("ct.nii.gz", "mask.nii.gz", (damage.nifti,), 240),
    "organs.nii.gz": ("ct.nii.gz", "mask.nii.gz", (damage.nifti,), 260),
    "mask.nii.gz": ("ct.nii.gz", "mask.nii.gz", (damage.nifti,), 260),
    "series": (
        "series",
        "mask.nii.gz",
        (one_file(damage.dicom_bytes), one_file(damage.dicom_field), damage.series_geometry),
        220,
    ),
    "multiframe": ("multiframe", "mask.nii.gz", (one_file(damage.dicom_bytes), one_file(damage.dicom_field)), 120),
    "binary.dcm": ("series", "binary.dcm", (damage.dicom_bytes, damage.dicom_field, damage.seg_geometry), 160),
    "labelmap.dcm": ("series", "labelmap.dcm", (damage.dicom_bytes, damage.dicom_field, damage.seg_geometry), 120),
    "fractional.dcm": ("series", "fractional.dcm", (damage.dicom_bytes, damage.dicom_field, damage.seg_geometry), 120),
    "rt.dcm": ("series", "rt.dcm", (damage.dicom_bytes, damage.dicom_field), 200),
    "lidc.xml": ("series", "lidc.xml", (partial(damage.text, numbers=COORDINATES),), 140),
    "list.csv": ("series", "list.csv", (partial(damage.text, numbers=NUMBERS),), 110),
}


#: Tries of the profile table that an import writes.
TABLES = 50


def test_there_are_two_thousand() -> None:
    assert sum(tries for *_, tries in KINDS.values()) + TABLES == 2000


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_input_is_refused_right_or_flagged(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    ct, nodules, kinds, tries = KINDS[name]
    settings = at_root(tmp_path)
    whole = case(scan, {}, nodules, ct)
    truth = told(import_case(whole, settings))
    assert len(truth.nodules) == 2 and not truth.doubts, truth
    if name != ct:
        read = importing._read_ct(whole)
        monkeypatch.setattr(importing, "_read_ct", lambda _: read)  # it is not what is damaged
    monkeypatch.setattr(importing, "write_volume", lambda *_: "")  # what was read counts
    refused, lies, copy = 0, [], tmp_path / name
    for number in range(tries):
        rng = np.random.default_rng([len(name), number])
        shutil.rmtree(copy, ignore_errors=True)
        (shutil.copytree if (scan / name).is_dir() else shutil.copyfile)(scan / name, copy)
        try:
            known = kinds[number % len(kinds)](copy, rng)
        except damage.NOT_WRITTEN:
            continue
        try:
            asked = case(scan, {name: copy}, nodules, ct)
            refuse_same_series([asked], settings, own_dataset("MINE"))
            got = told(import_case(asked, settings))
        except PlatformError as error:
            refused += 1
            assert any(str(path) in str(error) for path in (copy, scan)), f"try {number}: {error}"
            continue
        if known and (what := lie(got, truth)):
            lies.append(f"try {number}: {what}")
    assert not lies, f"{len(lies)} lies:\n" + "\n".join(lies)
    assert refused > tries / 5


def test_a_damaged_profile_table_is_refused_or_right(scan: Path, tmp_path: Path) -> None:
    settings = at_root(tmp_path)
    out = import_case(case(scan, {}, "mask.nii.gz", "ct.nii.gz"), settings)
    write_tables(settings, "MINE", out.rows["profiles"], out.rows["scans"])
    entry = dataset(settings, "MINE")
    path = entry.profile_csv(settings.data)
    whole, refused, lies = path.read_bytes(), 0, []
    columns = ["coordX", "coordY", "coordZ", "lung_side", "nodule_vol_mm3", "lobe_name"]
    truth = set(load_profiles(path, entry, "real").profiles.select(columns).rows())
    assert len(truth) == 2
    for number in range(TABLES):
        path.write_bytes(whole)
        known = damage.text(path, np.random.default_rng([0, number]), NUMBERS)
        try:
            found = load_profiles(path, entry, "real").profiles
        except PlatformError as error:
            refused += 1
            assert path.name in str(error), f"try {number}: {error}"
            continue
        if known and set(found.select(columns).rows()) != truth:
            lies.append(f"try {number}: {found.select(columns).rows()}")
    assert not lies, lies
    assert refused > TABLES / 5


def test_equal_seeds_damage_equal_files(scan: Path, tmp_path: Path) -> None:
    """Written again, in another folder and second, every file has the same bytes."""
    write_scan(tmp_path)
    files = {p.relative_to(scan) for p in scan.rglob("*") if p.is_file()}
    assert files == {p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()}
    assert [str(name) for name in sorted(files) if (scan / name).read_bytes() != (tmp_path / name).read_bytes()] == []
