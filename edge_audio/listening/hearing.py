"""What a listening run hears: one stream each, from audio that is tagged here (`AudioHearing`) or
from a device that tags by itself (`DeviceHearing`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, TypeVar

from edge_audio.bundle.spec import EventSpec
from edge_audio.events.detector import Event, LabelState
from edge_audio.sources.base import Block
from edge_audio.sources.interleave import Feed
from edge_audio.sources.stream import Stream
from edge_audio.support.arrays import FloatArray


class Wanted(NamedTuple):
    """What somebody wants to know of a stream.

    events: thresholds, smoothing and durations. gate_dbfs: see LevelGate.
    n_top: how many of the highest scores of each step somebody looks at, 0 = none.
    top_of_watched: only among the labels of `events`.
    """

    events: EventSpec
    gate_dbfs: float | None = None
    n_top: int = 0
    top_of_watched: bool = False


class HeardStep(NamedTuple):
    """What one step brought, on the clock of the source: lost audio included.

    time_s: end of the step. events: those that began or ended, now or a little earlier.
    scores: f32[n_labels], probabilities; None where the device sent none.
    """

    time_s: float
    events: list[Event]
    scores: FloatArray | None = None


HearingT = TypeVar("HearingT", bound="Hearing")


class Hearing(Protocol):
    """One stream, from its opening to its end:

        with hearing:
            hearing.begin(wanted)
            for _, piece in interleaved([hearing.feed()], ...):
                for item in hearing.hear(piece): ...
            last = hearing.finish()

    All but the feed's pieces is done by one thread, the listening one.

    source_name: what a user calls the source.
    stream, default_events: labels, rate and counters, and the model's own settings of events;
        known once it is open.
    playing: tells for an audio time in seconds what the source plays, where it knows.
    """

    @property
    def source_name(self) -> str: ...

    @property
    def playing(self) -> Callable[[float], str] | None: ...

    @property
    def stream(self) -> Stream: ...

    @property
    def default_events(self) -> EventSpec: ...

    @property
    def time_s(self) -> float:
        """How far it was heard, on the clock of the source."""

    @property
    def label_state(self) -> Callable[[str], LabelState] | None:
        """Where a label that is explained stands after the latest step, once this has begun; None
        where nobody here can know."""

    @property
    def line_state(self) -> str:
        """How well the connection to a device works; "" where there is none."""

    def __enter__(self: HearingT) -> HearingT:
        """Opens what it hears. Raises UsageError or SourceError."""

    def __exit__(self, *_: object) -> None:
        """Closes it; the feed must have been closed."""

    def check(self, wanted: Wanted) -> list[str]:
        """What of it cannot be had of this stream, a line each."""

    def begin(self, wanted: Wanted) -> None:
        """To be called once, before `feed`. Raises BackendError or SourceError."""

    def feed(self) -> Feed[Any]:
        """The pieces that `hear` takes, each in its turn; not yet started."""

    def hear(self, piece: Any) -> Iterator[Block | HeardStep]:
        """The next piece of the feed -> its audio, if that comes here, and then what was found in
        it. To be exhausted."""

    def change(self, wanted: Wanted) -> list[Event]:
        """Goes on by other settings, without losing what was heard. Returns the ends of events
        whose labels are no longer watched."""

    def finish(self) -> list[Event]:
        """The stream has ended: the ends of all events that are open, and what the last audio
        brought."""

    def summary(self) -> str:
        """One line for the end of a run."""
