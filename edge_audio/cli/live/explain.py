"""`--explain LABEL`: why a label became an event, or why not, step by step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TextIO

import click
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from edge_audio.cli.live.braille import Braille
from edge_audio.cli.live.frames import Frames
from edge_audio.cli.live.keys import Keys
from edge_audio.events.detector import Event, LabelState
from edge_audio.labels.ontology import related_labels, synonymous_labels
from edge_audio.sinks.base import Sink
from edge_audio.support.arrays import FloatArray
from edge_audio.support.text import clock, printable

explain_option = click.option(
    "--explain",
    "explained",
    multiple=True,
    metavar="LABEL",
    help="Show why this label becomes an event or not, repeatable: a chart of its score and "
    "thresholds in a terminal, else one line a second (on standard error unless --format text).",
)
CHART_S = 30.0
CHART_ROWS = 8
MIN_WIDTH, MIN_HEIGHT = 40, CHART_ROWS + 5
EDGE_WIDTH = 6  # of a chart: its scale on the left
_SCALES = (0.1, 0.2, 0.5, 1.0)


StateOf = Callable[[str], LabelState]
"""Label -> what the event detector knows of it after the latest step."""


@dataclass(frozen=True)
class Explained:
    """Which labels are explained. step_s: seconds between two steps."""

    labels: Sequence[str]
    step_s: float


@dataclass(frozen=True)
class Point:
    """What was known of a label at the end of a step. is_reported: an event of it was passed on
    and has not ended. beside: related labels of which that is so."""

    time_s: float
    score: float
    state: LabelState
    is_reported: bool
    beside: tuple[str, ...] = ()


def reason(points: Sequence[Point]) -> tuple[str, str]:
    """(state, why) of a label over a stretch of time, in words."""
    last = points[-1]
    if last.state.threshold is None:
        return "off", "not watched: without a threshold, excluded or not among --only"
    if last.state.is_active and not last.is_reported:
        others = f" ({', '.join(last.beside)})" if last.beside else ""
        return "held back", f"by cooldown, longest duration or a related label{others}"
    if last.state.is_active:
        return "event", _why_active(last.state, last.state.threshold.off)
    return "quiet", _why_quiet(points, last.state.threshold.on)


def _why_active(state: LabelState, off: float) -> str:
    if state.smoothed >= state.limit:
        return f"until below off {off:.2f}"
    return f"{state.smoothed:.2f} < off {off:.2f} for {_waited(state)}"


def _why_quiet(points: Sequence[Point], on: float) -> str:
    states = [point.state for point in points]
    if any(state.is_active for state in states):
        return "the event ended"
    highest = max(states, key=lambda state: state.smoothed)
    if highest.smoothed >= highest.limit:
        return f"above on for {_waited(max(states, key=lambda state: state.beyond_s))}"
    is_short = max(point.score for point in points) >= on
    return f"{'too short: ' * is_short}{highest.smoothed:.2f} < on {on:.2f}"


def _waited(state: LabelState) -> str:
    return f"{state.beyond_s:.2f} of {state.wait_s:.2f} s"


def _numbers(points: Sequence[Point]) -> str:
    """The highest scores, and the thresholds."""
    score = max(point.score for point in points)
    smoothed = max(point.state.smoothed for point in points)
    text = f"score {score:.2f}  smoothed {smoothed:.2f}"
    threshold = points[-1].state.threshold
    return f"{text}  on {threshold.on:.2f}  off {threshold.off:.2f}" if threshold else text


class Explainer(Sink):
    """Follows labels; what is made of the points is told by `_step`."""

    def __init__(self, labels: Sequence[str], explained: Explained) -> None:
        """labels: of all scores."""
        self._labels = tuple(explained.labels)
        self._indices = [list(labels).index(label) for label in self._labels]
        self._related = [related_labels(x) | synonymous_labels(x) for x in self._labels]
        self._reported: set[str] = set()
        self._state_of: StateOf | None = None
        self._time_s = 0.0

    def read(self, state_of: StateOf) -> None:
        """Explains by this state from now on: to be called before the first step."""
        self._state_of = state_of

    def on_event(self, event: Event) -> None:
        if event.kind == "start":
            self._reported.add(event.label)
        else:
            self._reported.discard(event.label)

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        assert self._state_of is not None, "read comes first"
        self._time_s = time_s
        rows = zip(self._labels, self._indices, self._related, strict=True)
        self._step(
            [
                Point(
                    time_s,
                    float(scores[i]),
                    self._state_of(label),
                    label in self._reported,
                    tuple(sorted(related & self._reported)),
                )
                for label, i, related in rows
            ]
        )

    def _step(self, points: Sequence[Point]) -> None:
        """One for each label."""
        raise NotImplementedError


class ExplainSink(Explainer):
    """Writes a line a second for each label: the highest score and smoothed score of that
    second, the thresholds, the state and its reason."""

    def __init__(
        self, stream: TextIO, labels: Sequence[str], explained: Explained, name: str = ""
    ) -> None:
        """name: of the source, before every line; empty where there is one."""
        super().__init__(labels, explained)
        self._stream = stream
        self._prefix = f"{name}  " if name else ""
        self._second: list[Sequence[Point]] = []

    def _step(self, points: Sequence[Point]) -> None:
        if self._second and int(points[0].time_s) > int(self._second[0][0].time_s):
            self._write()
        self._second.append(points)

    def close(self) -> None:
        if self._second:
            self._write()

    def _write(self) -> None:
        for label, points in zip(self._labels, zip(*self._second, strict=True), strict=True):
            when = f"{self._prefix}{clock(points[-1].time_s):>10}  why    {label}"
            why = ": ".join(reason(points))
            self._stream.write(printable(f"{when}  {_numbers(points)}  {why}") + "\n")
        self._second.clear()
        self._stream.flush()


class ExplainView(Explainer):
    """The same as a chart for each label, drawn into a terminal in place."""

    def __init__(
        self, console: Console, title: str, labels: Sequence[str], explained: Explained
    ) -> None:
        super().__init__(labels, explained)
        n_points = round(CHART_S / explained.step_s)
        self._console, self._title = console, title
        self._points: list[deque[Point]] = [deque(maxlen=n_points) for _ in explained.labels]
        self._frames = Frames(console, self.render)
        self._keys = Keys()

    def _step(self, points: Sequence[Point]) -> None:
        for known, point in zip(self._points, points, strict=True):
            known.append(point)
        self._frames.draw_if_due()

    def on_notice(self, text: str) -> None:
        line = f"{clock(self._time_s)}  {printable(text)}"
        self.say(Text(line, style="yellow"))

    def say(self, text: Text) -> None:
        """A line below the charts, that people are to see whatever comes."""
        self._frames.say(text)

    def close(self) -> None:
        self._keys.close()
        self._frames.close()

    def render(self) -> RenderableType:
        """One frame: as many charts as the terminal has room for."""
        width, height = max(MIN_WIDTH, self._console.width), max(MIN_HEIGHT, self._frames.height)
        n_shown = max(1, (height - 3) // (CHART_ROWS + 3))
        rows = list(zip(self._labels, self._points, strict=True))
        parts = [line for row in rows[:n_shown] for line in chart(*row, width - 4)]
        if len(rows) > n_shown:
            parts.append(Text(f"{len(rows) - n_shown} more need a higher terminal", style="dim"))
        title = Text.assemble(("edge-audio", "bold"), f" {self._title}")
        subtitle = clock(self._time_s)
        return Panel(Group(*parts), title=title, subtitle=subtitle, width=width, height=height)


def chart(label: str, points: Sequence[Point], width: int) -> list[Text]:
    """Label and state, the plot, and the numbers of now."""
    if not points:
        return [Text(label, style="bold")]
    now = [points[-1]]
    state, why = reason(now)
    style = {"event": "green", "held back": "yellow"}.get(state, "cyan")
    head = Text.assemble((label, f"bold {style}"), f"  {state}: {why}", no_wrap=True)
    numbers, span = _numbers(now), f"last {CHART_S:.0f} s"
    pause = " " * max(1, width - EDGE_WIDTH - len(numbers) - len(span))
    foot = Text(f"{' ' * EDGE_WIDTH}{numbers}{pause}{span}", style="dim", no_wrap=True)
    return [head, *plot(points, width), foot]


def plot(points: Sequence[Point], width: int) -> list[Text]:
    """Score (dim) and smoothed score over time, with dotted lines at `on` and `off`."""
    threshold = points[-1].state.threshold
    limits = [threshold.off, threshold.on] if threshold else []
    highest = max([*limits, *(point.score for point in points)])
    scale = next((scale for scale in _SCALES if scale >= highest), 1.0)
    canvas = Braille(width - EDGE_WIDTH, CHART_ROWS)
    for limit in limits:
        canvas.level(limit / scale, "yellow")
    places = [1.0 - (points[-1].time_s - point.time_s) / CHART_S for point in points]
    canvas.curve(places, [point.score / scale for point in points], "bright_black")
    canvas.curve(places, [point.state.smoothed / scale for point in points], "green")
    edges = [f"{scale:.2f}", *[""] * (CHART_ROWS - 2), "0.00"]
    return [
        Text.assemble((f"{edge:>{EDGE_WIDTH - 1}} ", "dim"), row, no_wrap=True)
        for edge, row in zip(edges, canvas.rows(), strict=True)
    ]
