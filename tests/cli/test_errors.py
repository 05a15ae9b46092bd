"""A wrong option or setting ends with code 2, another error with 1; each with one message and no traceback."""

import sys
from pathlib import Path

import pytest
import typer

from itrialspace_assets import __version__, drive
from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.cli import options
from itrialspace_assets.trials.files import load_trial

from .conftest import Its


def test_version(its: Its) -> None:
    assert its("--version") == (0, f"{__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--workers", "0"], "--workers"),
        (["run", "--size", "huge"], "ITRIALSPACE_SIZE"),
        (["run", "--modes", "14"], "--modes"),
        (["run", "--modes", "x_none"], "or keys such as m01"),
        (["run", "--datasets", "DLCS25"], "DLCS24"),
        (["run", "--only", "dance"], "synthesise"),
        (["run", "--dir", "/nowhere-at-all"], "demo-data"),
        (["demo", "--modes", "99"], "--modes"),
        (["run", "--only", "plan", "--to", "plan"], "--only and --to"),
        (["run", "--dance"], "No such option"),
        (["dance"], "No such command"),
        (["demo-data", "--out", "x", "--hosts", "0"], "--hosts"),
        (["index", "stats", "--across", "lobe_name"], "--across"),
        (["index", "match", "--lobe", "RUL", "--cc", "101"], "--cc"),
        (["import", "--dataset", "MINE"], "--ct"),
        (["sql", "-q", "what"], "size_curve"),
        (["sql", "SELECT 1", "-q", "size_curve"], "both"),
        (["trials", "show", "m14"], "m01_controlled_prevalence"),
        (["trials", "plan", "x_none.yaml"], "its trials new"),
        (["trials", "plan", "none.yaml"], "x_<name>.yaml"),
        (["trials", "new", "No!"], "small letters"),
        (["insert", "verify", "."], "audit.json"),
        (["masks", "export", "99", "--to", "x"], "99"),
        (["weights", "lock"], "NODMAISI_MODELS_DIR"),
        (["ui"], "demo-data"),
    ],
)
def test_wrong_words(
    arguments: list[str], message: str, its: Its, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITRIALSPACE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ITRIALSPACE_OUTPUT_DIR", str(tmp_path / "out"))
    done = its(*arguments)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err + done.out


def test_an_error_that_is_no_configuration_ends_with_1(its: Its, tmp_path: Path) -> None:
    done = its("sql", "SELECT 1", "--dir", str(tmp_path))
    assert done.code == 1
    assert done.err.startswith("Error: ")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(("error", "code"), [(ConfigError("a"), 2), (TableError("a"), 1)])
def test_run_app(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["x"])
    with pytest.raises(SystemExit) as end:
        options.run_app(app)
    assert (end.value.code, capsys.readouterr().err) == (code, "Error: a\n")


def test_a_defect_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(sys, "argv", ["x"])
    with pytest.raises(ZeroDivisionError):
        options.run_app(app)


def test_a_failed_run_ends_with_1(its: Its, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data/profiles").mkdir(parents=True)
    monkeypatch.setattr(drive, "drive", lambda settings, choice: True)
    assert its("run", "--dir", str(tmp_path)).code == 1
    assert its("trials", "plan", "2", "--dir", str(tmp_path)).code == 1
    monkeypatch.setattr(drive, "drive", lambda settings, choice: False)
    assert its("run", "--dir", str(tmp_path)).code == 0


def test_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITRIALSPACE_DATA_DIR", "/elsewhere")
    monkeypatch.setenv("ITRIALSPACE_SEED", "7")
    monkeypatch.chdir(tmp_path)
    settings = options.load(Path("mine"), workers=3, size=None)
    assert (settings.data, settings.output) == (tmp_path / "mine/data", tmp_path / "mine/out")
    assert (settings.workers, settings.seed, settings.size) == (3, 7, "demo")
    assert options.load().data == Path("/elsewhere")
    with pytest.raises(ConfigError, match="ITRIALSPACE_MASKS"):
        options.load(masks="png")


def test_mode_key() -> None:
    assert options.mode_key("5") == "m05_counterfactual"
    assert [options.mode_key(w) for w in ("0", "14", "x_mine")] == ["0", "14", "x_mine"]
    assert load_trial(options.load(), options.mode_key("13")).mode == "m13_digital_twin_cross"
