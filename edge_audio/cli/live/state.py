"""What the live view knows of a stream."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field, replace

import numpy as np
from rich.text import Text

from edge_audio.bundle.spec import EventSpec, Threshold
from edge_audio.cli.live.layout import HISTORY_S
from edge_audio.events.detector import Event
from edge_audio.events.unwatched import UnwatchedSounds
from edge_audio.sources.stream import Stream
from edge_audio.support.arrays import FloatArray
from edge_audio.support.text import clock

FALL_TIME_S = 0.7  # bars fall this slowly, so that an eye can read their labels
N_RECENT = 200


@dataclass(frozen=True)
class Watched:
    """By what settings a stream is listened to.

    events: thresholds of the labels that are on. wanted: labels that the user did not rule out,
    None = all. step_s: seconds between two steps.
    """

    events: EventSpec
    step_s: float
    wanted: Collection[str] | None = None


def heard_now(
    unwatched: UnwatchedSounds,
    stream: Stream,
    time_s: float,
    scores: FloatArray,
    active: Collection[str],
) -> list[str]:
    """Labels that are off and are heard for the first time, in the step that ends at time_s. While
    all events or those of a label are held back, a label that is off says nothing in their place.
    active: labels of events that are open."""
    if stream.is_paused:
        unwatched.pass_over(scores, time_s)
        return []
    return unwatched.push(scores, time_s, stream.held_back.union(active))


@dataclass
class StreamState:
    """What is known of a stream: scores that fall slowly, their history, events, notices.

    watched: None where nobody told; then no label is known to be off.
    """

    stream: Stream
    watched: Watched | None = None
    time_s: float = 0.0
    shown: FloatArray | None = None
    active: dict[str, Event] = field(default_factory=dict)
    recent: deque[Event] = field(default_factory=lambda: deque(maxlen=N_RECENT))
    history: deque[FloatArray] = field(default_factory=lambda: deque(maxlen=HISTORY_S))
    notice: str = ""
    notice_at_s: float = float("-inf")  # by the clock of the process
    unwatched: UnwatchedSounds | None = None

    def __post_init__(self) -> None:
        if self.watched is not None and self.unwatched is None:
            watched = self.watched
            self.unwatched = UnwatchedSounds(
                self.stream.labels, watched.events, watched.step_s, watched.wanted
            )

    def frozen(self) -> StreamState:
        """As it is now, whatever comes."""
        return replace(
            self,
            shown=None if self.shown is None else self.shown.copy(),
            active=dict(self.active),
            recent=self.recent.copy(),
            history=deque((scores.copy() for scores in self.history), maxlen=HISTORY_S),
        )

    def watch(self, watched: Watched) -> None:
        """Other settings hold from now on."""
        self.watched = watched
        if self.unwatched is not None:
            self.unwatched.change(watched.events, watched.wanted)

    def threshold(self, label: str) -> Threshold | None:
        return self.watched.events.thresholds.get(label) if self.watched else None

    def take_event(self, event: Event) -> None:
        self.recent.appendleft(event)
        if event.kind == "start":
            self.active[event.label] = event
        else:
            self.active.pop(event.label, None)

    def take_scores(self, time_s: float, scores: FloatArray) -> None:
        if self.shown is None:
            self.shown = scores.copy()
        fall = np.float32(np.exp(-max(0.0, time_s - self.time_s) / FALL_TIME_S))
        self.shown = np.maximum(scores, self.shown * fall)
        if int(time_s) > int(self.time_s) or not self.history:
            self.history.append(scores.copy())
        else:
            np.maximum(self.history[-1], scores, out=self.history[-1])
        self.time_s = time_s
        if self.unwatched is not None:
            for label in heard_now(self.unwatched, self.stream, time_s, scores, self.active):
                self.take_notice(str(self.unwatched.told(label)))

    def take_notice(self, text: str) -> None:
        self.notice_at_s = time.monotonic()
        self.notice = f"{clock(self.time_s)}  {text}"

    def style(self, label: str) -> str:
        """Green: an event; grey: off."""
        if label in self.active:
            return "green"
        is_off = self.watched is not None and self.threshold(label) is None
        return "bright_black" if is_off else "cyan"

    def farewell(self) -> list[Text]:
        """What was heard of labels that are off, a line each, for when the view is gone."""
        lines = self.unwatched.lines() if self.unwatched is not None else []
        return [Text(f"{self.stream.name}: {line}", style="bright_black") for line in lines]
