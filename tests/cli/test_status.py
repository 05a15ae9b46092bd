"""`its status` where a mode's trial file is gone."""

import pytest

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.cli.summary import print_status


def test_a_trial_file_that_is_gone_does_not_end_the_status_of_the_others(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    for mode in ("x_gone", "m02_size_detection_curve"):
        folder = settings.output / "tables" / "cases" / mode
        folder.mkdir(parents=True)
        (folder / "part.parquet").touch()
    print_status(settings)
    said = capsys.readouterr().out
    table, _, below = said.partition("x_gone: ")
    assert "its trial file is not found; set ITRIALSPACE_TRIALS_DIR" in below
    after = table[table.index("m02_size_detection_curve") :]
    assert "cohort_manifests" in after
