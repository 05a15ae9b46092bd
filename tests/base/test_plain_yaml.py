"""YAML that people write: what they mean by a plain value, and what is refused before it is built."""

from collections.abc import Callable
from pathlib import Path

import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.plain_yaml import NotPlain, load_yaml
from itrialspace_assets.base.yaml_files import read_yaml

#: Ten lists inside each other, each ten times the one before: 10,000,000,000 values in 600 characters.
BOMB = "l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]\n" for i in range(1, 10)
)


def test_words_stay_words_and_numbers_are_those_of_their_digits() -> None:
    text = "[no, on, Yes, off, 010, 0o10, 1:30, 2026-13-45, 2026-01-02, 1e3, '1', =]"
    assert load_yaml(text) == text[1:-1].replace("'", "").split(", ")
    assert load_yaml("[true, FALSE, ~, null, 12, -1_000, 0x1f, .5, -2.5e+3, +.inf, 0]") == [
        True, False, None, None, 12, -1000, 31, 0.5, -2500.0, float("inf"), 0,
    ]  # fmt: skip


def test_a_merged_key_may_be_stated_again_wherever_its_source_stands() -> None:
    text = "a: &a {x: 1, y: 1}\nb: {c: {d: &d {<<: *a, x: 2}}}\ne: {<<: *d, y: 3}"
    assert load_yaml(text) == {"a": {"x": 1, "y": 1}, "b": {"c": {"d": {"x": 2, "y": 1}}}, "e": {"x": 2, "y": 3}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\n'a': 3", "the key a more than once, in lines 1, 3"),
        ("a: {b: {c: 1, d: 1, c: 1}}", "the key c more than once"),
        ("a: &a [*a]", r"an alias of what it stands in \(line 1\)"),
        (BOMB, r"more than 200000 values \(line 6\)"),
        ("a: " + "[" * 100_000 + "]" * 100_000, "more than 50 levels"),  # libyaml ends the process
        ("a: " + "9" * 5000, "a number of thousands of digits"),
        ("? [a]\n: b", r"found unhashable key \(line 1, column 3\)"),
        ("a: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("a: \0", "control characters are not allowed"),
        ("--- a\n--- b", "but found another document|expected a single document"),
    ],
    ids=["twice", "twice below", "circle", "bomb", "deep", "digits", "key", "tag", "nul", "two"],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(NotPlain, match=message):
        load_yaml(text)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda p: p.mkdir(), "expected a YAML file that can be read, got: Is a directory"),
        (lambda p: p.symlink_to(p), "expected a YAML file that can be read, got: Too many levels of symbolic links"),
        (lambda p: p.write_bytes(b"a: 1\nb: \xfc\n"), "line 2: expected YAML in UTF-8, got the byte 0xFC"),
        (lambda p: p.write_bytes("a: 1".encode("utf-16")), "line 1: expected YAML in UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, write: Callable[[Path], None], message: str) -> None:
    write(tmp_path / "a.yaml")
    with pytest.raises(ConfigError, match=rf"a\.yaml: {message}"):
        read_yaml(tmp_path / "a.yaml")
