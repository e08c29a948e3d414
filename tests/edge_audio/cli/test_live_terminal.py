"""The live view in a terminal of its own, as a person sees it."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

pytest.importorskip("pyte")  # part of the extra `dev`
if sys.platform == "win32":
    pytest.skip("no terminals of that kind", allow_module_level=True)

from tests.support.command_line import HANG_S
from tests.support.screen import EmulatedTerminal


def shows(text: str) -> Callable[[list[str]], bool]:
    """Whether a line of the screen has the text."""
    return lambda lines: any(text in line for line in lines)


def is_whole(width: int, height: int) -> Callable[[list[str]], bool]:
    """Whether a panel fills the terminal, and nothing else is there."""

    def check(lines: list[str]) -> bool:
        inner = lines[1 : height - 1]
        return (
            len(lines) == height
            and all(len(line) == width for line in lines)
            and lines[0][0] + lines[0][-1] == "╭╮"
            and lines[-1][0] + lines[-1][-1] == "╰╯"
            and all(line[0] + line[-1] == "││" for line in inner)
            and any("dBFS" in line for line in inner)
            and not any("zzz" in line for line in lines)
        )

    return check


@pytest.mark.parametrize(("width", "height"), [(40, 12), (80, 24), (200, 60)])
def test_the_view_is_whole_after_stray_keys_and_resizing_and_q_ends_it(
    width: int, height: int
) -> None:
    with EmulatedTerminal("listen", "--source", "demo", width=width, height=height) as terminal:
        terminal.wait_for(is_whole(width, height))
        terminal.type("zzz\x1b[5~\r\n\t")
        terminal.read(0.5)
        terminal.wait_for(is_whole(width, height))
        for other in ((max(40, width - 5), height - 2), (width + 20, height + 10)):
            terminal.resize(*other)
            terminal.wait_for(is_whole(*other))
        terminal.type("q")
        terminal.wait_for(lambda lines: any("s of audio" in line for line in lines))
        assert terminal.process.wait(HANG_S) == 0
        terminal.read(0.1)
    begun, ended = terminal.raw.count(b"\x1b[?1049h"), terminal.raw.count(b"\x1b[?1049l")
    assert begun == ended == 1  # the alternate screen
    assert terminal.raw.rindex(b"\x1b[?25h") > terminal.raw.rindex(b"\x1b[?25l")  # the cursor


def test_keys_pause_the_view() -> None:
    with EmulatedTerminal("listen", "--source", "demo", width=90) as terminal:
        terminal.wait_for(lambda lines: any("dBFS" in line for line in lines))
        terminal.type("p")
        terminal.wait_for(lambda lines: "paused" in lines[0])
        terminal.type("p")
        terminal.wait_for(lambda lines: "paused" not in lines[0])


def test_a_key_chooses_the_next_sensitivity() -> None:
    with EmulatedTerminal("listen", "--source", "demo", width=90) as terminal:
        terminal.wait_for(lambda lines: any("dBFS" in line for line in lines))
        for name in ("eager", "quiet", "normal"):
            terminal.type("s")
            terminal.wait_for(shows(f"sensitivity: {name}"))
