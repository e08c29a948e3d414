"""The live view shows what was heard, fits into its terminal, and survives any name."""

from __future__ import annotations

import re
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from rich.text import Text

from edge_audio.bundle.spec import EventSpec, Threshold
from edge_audio.cli.live.display import KEYS_HELP, LiveSink
from edge_audio.cli.live.keys import keys_of
from edge_audio.cli.live.state import Watched
from edge_audio.cli.live.streams import LiveView
from edge_audio.events.detector import Event
from edge_audio.sinks.base import TopLabels
from edge_audio.sources.base import Block
from edge_audio.sources.stream import Stream
from tests.support.live_views import LABELS, RATE_HZ, hear, lines, stream, terminal


def frame_of(console: Console, n_top: int = 8) -> list[str]:
    sink = LiveSink(console, "toy on hall", TopLabels(LABELS, n_top), stream())
    hear(sink)
    shown = lines(sink.render(), console)
    sink.close()
    return shown


def test_a_label_has_a_bar_its_history_and_its_score() -> None:
    (line,) = [line for line in frame_of(terminal()) if "Label 3 " in line and "start" not in line]
    (history,) = re.findall("[\u2581-\u2588]{4,}", line)  # blocks, the higher the later
    low, high, low_again, high_again = history[-4:]
    assert low == low_again < high == high_again
    assert line.index("━") < line.index(history) < line.index("0.90")


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
@pytest.mark.parametrize("height", [12, 16, 20, 24, 30, 50])
def test_the_view_fills_terminals_of_all_sizes(width: int, height: int) -> None:
    shown = frame_of(terminal(width, height))
    assert len(shown) == height
    assert all(len(line) == width for line in shown)
    text = "\n".join(shown)
    for part in ("dBFS", "Label 3", "events"):
        assert part in text


def test_small_terminals_lose_the_spectrogram_first() -> None:
    large, middle, small = ("\n".join(frame_of(terminal(100, h))) for h in (50, 24, 14))
    assert "▀" in large
    assert "▀" not in middle
    assert "Label 3  0.90" in middle
    assert middle.count("Label ") > small.count("Label ")


def test_terminals_without_colours_get_no_spectrogram() -> None:
    assert "▀" not in "\n".join(frame_of(terminal(color=None)))


def test_the_spectrogram_shows_high_sounds_above_low_ones() -> None:
    console = terminal()
    for hz, is_bright_at_top in ((6000.0, True), (100.0, False)):
        sink = LiveSink(console, "toy", TopLabels(LABELS, 3), stream())
        tone = 0.5 * np.sin(2 * np.pi * hz * np.arange(20 * RATE_HZ) / RATE_HZ)
        sink.on_audio(Block(tone.astype(np.float32), 0.0))
        sink.render()
        paper = terminal()
        paper.print(sink.render())
        sink.close()
        strip = [
            re.findall(r"38;2;(\d+);(\d+);(\d+)[;\d]*m▀", line)
            for line in paper.file.getvalue().split("\n")  # type: ignore[attr-defined]
            if "▀" in line
        ]
        brightness = [sum(int(part) for part in row[-1]) for row in strip]
        assert len(brightness) == 8
        assert (brightness[0] > brightness[-1]) == is_bright_at_top


def brightness_of_strip(sink: LiveSink, width: int) -> list[list[int]]:
    """Of each character of each row."""
    paper = terminal(width)
    paper.print(sink.render())
    rows = []
    for line in paper.file.getvalue().split("\n"):  # type: ignore[attr-defined]
        runs = re.findall(r"38;2;(\d+);(\d+);(\d+)[;\d]*m(▀+)", line)
        row = [sum(map(int, (r, g, b))) for r, g, b, run in runs for _ in run]
        rows += [row] * bool(row)
    return rows


