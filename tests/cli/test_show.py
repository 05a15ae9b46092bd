"""Frames in files and on the screen; progress as lines where there is no terminal."""

from pathlib import Path

import polars as pl
import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.cli.options import plain
from itrialspace_assets.cli.show import progress, save, show

FRAME = pl.DataFrame({"name": ["a", None], "size": [1.5, 2.0], "tags": [["x", "y"], []]})


def test_csv(tmp_path: Path) -> None:
    save(FRAME, tmp_path / "new/a.csv")
    assert (tmp_path / "new/a.csv").read_text() == 'name,size,tags\na,1.5,x;y\n,2.0,""\n'


def test_parquet_and_json_hold_the_same(tmp_path: Path) -> None:
    save(FRAME, tmp_path / "a.parquet")
    save(FRAME, tmp_path / "b", "json")
    assert pl.read_parquet(tmp_path / "a.parquet").equals(FRAME)
    assert pl.read_json(tmp_path / "b").equals(FRAME)


@pytest.mark.parametrize("name", ["a.xlsx", "a"])
def test_another_format_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected one of csv, parquet, json"):
        save(FRAME, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file/a\.csv: expected a file that can be written"):
        save(FRAME, tmp_path / "file" / "a.csv")


def test_show_says_how_many_rows_are_left(capsys: pytest.CaptureFixture[str]) -> None:
    show(pl.DataFrame({"n": [0.1234567, None, 3.0]}), "Title", 2)
    text = capsys.readouterr().out
    assert "Title" in text
    assert "0.123457" in text
    assert "1 more rows are not shown" in text


def lines(total: int, steps: list[int], capsys: pytest.CaptureFixture[str]) -> list[str]:
    with progress("scans", total) as advance:
        for step in steps:
            advance(step)
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_what_is_printed_gives_a_terminal_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert plain("\x1b]0;title\x07\r\u202e é\n[b]") == "\\x1b]0;title\\x07\\r\\u202e é\n[b]"
    show(pl.DataFrame({"answer": ["\x1b[31mred"]}))
    assert "\\x1b[31mred" in capsys.readouterr().out


def test_brackets_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    show(pl.DataFrame({"do": ["pip install 'a[docker]'"]}))
    assert "pip install 'a[docker]'" in capsys.readouterr().out


def test_progress_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    found = lines(1000, [1] * 1000, capsys)
    assert found == [f"scans: {n} of 1000" for n in range(0, 1001, 100)]
    assert lines(3, [1, 1, 1], capsys) == [f"scans: {n} of 3" for n in range(4)]
    assert lines(100, [95, 5], capsys) == ["scans: 0 of 100", "scans: 95 of 100", "scans: 100 of 100"]


def test_progress_that_ends_before_its_total_prints_its_last_count(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(100, [12, 3], capsys) == ["scans: 0 of 100", "scans: 12 of 100", "scans: 15 of 100"]


def test_progress_with_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(0, [], capsys) == []
    assert lines(5, [], capsys) == ["scans: 0 of 5"]


def test_an_error_passes_through_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError), progress("scans", 10) as advance:
        advance(1)
        raise ConfigError("a")
    assert capsys.readouterr().err == "scans: 0 of 10\nscans: 1 of 10\n"
