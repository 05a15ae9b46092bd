"""Forecasts from rates that are written by hand: sums by hand, and what is unknown stays unknown."""

import json
from pathlib import Path

import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.care.forecast import Forecast, ForecastStage, StatedRates, forecast
from itrialspace_assets.casework.journal import FORMAT
from itrialspace_assets.readers.ledger import SCHEMA, Ledger
from itrialspace_assets.trials.build import resolved_trial


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A folder where nothing was run."""
    (tmp_path / "data").mkdir()
    return load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out", workers=1)


MODE = "m02_size_detection_curve"


def journal(settings: Settings, stage: str, run: str, *lines: dict[str, object]) -> None:
    path = settings.output / "work" / stage / f"{MODE}~LUNA16" / f"{run}-0.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"format": FORMAT} | line) + "\n" for line in lines) + '{"uid": "torn", "sec')


def of(found: Forecast, asset: str) -> ForecastStage:
    (line,) = (line for line in found.lines if line.asset == asset)
    return line


def test_hours_are_cases_of_the_trial_times_what_a_case_took_here(settings: Settings) -> None:
    """Cases of 2 and 4 s (the first again, 3 s, in a later run), and a rejected one: 3.5 s a case."""
    journal(settings, "insert", "a", {"uid": "1", "seconds": 2.0}, {"uid": "2", "seconds": 4.0})
    journal(settings, "insert", "b", {"uid": "1", "seconds": 3.0}, {"uid": "3", "seconds": 90.0, "reason": "x"})
    row = dict.fromkeys(SCHEMA) | {"generation_key": "k", "seconds": 0.5, "asked_ns": 1, "options": []}
    ledger = Ledger(settings.output / "ledger" / "blob" / "r")
    ledger.append([row])
    ledger.seal()
    found = forecast(settings, [MODE], ["blob"], StatedRates(a_ct=60.0))
    cases = sum(arm.cases or 0 for arm in resolved_trial(settings, MODE).arms)
    assert [(p.cases, p.origin) for p in found.modes] == [(cases, "trial")]
    insert, ct = of(found, "inserted_masks"), of(found, "tissue/synthetic_cts")
    assert (insert.left, insert.hours) == (cases, pytest.approx(cases * 3.5 / 3600))
    assert insert.base == "measured here on 2 cases"
    assert (ct.hours, ct.base) == (pytest.approx(cases * 60 / 3600), "as stated (--seconds-per-ct)")
    read = of(found, "tissue/predictions/blob")
    assert (read.seconds, read.units, read.hours) == (0.5, None, None), "how many requests is not known"
    assert of(found, "tissue/eval_slices").hours is None
    assert found.hours(gpu=False) == pytest.approx(cases * 63.5 / 3600), "unknown stages are no part of the sum"
    assert {"hours of tissue/eval_slices", "hours of tissue/predictions/blob", "hours of mode_report"} <= {
        said.split(": ")[0] for said in found.unknown
    }
    assert not (settings.output / "dagster").exists(), "a look leaves no history behind"


def test_a_mode_without_a_number_of_cases_is_said_and_not_counted(settings: Settings) -> None:
    found = forecast(settings, ["m13_digital_twin_cross"], None, StatedRates(1.0, 1.0))
    assert found.unknown[0].startswith("m13_digital_twin_cross: number of cases not known before it is planned")
    with pytest.raises(ConfigError, match=r"--readers: expected names out of .*, got nobody"):
        forecast(settings, [MODE], ["nobody"], StatedRates())
