"""What a listening run hears: one stream each, from audio that is tagged here (`AudioHearing`) or
from a device that tags by itself (`DeviceHearing`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, TypeVar

from edge_audio.bundle.spec import EventSpec
from edge_audio.events.detector import Event, LabelState
from edge_audio.events.policy import Related
from edge_audio.sources.base import Block
from edge_audio.sources.interleave import Feed
from edge_audio.sources.stream import Stream
from edge_audio.support.arrays import FloatArray


class Wanted(NamedTuple):
    """What somebody wants to know of a stream.

    events: thresholds, smoothing and durations. gate_dbfs: see LevelGate.
    n_top: how many of the highest scores of each step somebody looks at, 0 = none.
    top_of_watched: only among the labels of `events`. related: see `PolicySpec`.
    """

    events: EventSpec
    gate_dbfs: float | None = None
    n_top: int = 0
    top_of_watched: bool = False
    related: Related = "all"


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
    def is_folding(self) -> bool:
        """Whether it reports of related labels what is wanted by itself: then the report policy has
        to leave them as they come."""

    @property
    def time_s(self) -> float:
        """How far the stream has been listened to, in seconds on the clock of the source."""

    @property
    def label_state(self) -> Callable[[str], LabelState] | None:
        """What the detector knows of an explained label after the latest step, once this has begun;
        None where the detector is on a device."""

    @property
    def line_state(self) -> str:
        """How well the connection to a device works; "" where there is none."""

    def __enter__(self: HearingT) -> HearingT:
        """Opens the source or device. Raises UsageError or SourceError."""

    def __exit__(self, *_: object) -> None:
        """Closes the source or device; the feed must have been closed before."""

    def check(self, wanted: Wanted) -> list[str]:
        """What this stream cannot do of what is wanted, a line each."""

    def begin(self, wanted: Wanted) -> None:
        """Starts the stream, once and before `feed`. Raises BackendError or SourceError."""

    def feed(self) -> Feed[Any]:
        """The pieces that `hear` takes, in their order; the feed is not yet started."""

    def hear(self, piece: Any) -> Iterator[Block | HeardStep]:
        """The next piece of the feed -> its audio, where that comes to this process, then the steps
        found in it. Iterate to the end: the work is done on the way."""

    def change(self, wanted: Wanted) -> list[Event]:
        """Goes on by other settings; the state of the stream stays. Returns the ends of open events
        whose labels are no longer watched."""

    def finish(self) -> list[Event]:
        """Ends the stream. Returns the events of the last audio and the ends of all that are
        open."""

    def summary(self) -> str:
        """One line for the end of a run."""
