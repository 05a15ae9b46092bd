"""Each command teaches itself: what it does, an example that parses, where the result lies, plain words."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from itrialspace_assets.cli import insertion, its_trials, main, nodulemap, retriever

BANNED = re.compile(
    r"hand\w* (over|out)|\baside\b|quarantin|(can|cannot) be had|forese|forecast|\bdeal(t|s)?\b|unsettled|of nobody"
    r"|materialis|as it should|as they should|\bshelf\b|\bquirk|catalogue|\banew\b|\bmend(s|ed)?\b|\bvouch",
    re.IGNORECASE,
)


def leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command below a group with its words, groups left out."""
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from leaves(inner, (*path, name))
    else:
        yield path, command


def groups(command: Any) -> Iterator[Any]:
    if hasattr(command, "commands"):
        yield command
        for inner in command.commands.values():
            yield from groups(inner)


ROOTS = {
    "its": typer.main.get_command(main.app),
    "its-insert": typer.main.get_command(insertion.insert_app),
    "its-nodulemap": typer.main.get_command(nodulemap.app),
    "its-retriever": typer.main.get_command(retriever.app),
    "its-trials": typer.main.get_command(its_trials.app),
}
LEAVES = {" ".join(path): command for name, root in ROOTS.items() for path, command in leaves(root, (name,))}


def parse(line: str) -> None:
    """Parse a command line as the shell and the command would; nothing is run."""
    program, *words = shlex.split(line.split(">", maxsplit=1)[0])
    command = ROOTS[program]
    while hasattr(command, "commands"):
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    command.make_context(program, words)


def test_every_command_is_looked_at() -> None:
    assert len(LEAVES) > 35
    assert {"its run", "its trials plan", "its weights lock", "its-insert verify", "its-trials"} <= set(LEAVES)


@pytest.mark.parametrize("name", LEAVES)
def test_help_teaches(name: str) -> None:
    text = LEAVES[name].help or ""
    first, *rest = text.split("\n\n")
    assert first.strip().endswith("."), "one sentence says what the command does"
    assert re.search(r"^Result: \S.*\.$", rest[-1], re.MULTILINE), "the last paragraph says where the result lies"
    examples = [line for p in rest if p.startswith("Example: ") for line in re.findall(r"`([^`]+)`", p)]
    commands = [line for line in examples if line.startswith("its")]
    assert commands, "an example line"
    for line in commands:
        parse(line)


def test_an_example_that_does_not_parse_is_found() -> None:
    with pytest.raises(AssertionError):
        parse("its trials plot 2")
    with pytest.raises(Exception, match="No such option"):
        parse("its trials plan 2 --sizes paper")


@pytest.mark.parametrize("name", LEAVES)
def test_every_option_has_a_help_text_and_words_are_plain(name: str) -> None:
    command = LEAVES[name]
    texts = {p.name: getattr(p, "help", None) or "" for p in command.params}
    for option, text in texts.items():
        if name != "its-trials":  # options of the published command: their names say what they are
            assert text, f"{option} has no help"
    for text in (command.help, *texts.values()):
        assert not BANNED.search(re.sub(r"`[^`]*`", "", text)), text  # names of commands may be any words


def test_groups_say_what_they_hold() -> None:
    for root in ROOTS.values():
        for group in groups(root):
            assert group.help
            assert not BANNED.search(group.help)


def test_help_is_printed_for_no_command(its: Any) -> None:
    for words in ((), ("trials",), ("cts",), ("masks",), ("case",)):
        done = its(*words)
        assert "Commands" in done.out + done.err
