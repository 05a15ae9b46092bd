"""What may be removed from an output folder, on files made by hand."""

import json
import os
import time
from pathlib import Path

import polars as pl
import pytest

from itrialspace_assets.analysis.frozen import ListKey, freeze
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.locks import locked
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.care import clean, orphans
from itrialspace_assets.casework.journal import FORMAT

OLD = time.time() - 2 * orphans.YOUNG_S


def old(path: Path, text: str = "12345") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (OLD, OLD))
    return path


def test_only_what_nothing_names_goes(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out", workers=1)
    out = settings.output
    store = out / "store"
    old(
        out / "work" / "insert" / "m02_size_detection_curve~LUNA16" / "r-0.jsonl",
        json.dumps({"format": FORMAT, "uid": "1", "files": {"store/masks/aa/unfinished.nii.gz": "x"}}),
    )
    record = json.dumps({"files": {"store/cts/tissue/aa/recorded.nii.gz": "x"}})
    old(out / "work" / "accepted" / "tissue~synthetic_cts" / "m~d.json", record)
    picture = {"slice_uid": "ff", "condition": "plain", "control": "none", "sha256": "0" * 64}
    freeze(settings, ListKey("mine", "tissue", "m02_size_detection_curve"), pl.DataFrame([picture]), "all")
    kept = [
        old(store / "masks" / "aa" / "unfinished.nii.gz"),
        old(store / "cts" / "tissue" / "aa" / "recorded.nii.gz"),
        old(store / "cts" / "tissue" / "aa" / "recorded.json"),
        old(store / "slices" / "ff" / "ff_bbox.png"),
        old(store / "hosts" / "aa" / "host.nii.gz"),
        old(store / "marks" / "blob" / "r" / "aa" / "mark.json"),
        old(out / "ledger" / "blob" / "r" / ".tmp-1"),
        old(out / "reports" / "m02_size_detection_curve" / "report.html"),
        old(out / "reports" / "study" / "report.html"),
        old(settings.data / ".tmp-of-the-data-root"),
        old(out / "work" / "locks" / "aa.lock"),
    ]
    young = old(store / "masks" / "aa" / "young.nii.gz")
    os.utime(young)
    gone = [
        old(store / "masks" / "aa" / "orphan.nii.gz"),
        old(store / "cts" / "tissue" / "aa" / "orphan.nii.gz"),
        old(store / "slices" / "fe" / "fe_bbox.png"),
        old(out / "tables" / "cts" / ".tmp-abc"),
        old(out / "release" / ".tmp-folder" / "part"),
        old(out / "reports" / "x_gone" / "report.html"),
    ]
    twice = old(store / "slices" / "fd" / "fd_plain.png")
    os.link(twice, out / "released.png")
    (store / "slices" / "fc_plain.png").symlink_to(settings.data)
    kinds = orphans.find(settings)
    assert {path for kind in kinds for path in kind.files} == {*gone, twice}
    assert [(len(kind.files), kind.freed) for kind in kinds] == [(4, 15), (2, 10), (0, 0), (1, 5)]
    with locked(out / "work" / "locks" / "aa.lock"), pytest.raises(ConfigError, match=r"aa\.lock: expected no run"):
        clean.remove(settings, kinds)
    assert all(path.exists() for path in gone)
    assert clean.remove(settings, kinds) == 7
    assert all(path.exists() for path in [*kept, young])
    assert not any(path.exists() for path in [*gone, twice])
    assert not any(kind.files for kind in orphans.find(settings))
