"""Procedural profiles at the published size: counts, defects, and that the seed decides every value."""

import polars as pl

from itrialspace_assets.base.fingerprints import sha256_bytes
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.demo.paper import make_profiles
from itrialspace_assets.profiles.registry import datasets

PUBLISHED_ROWS = 13_140  # docs/facts/published-release.md#volumes-and-profiles


def shas(seed: int) -> dict[str, str]:
    known = list(datasets(load_settings()).items())[:7]
    return {name: sha256_bytes(make_profiles(name, entry, seed).write_csv().encode()) for name, entry in known}


def test_rows_are_the_published_number() -> None:
    known = list(datasets(load_settings()).items())[:7]
    rows = {name: make_profiles(name, entry).height for name, entry in known}
    assert rows == {name: entry.release_rows for name, entry in known}
    assert sum(rows.values()) == PUBLISHED_ROWS


def test_the_published_defect_has_its_share() -> None:
    frame = make_profiles("DLCS24", datasets(load_settings())["DLCS24"])
    for column, share in (("lobe_ml_pct", 0.93), ("lobe_ap_pct", 0.507)):
        outside = frame.filter(~frame[column].is_between(0, 100)).height
        assert outside == round(share * frame.height)
    assert frame["lobe_cc_pct"].is_between(0, 100).all()


def test_two_scans_of_luna25_are_of_one_person() -> None:
    entry = datasets(load_settings())["LUNA25"]
    frame = make_profiles("LUNA25", entry)
    scans = frame.group_by(str(entry.patient)).agg(pl.col("ct_path").n_unique())["ct_path"]
    assert set(scans) <= {1, 2}
    assert (scans == 2).sum() >= len(scans) - 1


def test_a_seed_decides_every_table() -> None:
    first, again, other = shas(42), shas(42), shas(43)
    assert first == again
    assert all(other[name] != sha for name, sha in first.items())
