"""Commands that pages show have the sub-commands and flags that they are shown with."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from edge_audio.cli import cli
from tests.support.pages import pages, tokens
from tests.support.paths import REPOSITORY

ENDS = {"|", ">", "&&", "||", ";", ">>"}


def shown(page: Path) -> Iterator[str]:
    """Lines that begin with `edge-audio`, of blocks and within sentences."""
    for token in tokens(page):
        if token.type in ("fence", "code_inline"):
            yield from lines_of(token.content)


def lines_of(text: str) -> Iterator[str]:
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if found := re.search(r"(?:^ *|[|$(/] ?)(edge-audio [a-z].*)", line):
            yield found[1]


def words_of(line: str) -> list[str]:
    """What the program would get, up to a pipe or the end of the line."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # a quote that belongs to the sentence around
        return []
    ends = [i for i, word in enumerate(words) if word in ENDS]
    return words[1 : ends[0] if ends else None]


def parse(command: click.Command, words: list[str], name: str = "edge-audio") -> None:
    """Raises UsageError for a command or flag that does not exist; values are not looked at."""
    context = click.Context(command, info_name=name)
    if isinstance(command, click.Group):
        if not words or words[0].startswith("-"):
            return
        found = command.get_command(context, words[0])
        if found is None:
            raise click.UsageError(f"no such command: {words[0]}")
        parse(found, words[1:], words[0])
    else:
        command.make_parser(context).parse_args(list(words))


@pytest.mark.parametrize(
    "page", [p for p in pages() if p.name != "CHANGELOG.md"], ids=lambda p: str(p.name)
)
def test_every_command_that_a_page_shows_can_be_given(page: Path) -> None:
    wrong = []
    for line in shown(page):
        try:
            parse(cli, words_of(line))
        except click.UsageError as error:
            wrong.append(f"{line}: {error.format_message()}")
    assert not wrong


def test_every_make_target_that_a_page_names_exists() -> None:
    done = subprocess.run(
        ["make", "--question", "--print-data-base", "help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    targets = set(re.findall(r"^([\w.-]+):", done.stdout, re.MULTILINE))
    named = {
        found
        for page in pages()
        for token in tokens(page)
        if token.type in ("fence", "code_inline")
        for found in re.findall(r"^make ([a-z][\w.-]*)", token.content, re.MULTILINE)
        if page.relative_to(REPOSITORY).parts[0] != "firmware_bridge"
    }
    assert {"check", "test", "listen"} <= named
    assert named - targets - {"test-KIND"} == set()


def helps(group: click.Group) -> Iterator[tuple[str, str]]:
    """Name and help text of every command below a group."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield name, command.help or ""
        if isinstance(command, click.Group):
            yield from helps(command)


def test_every_command_that_a_help_text_shows_can_be_given() -> None:
    examples = [line for _, text in helps(cli) for line in lines_of(text)]
    assert len(examples) > 40
    for line in examples:
        parse(cli, words_of(line))


def test_wrong_commands_are_told_from_right_ones() -> None:
    assert len(list(shown(REPOSITORY / "README.md"))) > 30
    parse(cli, words_of("edge-audio listen --source demo | grep Dog --no-such-flag"))
    parse(cli, words_of("edge-audio firmware build micro-int8 --target c # --no-such-flag"))
    with pytest.raises(click.UsageError, match="No such option"):
        parse(cli, words_of("edge-audio listen --no-such-flag"))
    with pytest.raises(click.UsageError, match="no such command"):
        parse(cli, words_of("edge-audio hear"))