@pytest.mark.parametrize("width", [60, 100, 70])
def test_the_spectrogram_shows_the_latest_20_s_in_terminals_that_change(width: int) -> None:
    console = terminal(100)
    sink = LiveSink(console, "toy", TopLabels(LABELS, 3), stream())
    tone = 0.5 * np.sin(2 * np.pi * 3000.0 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    for second in range(30):
        sink.on_audio(Block(tone if second >= 20 else 0.0 * tone, float(second)))
        sink.render()
        console.width = width if second > 5 else 100
        brightness_of_strip(sink, console.width)
    rows = brightness_of_strip(sink, width)
    sink.close()
    assert len(rows) == 8
    assert {len(row) for row in rows} == {width - 6}
    loudest = np.max(rows, axis=0)
    n_loud = int(np.count_nonzero(loudest > 300))
    assert n_loud == pytest.approx((width - 6) / 2, abs=3)  # 10 s of 20
    assert all(loudest[-n_loud:] > 300)  # at the right, where it is drawn last


def test_a_view_that_nobody_draws_keeps_little_audio() -> None:
    sink = LiveSink(terminal(), "toy", TopLabels(LABELS, 3), stream())
    sink.render()
    tracemalloc.start()
    try:
        for i in range(300):
            sink.on_audio(Block(np.zeros(RATE_HZ, np.float32), float(i)))
        n_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    second_bytes = RATE_HZ * np.dtype(np.float32).itemsize
    assert second_bytes < n_bytes < 25 * second_bytes
    sink.close()


def test_a_device_has_the_state_of_its_line_in_place_of_a_level() -> None:
    console = terminal()
    board = Stream("board", LABELS, RATE_HZ, live=True, has_audio=False)
    top = TopLabels(LABELS, 3)
    sink = LiveSink(console, "on board", top, board, line_state=lambda: "2 frames lost")
    hear_scores = np.full(len(LABELS), 0.5, np.float32)
    sink.on_scores(1.0, hear_scores)
    text = "\n".join(lines(sink.render(), console))
    assert "2 frames lost" in text
    assert "Label 3" in text or "Label 0" in text
    for part in ("dBFS", "load", "▀"):
        assert part not in text
    sink.close()
    view = LiveView(console, "", [top, top], [board, stream()])
    (row,) = [line for line in lines(view.render(), console) if " board " in line]
    assert "a device" in row
    for each in view.sinks:
        each.close()


def test_problems_come_before_notices() -> None:
    problems: list[str] = []
    console = terminal()
    sink = LiveSink(console, "toy", TopLabels(LABELS, 3), stream(), problems=lambda: problems)
    sink.on_notice("microphone lost; trying again")
    assert "0:00.00  microphone lost" in "\n".join(lines(sink.render(), console))
    problems += ["mqtt: connection refused", "file x: disk full"]
    text = "\n".join(lines(sink.render(), console))
    assert "mqtt: connection refused  (and 1 more)" in text
    assert "microphone" not in text
    sink.close()


def test_names_are_no_markup() -> None:
    console = terminal()
    odd = Stream("[red]hall[/]", ("[bold]Dog[/bold]", "[/]"), RATE_HZ, live=True)
    sink = LiveSink(console, "toy on [link=x]", TopLabels(odd.labels, 2), odd)
    sink.on_scores(1.0, np.array([0.9, 0.8], np.float32))
    sink.on_event(Event("start", "[bold]Dog[/bold]", 1.0, 0.9))
    sink.on_notice("[/] [blink]")
    text = "\n".join(lines(sink.render(), console))
    sink.close()
    for part in ("[bold]Dog[/bold]", "toy on [link=x]", "[/] [blink]"):
        assert part in text


WATCHED = Watched(EventSpec(thresholds={"Label 3": Threshold(on=0.5, off=0.3)}), step_s=0.5)


def watching_sink(console: Console, n_top: int = 8, grows: bool = False) -> LiveSink:
    top = TopLabels(LABELS, n_top)
    return LiveSink(console, "toy", top, stream(), watched=WATCHED, grows=grows)


def styles_of(sink: LiveSink, part: str) -> str:
    """The line of a frame that has this part, with its styles."""
    paper = terminal()
    paper.print(sink.render())
    drawn: list[str] = paper.file.getvalue().split("\n")  # type: ignore[attr-defined]
    (line,) = [line for line in drawn if part in line and not re.search("start|off:", line)]
    return line


def test_thresholds_are_ticks_on_the_bars_and_labels_that_are_off_are_grey() -> None:
    sink = watching_sink(terminal())
    hear(sink)
    row = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", styles_of(sink, "Label 3 "))
    (drawn,) = re.findall("[━─┃]{5,}", row)
    assert drawn.index("┃") == pytest.approx(0.5 * len(drawn), abs=1)
    assert "┃" not in styles_of(sink, "Label 4 ")
    assert "\x1b[90mLabel 4 " in styles_of(sink, "Label 4 ")
    assert "\x1b[32mLabel 3 " in styles_of(sink, "Label 3 ")
    sink.close()


def test_a_label_that_is_off_and_heard_is_told_with_what_switches_it_on() -> None:
    console = terminal()
    sink = watching_sink(console)
    for i in range(6):
        scores = np.full(len(LABELS), 0.01, np.float32)
        scores[7] = 0.91
        sink.on_scores(0.5 * i, scores)
    text = "\n".join(lines(sink.render(), console))
    advice = "Label 7 0.91, off: too little evidence; --threshold 'Label 7=0.5'"
    assert advice in text
    sink.close()
    after = console.file.getvalue().rpartition("\x1b[?1049l")[2]  # type: ignore[attr-defined]
    assert advice in after  # the view is gone then


def test_large_terminals_show_more_labels_and_events_unless_a_number_was_given() -> None:
    def n_bars(height: int, grows: bool) -> int:
        console = terminal(100, height)
        sink = watching_sink(console, n_top=4, grows=grows)
        hear(sink)
        shown = lines(sink.render(), console)
        sink.close()
        return sum("Label" in line and "start" not in line for line in shown)

    assert n_bars(60, grows=False) == n_bars(30, grows=False) == 4
    assert n_bars(60, grows=True) > n_bars(30, grows=True) >= 4


def test_a_paused_view_stands_still_and_goes_on_with_what_came_meanwhile() -> None:
    console = terminal()
    sink = watching_sink(console)
    hear(sink)
    sink.press("p")
    before = lines(sink.render(), console)
    hear(sink, seconds=9, loud=5)
    after = lines(sink.render(), console)
    differing = [line for line, old in zip(after, before, strict=True) if line != old]
    assert all("off:" in line for line in differing)  # but what it has to say is said
    assert "paused" in after[0]
    sink.press("p")
    assert "start  Label 5" in "\n".join(lines(sink.render(), console))
    sink.close()


def test_a_label_can_be_chosen_muted_and_shown_again() -> None:
    console = terminal()
    sink = watching_sink(console)
    hear(sink)
    sink.press("down")
    sink.press("m")
    text = "\n".join(lines(sink.render(), console))
    assert text.count("Label 3") == 1
    assert "muted: Label 3" in text
    sink.press("u")
    assert "\n".join(lines(sink.render(), console)).count("Label 3") == 2
    sink.close()


@pytest.mark.parametrize("width", range(24, 140, 3))
def test_what_the_border_says_is_whole_or_left_out(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In 80 columns it ended in "m mut"."""
    console = terminal(width)
    sink = watching_sink(console)
    keys = SimpleNamespace(is_open=True, take=list, close=lambda: None)
    monkeypatch.setattr(sink, "_keys", keys)
    hear(sink)
    assert border(sink, console)[1:] in [[], *([text] for text in KEYS_HELP)]
    if width >= 60:
        assert "q" in border(sink, console)[1]
    sink.press("down")
    sink.press("m")
    told = [text for text in border(sink, console)[1:] if text not in KEYS_HELP]
    assert told in [[], ["1 muted (u)"], ["muted: Label 3 (u)"]]
    assert told or width < 60
    sink.close()


def border(sink: LiveSink, console: Console) -> list[str]:
    """What stands in the lower border, cost and keys as one text each."""
    text = lines(sink.render(), console)[-1].strip("╰╯─ ")
    keys = next((one for one in KEYS_HELP if text.endswith(one)), "")
    parts = text.removesuffix(keys).partition("nothing lost")
    return [one.strip() for one in (parts[0] + parts[1], parts[2], keys) if one.strip()]


def test_unknown_keys_are_no_commands() -> None:
    assert keys_of("\x1b[1;5A\x1b[3~\x1b") == []
    assert keys_of("x\x1b[B\x1bOA Q") == ["x", "down", "up", "p", "q"]


def test_what_is_said_stands_below_the_view_and_again_when_it_is_gone() -> None:
    console = terminal(80, 20)
    sink = watching_sink(console)
    for text in ("[b]one[/]", "two", "three", "four"):
        sink.say(Text(text))
    assert len(lines(sink.render(), console)) == 17  # with three below
    sink.close()
    after = console.file.getvalue().rpartition("\x1b[?1049l")[2]  # type: ignore[attr-defined]
    assert [after.count(text) for text in ("[b]one[/]", "two", "three", "four")] == [1] * 4
