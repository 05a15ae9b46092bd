"""A trial of the demo read by language models: one is shown slices, the other one whole scans."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from itrialspace_assets.analysis.reports import report
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.readers import build, questions
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import read_all, read_table
from itrialspace_assets.records.tables import TASK_OPTIONS

MODE = "m11_digital_twin_isolation"
READERS = """
readers:
  medgemma:
    {enabled: true, location: cpu, profile: lung_axial, z_offsets: [0],
     options: {dtype: float32, batch: 8}}
  medgemma_volume:
    {enabled: true, location: cpu,
     options: {weights: medgemma, dtype: float32, batch: 1, scan_levels: 5, answer: both, new_tokens: 3}}
"""


@pytest.fixture(scope="module")
def demo(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the demo: its readers are others afterwards."""
    folder = tmp_path_factory.mktemp("readers") / "own"
    shutil.copytree(demo, folder)
    return folder


@pytest.mark.slow
def test_a_trial_is_read_slice_by_slice_and_scan_by_scan(demo: Path, tmp_path: Path) -> None:
    from tests.support import tiny_chat

    tiny_chat.gemma(tmp_path / "weights" / "medgemma")
    (tmp_path / "readers.yaml").write_text(READERS)
    settings = load_settings(
        data_dir=demo / "data",
        output_dir=demo / "out",
        readers_config=tmp_path / "readers.yaml",
        weights_dir=tmp_path / "weights",
        workers=1,
        max_cases=2,
    )
    read = {}
    for source, partition in (("tissue", {"mode": MODE, "dataset": "DLCS24"}), (REAL, {"dataset": "LUNA16"})):
        where = questions.table_partition(source, partition)
        slices = questions.chosen_slices(settings, read_table(settings.output, "slices", **where))
        images = set(slices["image_uid"])
        for reader in ("medgemma", "medgemma_volume"):
            for shard in build.plan(settings, source, reader, partition, "r1"):
                build.work(settings, source, reader, partition, "r1", shard)
            result = build.collect(settings, source, reader, partition, "r1")
            assert (result.rejected, result.note) == (0, "")
            found = read_table(settings.output, "generations", reader=reader, **where)
            assert (found["option_scores"].list.len() == found["options"].list.len()).all()
            assert (found["outside_log_mass"] < 0).all()
            if reader == "medgemma_volume":
                assert set(found["target_uid"]) == images and found.height == len(images)
                assert found["slice_uid"].null_count() == found.height and found["raw_text"].null_count() == 0
            else:
                shown = slices.filter(profile="lung_axial").unique(["slice_uid", "condition", "control"])
                assert found.height == 3 * shown.height > 0
            answers = read_table(settings.output, "answers", reader=reader, **where)
            said = answers.filter(status="ok")
            assert said.height == found.height
            for task, options in TASK_OPTIONS.items():
                assert said.filter(pl.col("task") == task)["answer"].is_in(list(options)).all()
            read[source, reader] = found
    of_scans = pl.concat(read[source, "medgemma_volume"]["option_scores"] for source in ("tissue", REAL))
    assert of_scans.n_unique() > 1, "another scan changes what it says"
    report.build_mode(settings, {"mode": MODE})
    scored = read_all(settings.output, "metrics", analysis=MODE)["reader"].unique().sort().to_list()
    assert scored == ["blob", "medgemma"], "a report of slices scores no answer to a whole scan"
