"""`--explain LABEL`: why a label became an event, or why not, step by step."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

import click
import msgspec
import numpy as np
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from edge_audio.bundle.spec import EventSpec, Threshold
from edge_audio.cli.live.braille import Braille
from edge_audio.cli.live.frames import Frames
from edge_audio.events.detector import Event, EventDetector, smoothing_factor
from edge_audio.sinks.base import Sink
from edge_audio.support.arrays import FloatArray
from edge_audio.support.text import clock

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
EDGE_WIDTH = 6  # of a chart: its scale on the left
MIN_WIDTH, MAX_WIDTH = 40, 120
_SCALES = (0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True)
class Explained:
    """Which labels are traced. spec: how events come about. step_s: seconds between two steps."""

    labels: Sequence[str]
    spec: EventSpec
    step_s: float


@dataclass(frozen=True)
class Point:
    """What was known of a label at the end of a step.

    held_s: how long the smoothed score has been beyond the threshold that counts, `on` before an
        event and `off` within.
    is_on: an event is open by the rules of EventSpec. is_reported: it was also passed on.
    """

    time_s: float
    score: float
    smoothed: float
    held_s: float
    is_on: bool
    is_reported: bool


class Trace:
    """Follows one label as the event detector does."""

    def __init__(self, label: str, index: int, spec: EventSpec, step_s: float) -> None:
        """index: of the label in all scores."""
        self.label = label
        self._index, self._step_s = index, step_s
        self._smoothed = np.zeros(1, np.float32)
        self._crossed_s: float | None = None
        self._is_on = self._is_reported = False
        self._configure(spec)
        self._detector = EventDetector([label], self._spec, step_s)

    def _configure(self, spec: EventSpec) -> None:
        own = {x: threshold for x, threshold in spec.thresholds.items() if x == self.label}
        self._spec = msgspec.structs.replace(spec, thresholds=own)
        self._alpha = np.float32(smoothing_factor(spec.smoothing_s, self._step_s))

    @property
    def threshold(self) -> Threshold | None:
        """None where the label is not watched."""
        return self._spec.thresholds.get(self.label)

    def change(self, spec: EventSpec, time_s: float) -> None:
        """Goes on by other settings."""
        was_watched = self.threshold is not None
        self._configure(spec)
        self._detector.change(self._spec, time_s)
        if self.threshold is not None and not was_watched:
            self._smoothed[:] = 0.0  # as the detector does
        self._is_on &= self.threshold is not None
        self._crossed_s = None

    def note(self, event: Event) -> None:
        """An event of any label was passed on."""
        if event.label == self.label:
            self._is_reported = event.kind == "start"

    def push(self, time_s: float, scores: FloatArray) -> Point:
        """The step that ends at time_s."""
        change = scores[self._index : self._index + 1] - self._smoothed
        change *= self._alpha
        self._smoothed += change
        for event in self._detector.push(scores[self._index : self._index + 1], time_s):
            self._is_on = event.kind == "start"
            self._crossed_s = None
        smoothed = float(self._smoothed[0])
        if not self._is_beyond(self._smoothed[0]):
            self._crossed_s = None
        elif self._crossed_s is None:
            self._crossed_s = time_s
        held_s = 0.0 if self._crossed_s is None else time_s - self._crossed_s
        score = float(scores[self._index])
        return Point(time_s, score, smoothed, held_s, self._is_on, self._is_reported)

    def _is_beyond(self, smoothed: np.float32) -> bool:
        if self.threshold is None:
            return False
        if self._is_on:
            return bool(smoothed < np.float32(self.threshold.off))
        return bool(smoothed >= np.float32(self.threshold.on))

    def state(self, points: Sequence[Point]) -> tuple[str, str]:
        """(state, why) of a stretch of time, in words."""
        last = points[-1]
        if self.threshold is None:
            return "off", "not watched: without a threshold, excluded or not among --only"
        if last.is_on and not last.is_reported:
            return "held back", "by cooldown, longest duration or a label akin to it"
        if last.is_on:
            return "event", self._why_on(last, self.threshold.off)
        return "quiet", self._why_quiet(points, self.threshold.on)

    def _why_on(self, last: Point, off: float) -> str:
        if last.smoothed >= off:
            return f"until below off {off:.2f}"
        return f"{last.smoothed:.2f} < off {off:.2f} for {_waited(last, self._spec.min_off_s)}"

    def _why_quiet(self, points: Sequence[Point], on: float) -> str:
        if any(point.is_on for point in points):
            return "the event ended"
        highest = max(points, key=lambda point: point.smoothed)
        longest = max(points, key=lambda point: point.held_s)
        if highest.smoothed >= on:
            return f"above on for {_waited(longest, self._spec.min_on_s)}"
        is_short = max(point.score for point in points) >= on
        return f"{'too short: ' * is_short}{highest.smoothed:.2f} < on {on:.2f}"


def _waited(point: Point, wait_s: float) -> str:
    return f"{point.held_s:.2f} of {wait_s:.2f} s"


def _numbers(trace: Trace, points: Sequence[Point]) -> str:
    """The highest scores, and the thresholds."""
    score, smoothed = (max(getattr(x, kind) for x in points) for kind in ("score", "smoothed"))
    text = f"score {score:.2f}  smoothed {smoothed:.2f}"
    if trace.threshold is None:
        return text
    return f"{text}  on {trace.threshold.on:.2f}  off {trace.threshold.off:.2f}"


class Explainer(Sink):
    """Traces labels; what is made of the points is told by `_step`."""

    def __init__(self, labels: Sequence[str], explained: Explained) -> None:
        """labels: of all scores."""
        spec, step_s = explained.spec, explained.step_s
        self._traces = [Trace(x, list(labels).index(x), spec, step_s) for x in explained.labels]
        self._time_s = 0.0

    def change(self, spec: EventSpec) -> None:
        """The settings of events are others from now on."""
        for trace in self._traces:
            trace.change(spec, self._time_s)

    def on_event(self, event: Event) -> None:
        for trace in self._traces:
            trace.note(event)

    def on_scores(self, time_s: float, scores: FloatArray) -> None:
        self._time_s = time_s
        self._step([trace.push(time_s, scores) for trace in self._traces])

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
        for trace, points in zip(self._traces, zip(*self._second, strict=True), strict=True):
            when = f"{self._prefix}{clock(points[-1].time_s):>10}  why    {trace.label}"
            why = ": ".join(trace.state(points))
            self._stream.write(f"{when}  {_numbers(trace, points)}  {why}\n")
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

    def _step(self, points: Sequence[Point]) -> None:
        for known, point in zip(self._points, points, strict=True):
            known.append(point)
        self._frames.draw_if_due()

    def close(self) -> None:
        self._frames.close()

    def render(self) -> RenderableType:
        """One frame: as many charts as the terminal has room for."""
        width = min(MAX_WIDTH, max(MIN_WIDTH, self._console.width))
        n_shown = max(1, (self._console.height - 3) // (CHART_ROWS + 3))
        rows = list(zip(self._traces, self._points, strict=True))
        parts = [line for row in rows[:n_shown] for line in chart(*row, width - 4)]
        if len(rows) > n_shown:
            parts.append(Text(f"{len(rows) - n_shown} more need a higher terminal", style="dim"))
        title = Text.assemble(("edge-audio", "bold"), f" {self._title}")
        return Panel(Group(*parts), title=title, subtitle=clock(self._time_s), width=width)


def chart(trace: Trace, points: Sequence[Point], width: int) -> list[Text]:
    """Label and state, the plot, and the numbers of now."""
    if not points:
        return [Text(trace.label, style="bold")]
    now = [points[-1]]
    state, why = trace.state(now)
    style = {"event": "green", "held back": "yellow"}.get(state, "cyan")
    head = Text.assemble((trace.label, f"bold {style}"), f"  {state}: {why}", no_wrap=True)
    numbers, span = _numbers(trace, now), f"last {CHART_S:.0f} s"
    pause = " " * max(1, width - EDGE_WIDTH - len(numbers) - len(span))
    foot = Text(f"{' ' * EDGE_WIDTH}{numbers}{pause}{span}", style="dim", no_wrap=True)
    return [head, *plot(trace, points, width), foot]


def plot(trace: Trace, points: Sequence[Point], width: int) -> list[Text]:
    """Score (dim) and smoothed score over time, with dotted lines at `on` and `off`."""
    threshold = trace.threshold
    limits = [threshold.off, threshold.on] if threshold else []
    highest = max([*limits, *(point.score for point in points)])
    scale = next((scale for scale in _SCALES if scale >= highest), 1.0)
    canvas = Braille(width - EDGE_WIDTH, CHART_ROWS)
    for limit in limits:
        canvas.level(limit / scale, "yellow")
    places = [1.0 - (points[-1].time_s - point.time_s) / CHART_S for point in points]
    canvas.curve(places, [point.score / scale for point in points], "bright_black")
    canvas.curve(places, [point.smoothed / scale for point in points], "green")
    edges = [f"{scale:.2f}", *[""] * (CHART_ROWS - 2), "0.00"]
    return [
        Text.assemble((f"{edge:>{EDGE_WIDTH - 1}} ", "dim"), row, no_wrap=True)
        for edge, row in zip(edges, canvas.rows(), strict=True)
    ]
