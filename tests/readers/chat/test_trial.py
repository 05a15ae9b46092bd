"""A small trial from plan to report, read by a language model that is shown slices and by one that is shown scans."""

from pathlib import Path

import polars as pl
import pytest

from itrialspace_assets.records.store import read_all
from itrialspace_assets.records.tables import TASK_OPTIONS
from tests.end_to_end.conftest import its

TRIAL = """
mode: x_small
trial: small
question: Is what one host holds found?
planner: sampled
cohort: {prevalence: {value: 0.5}, hosts: {datasets: [LUNA25], max_uses: null}, donors: {max_uses: null}}
arms: [{name: all, published: small, varies: none, level: none}]
sizes: {demo: {n_cases: 2}, paper: {n_cases: 20}}
"""
READERS = """
readers:
  blob: {enabled: false}
  medgemma: {enabled: true, location: cpu, z_offsets: [0], options: {weights: gemma, dtype: float32, batch: 8}}
  medgemma_volume:
    {enabled: true, location: cpu, options: {weights: gemma, dtype: float32, batch: 1, scan_levels: 5, answer: both, new_tokens: 3}}
"""


@pytest.mark.slow
def test_a_trial_is_read_slice_by_slice_and_scan_by_scan(data_root: Path, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials/x_small.yaml").write_text(TRIAL)
    (tmp_path / "readers.yaml").write_text(READERS)
    (tmp_path / "data").symlink_to(data_root)
    done = its(
        *("run", "--modes", "x_small", "--datasets", "LUNA25", "--dir", str(tmp_path)),
        ITRIALSPACE_TRIALS_DIR=str(tmp_path / "trials"),
        ITRIALSPACE_READERS_CONFIG=str(tmp_path / "readers.yaml"),
        ITRIALSPACE_WEIGHTS_DIR=str(weights),
        ITRIALSPACE_PROFILES="lung_axial,lung_axial_medgemma",
        ITRIALSPACE_CONDITIONS="plain,bbox",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    out = tmp_path / "out"
    generations = read_all(out, "generations", source="tissue", mode="x_small")
    assert generations["failure"].null_count() == generations.height
    assert (generations["option_scores"].list.len() == generations["options"].list.len()).all()
    assert (generations["outside_log_mass"] < 0).all()
    slices = read_all(out, "slices", source="tissue", mode="x_small").filter(profile="lung_axial_medgemma")
    by_slice = generations.filter(reader="medgemma")
    assert by_slice.height == slices.height * 3
    images = read_all(out, "cts", source="tissue", mode="x_small")
    by_scan = generations.filter(reader="medgemma_volume")
    assert sorted(by_scan["target_uid"]) == sorted(images["image_uid"].unique())
    assert by_scan["raw_text"].null_count() == 0
    assert by_scan["option_scores"].n_unique() > 1, "a lesion or another host changes what it says"
    answers = read_all(out, "answers", source="tissue", mode="x_small")
    ok = answers.filter(status="ok")
    assert ok.filter(reader="medgemma").height == by_slice.height
    assert ok.filter(reader="medgemma_volume").height == by_scan.height
    for task in ("presence", "lobe", "size"):
        assert ok.filter(pl.col("task") == task)["answer"].is_in(list(TASK_OPTIONS[task])).all()
    assert "coverage of tissue/predictions/medgemma_volume" not in done.stdout, done.stdout
