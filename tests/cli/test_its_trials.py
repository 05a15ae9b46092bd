"""The published command: options become fields of a cohort, manifests are copied, missing inputs are listed."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from itrialspace_assets import drive
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.cli import its_trials, trials
from itrialspace_assets.records.layout import MODES
from itrialspace_assets.trials.files import load_trial
from itrialspace_assets.trials.published import INPUT_COLUMNS
from itrialspace_assets.trials.resolve import resolve


def test_options_become_fields() -> None:
    given = {"n_cases": 500, "prevalence": 0.2, "template": "NLST", "diam_min": 6.0, "values": "0.1,0.5"}
    assert its_trials.overrides(1, given) == [
        "cohort.n_cases=500",
        "cohort.prevalence.value=0.2",
        "cohort.site=NLST",
        "cohort.donors.diameter_mm=[6.0, 1000]",
        "cohort.values=[0.1,0.5]",
    ]
    given = {"host_dataset": "LUNA16", "donor_dataset": "LNDbv4", "all_host_patients": True}
    assert its_trials.overrides(13, given) == [
        "cohort.hosts.datasets=[LUNA16]",
        "cohort.donors.datasets=[LNDbv4]",
        "cohort.max_hosts=null",
    ]
    with pytest.raises(ConfigError, match="--n-bootstrap"):
        its_trials.overrides(2, {"n_bootstrap": 3})


def test_options_of_pairing_rounds_and_fractions_reach_the_plan() -> None:
    given: dict[str, object] = {
        "donor_transfer_mode": "single",
        "pairing_policy": "one_to_many_hosts",
        "n_hosts_per_donor": 4,
        "placement_strategy": "host_constrained_transfer",
    }
    trial = resolve(
        load_trial(load_settings(), MODES[12]), "demo", its_trials.overrides(13, given), ["DLCS24", "LUNA25"]
    ).trial
    assert trial.twin is not None
    assert (trial.twin.pairing, trial.twin.n_hosts_per_donor) == ("one_to_many_hosts", 4)
    assert trial.twin.placement == "host_constrained_transfer"
    assert its_trials.overrides(13, {"donor_transfer_mode": "complete"}) == ["twin.pairing=donor_patient_complete"]
    rounds = resolve(load_trial(load_settings(), MODES[8]), "paper", its_trials.overrides(9, {"prevalence_decay": 0.5}))
    assert [a.cohort.prevalence and a.cohort.prevalence.value for a in rounds.arms] == [0.04, 0.02, 0.01]
    several = its_trials.overrides(10, {"multi_nodule_fraction": 0.4, "companion_strategy": "same_lobe"})
    arms = resolve(load_trial(load_settings(), MODES[9]), "paper", several).arms
    assert [(a.name, a.cases, a.cohort.companions) for a in arms] == [
        ("single", 300, "none"),
        ("multi", 200, "same_lobe"),
    ]


@pytest.mark.parametrize(
    ("number", "given", "message"),
    [
        (11, {"donor_transfer_mode": "single"}, "means nothing in this mode"),
        (13, {"donor_transfer_mode": "whole"}, "expected single or complete, got 'whole'"),
        (13, {"donor_transfer_mode": "complete", "pairing_policy": "one_to_one"}, "contradicts --pairing-policy"),
        (13, {"donor_transfer_mode": "single", "pairing_policy": "donor_patient_complete"}, "contradicts"),
        (1, {"multi_nodule_fraction": 0.5}, "means nothing in this mode"),
        (10, {"multi_nodule_fraction": 1.0}, "between 0 and 1"),
        (1, {"prevalence_decay": 0.5}, "--prevalence-decay: means nothing"),
    ],
)
def test_options_that_contradict_or_mean_nothing_are_refused(
    number: int, given: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        its_trials.overrides(number, given)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--mode", "nothing"], 1, "size_detection_curve"),
        (["--n-cases", "3"], 2, "--mode"),
        (["--mode", "counterfactual", "--vary-param", "age"], 2, "its trials new"),
        (["--mode", "digital_twin_complete", "--max-patients", "3", "--all-patients"], 2, "not both"),
    ],
)
def test_wrong_usage(
    arguments: list[str],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["its-trials", *arguments])
    with pytest.raises(SystemExit) as end:
        its_trials.main()
    assert end.value.code == code
    assert message in " ".join(capsys.readouterr().err.split())


def test_the_range_of_the_readme_plans_thirteen_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data/profiles").mkdir(parents=True)
    chosen: list[drive.RunChoice] = []
    monkeypatch.setattr(drive, "drive", lambda _settings, choice: bool(chosen.append(choice)))
    for words in (["1-13"], ["1-3", "4-12", "m13_digital_twin_cross"], ["all"]):
        done = CliRunner().invoke(trials.app, ["plan", *words, "--size", "paper", "--dir", str(tmp_path)])
        assert done.exit_code == 0, done.output
        assert chosen[-1].modes == MODES
        assert done.output.count("Result: ") == 13


def test_manifests_are_copied_and_missing_inputs_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data/profiles").mkdir(parents=True)
    (tmp_path / "data/here.nii.gz").write_text("")
    folder = tmp_path / "out/manifests/mode2_size_detection_curve"
    folder.mkdir(parents=True)
    rows = ["here.nii.gz,here.nii.gz,here.nii.gz,", "here.nii.gz,here.nii.gz,lost_1.nii.gz,", ",,lost_2.nii.gz,"]
    (folder / "10_15mm.csv").write_text("\n".join([",".join(INPUT_COLUMNS), *rows]) + "\n")
    plan = tmp_path / "out/trials/mode2_size_detection_curve"
    plan.mkdir(parents=True)
    (plan / "balance.csv").write_text("a\n1\n")

    def done(settings: Settings, choice: drive.RunChoice) -> bool:
        return choice.modes != ("m02_size_detection_curve",)

    monkeypatch.setattr(drive, "drive", done)
    monkeypatch.setenv("ITRIALSPACE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ITRIALSPACE_OUTPUT_DIR", str(tmp_path / "out"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["its-trials", "--mode", "size_detection_curve", "--output-dir", "copies"])
    with pytest.raises(SystemExit) as end:
        its_trials.main()
    assert end.value.code == 0
    assert capsys.readouterr().out.splitlines() == [
        "10_15mm: donor_nodule_mask_path: 2 files are missing, the first is lost_1.nii.gz",
        "Result: copies/mode2_size_detection_curve",
    ]
    copies = sorted(p.name for p in (tmp_path / "copies/mode2_size_detection_curve").iterdir())
    assert copies == ["10_15mm.csv"]
