from pathlib import Path

import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import load_settings, provenance, require_data_root


def test_environment_beats_env_file_and_empty_is_unset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("ITRIALSPACE_SEED=7\nITRIALSPACE_WORKERS=3\nHF_TOKEN=secret-token\n")
    monkeypatch.setenv("ITRIALSPACE_SEED", "11")
    monkeypatch.setenv("ITRIALSPACE_WORKERS", "")
    settings = load_settings()
    assert (settings.seed, settings.workers) == (11, 3)
    rows = {name: (value, source) for name, value, source in provenance(settings)}
    assert rows["ITRIALSPACE_SEED"] == ("11", "environment")
    assert rows["ITRIALSPACE_WORKERS"][1].endswith(".env")
    assert "secret-token" not in str(rows)
    assert rows["ITRIALSPACE_SIZE"] == ("demo", "default")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SEED", "many"),
        ("MASKS", "png"),
        ("MAX_REJECTED", "1.4"),
        ("WORKERS", "0"),
        ("DATA_DIR", "${HOME_X}/a"),
        ("SPLIT", "../v1"),
        ("SPLIT", "a/b"),
        ("SPLIT", ".."),
    ],
)
def test_a_wrong_value_names_the_variable(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"ITRIALSPACE_{name}", value)
    with pytest.raises(ConfigError, match=f"ITRIALSPACE_{name}"):
        load_settings()


def test_a_missing_data_root_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="demo-data"):
        require_data_root(load_settings(data_dir=tmp_path / "nothing"))


def test_an_output_that_cannot_be_a_folder_is_refused(data_root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="writable folder"):
        require_data_root(load_settings(data_dir=data_root, output_dir=tmp_path / "file" / "out"))


def test_an_env_file_of_windows_is_read_and_another_encoding_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfITRIALSPACE_SEED=7\r\nITRIALSPACE_BATCH=3\r\n")
    settings = load_settings()
    assert (settings.seed, settings.batch) == (7, 3)
    assert {r[0]: r[2] for r in provenance(settings)}["ITRIALSPACE_SEED"].endswith(".env")
    latin = "ITRIALSPACE_SEED=7\nITRIALSPACE_DATA_DIR=/däta\n".encode("latin-1")
    for data, place in (
        (latin, "line 2: expected UTF-8, got the byte 0xE4"),
        ("ITRIALSPACE_SEED=7\n".encode("utf-16"), "line 1: expected UTF-8, got the byte 0xFF"),
    ):
        (tmp_path / ".env").write_bytes(data)
        with pytest.raises(ConfigError, match=rf"\.env: {place}"):
            load_settings()


def test_a_misspelt_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITRIALSPACE_OUPUT_DIR", "")
    load_settings()  # empty counts as unset
    monkeypatch.setenv("ITRIALSPACE_OUPUT_DIR", "/x")
    with pytest.raises(ConfigError, match=r"ITRIALSPACE_OUPUT_DIR: .*did you mean ITRIALSPACE_OUTPUT_DIR"):
        load_settings()
    monkeypatch.delenv("ITRIALSPACE_OUPUT_DIR")
    (tmp_path / ".env").write_text("itrialspace_sede=4\n")
    with pytest.raises(ConfigError, match=r"ITRIALSPACE_SEDE: .*did you mean ITRIALSPACE_SEED"):
        load_settings()


def test_without_a_home_folder_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nobody)
    with pytest.raises(ConfigError, match=r"ITRIALSPACE_DATA_DIR=~.*expected a home folder.*absolute path"):
        _ = load_settings().output


def test_a_path_that_databases_would_take_for_another_is_refused(data_root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ITRIALSPACE_OUTPUT_DIR=.*a\?b.*rename the folder"):
        require_data_root(load_settings(data_dir=data_root, output_dir=tmp_path / "a?b"))


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "..", "", "a/b", "a b", "x" * 65, "é", "-x", "a\nb"])
def test_a_name_of_files_is_no_path(name: str) -> None:
    for setting in ("split", "study"):
        with pytest.raises(ConfigError, match=rf"ITRIALSPACE_{setting.upper()}=.*: expected 1 to 64 letters"):
            load_settings(**{setting: name})
    assert load_settings(split="Readers_v1.2-b").split == "Readers_v1.2-b"
