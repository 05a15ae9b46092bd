"""Simulated readers with known effects through the whole graph: the mode that asks for an effect states it with its
sign, the mode that asks for another one states none."""

import polars as pl
import pytest
import yaml

from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.reports.contrast_section import contrast_part
from itrialspace_assets.analysis.reports.document import Paragraph
from itrialspace_assets.analysis.reports.report import build_mode
from itrialspace_assets.analysis.scoring.contrasts import contrasts
from itrialspace_assets.analysis.scoring.observations import observe, with_one_n
from itrialspace_assets.analysis.scoring.rows import Analysis
from itrialspace_assets.analysis.scoring.strata import with_datasets
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.demo.root import make_root
from itrialspace_assets.records.store import read_all, read_table
from itrialspace_assets.trials.files import load_trial

from ..conftest import COARSE
from .conftest import here

pytestmark = pytest.mark.slow
SIZE, LOBE = "m02_size_detection_curve", "m03_location_sensitivity"
#: One reader sees size and the box, one the lobe, one none of them; 0.14 a bin, 0.3 with a box, 0.75 less in one lobe.
STEPS = {"<5mm": -0.35, "5-10mm": -0.21, "10-15mm": -0.07, "15-20mm": 0.07, "20-30mm": 0.21, ">30mm": 0.35}
PLANTED = {
    "sees_size": {"sensitivity": 0.5, "false_alarms": 0.1, "sizes": STEPS, "conditions": {"bbox": 0.3}},
    "sees_lobe": {"sensitivity": 0.85, "false_alarms": 0.1, "lobes": {"right_lung_middle_lobe": -0.75}},
    "sees_none": {"sensitivity": 0.7, "false_alarms": 0.1},
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two modes from profiles to reports, read by the three readers.

    The small root has few donors for a level, and nothing is planted in donors: the study takes hosts as clusters. Its
    two donors a size lie in lobes of their own, so the size mode is asked of a reader that sees neither.
    """
    folder = tmp_path_factory.mktemp("planted")
    make_root(folder / "data", hosts=3, spacing=COARSE, workers=1)
    study = load_study(load_settings()).model_dump(mode="json") | {"study": "planted", "clusters": ["host_person_uid"]}
    (folder / "studies").mkdir()
    (folder / "studies/planted.yaml").write_text(yaml.safe_dump(study))
    entries = {n: {"kind": "mock", "tasks": ["presence"], "options": {"planted": p}} for n, p in PLANTED.items()}
    config = folder / "readers.yaml"
    config.write_text(yaml.safe_dump({"readers": {"blob": {"enabled": False}, **entries}}))
    where = {
        "ITRIALSPACE_READERS_CONFIG": str(config),
        "ITRIALSPACE_CONDITIONS": "plain,bbox",
        "ITRIALSPACE_STUDY": "planted",
        "ITRIALSPACE_STUDIES_DIR": str(folder / "studies"),
    }
    asked = ("cohort.n_cases=15", "cohort.donors.max_uses=null", "cohort.hosts.max_uses=null")
    sets = [part for value in asked for part in ("--set", value)]
    where["ITRIALSPACE_WORKERS"] = "1"
    done = here("run", "--modes", "2,3", "--to", "splits", "--dir", str(folder), *sets, **where)
    assert done.returncode == 0, done.stdout + done.stderr
    found = load_settings(
        data_dir=folder / "data",
        output_dir=folder / "out",
        readers_config=config,
        conditions="plain,bbox",
        study="planted",
        studies_dir=folder / "studies",
    )
    for mode in (SIZE, LOBE):  # reports of real slices and of the study hold nothing that is asked here
        build_mode(found, {"mode": mode})
    return found


def seen(settings: Settings, mode: str) -> pl.DataFrame:
    """What the report of a mode scores."""
    rows = with_one_n(pl.concat([observe(settings, "tissue", mode, mode, reader) for reader in PLANTED]))
    return with_datasets(rows, read_table(settings.output, "case_nodules", mode=mode))


def sentences(settings: Settings, mode: str) -> dict[str, str]:
    """What the section of a mode's contrast says of each reader."""
    trial, arms = load_trial(settings, mode), read_table(settings.output, "arms", mode=mode)
    analysis = Analysis(mode, settings.split, settings.anatomy)
    part = contrast_part(trial, arms, seen(settings, mode), load_study(settings), analysis, settings.seed)
    assert {r.analysis for r in part.rows} == {mode}
    said = [b.text for b in part.sections[0].blocks if isinstance(b, Paragraph)]
    return {reader: next(s for s in said if s.startswith(f"{reader} on tissue: ")) for reader in PLANTED}


def test_the_size_mode_states_the_effect_of_size_and_no_other(settings: Settings) -> None:
    said = sentences(settings, SIZE)
    assert "Sensitivity rises with size" in said["sees_size"], said
    slope = float(said["sees_size"].split("trend +")[1].split(" ")[0])
    low, high = (float(x) for x in said["sees_size"].split("interval ")[1].split(")")[0].split(" to "))
    assert low < 0.14 < high, said
    assert low < slope < high
    assert "No trend of sensitivity with size was found" in said["sees_none"], said
    assert "whose interval would leave out zero" in said["sees_none"]


def test_the_lobe_mode_states_the_effect_of_the_lobe_and_no_other(settings: Settings) -> None:
    said = sentences(settings, LOBE)
    assert "Sensitivity differs between lobes: right middle lobe less the others −0." in said["sees_lobe"], said
    for reader in ("sees_size", "sees_none"):
        assert "No difference of sensitivity between lobes was found" in said[reader], said


def test_a_box_helps_the_reader_that_it_was_planted_in_alone(settings: Settings) -> None:
    study = load_study(settings)
    by_sensitivity = study.model_copy(update={"primary": study.primary.model_copy(update={"metric": "sensitivity"})})
    found = contrasts(seen(settings, SIZE), by_sensitivity, settings.seed)
    assert found is not None
    gain = {r["within"]: r for r in found.table.filter(compared="condition").to_dicts()}
    assert gain["sees_size"]["low"] > 0.1, gain
    assert gain["sees_lobe"]["low"] < 0 < gain["sees_lobe"]["high"], gain


def test_the_reports_are_there_and_their_metrics_name_both_datasets(settings: Settings) -> None:
    for mode in (SIZE, LOBE):
        assert (settings.output / "reports" / mode / "report.html").exists()
        strata = read_all(settings.output, "metrics", analysis=mode)["stratum"]
        assert {"host_dataset", "donor_dataset"} <= set(strata.str.split("=").list.first())
