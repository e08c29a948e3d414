"""A device that tags by itself, on a serial line, as one stream of a listening run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from edge_audio.bundle.spec import EventSpec
from edge_audio.events.detector import Event
from edge_audio.listening.hearing import HeardStep, Wanted
from edge_audio.serial.device import SerialDevice
from edge_audio.serial.messages import Notice, Progress, StepScores
from edge_audio.sources.base import Block
from edge_audio.sources.interleave import Feed
from edge_audio.sources.stream import Stream, lost

_MAX_WAITING = 4_096  # items: minutes of events, and scores for some

Report = Event | StepScores | Progress


class DeviceHearing:
    """What a device reports; see `Hearing`. Its labels and thresholds are those of its own model,
    its audio stays there."""

    playing = None
    label_state = None

    def __init__(
        self,
        name: str,
        device: SerialDevice,
        notice: Callable[[str], None],
        duration_s: float | None = None,
    ) -> None:
        """name: of the stream. notice: is told of the state of the connection, by any thread.
        duration_s: of the device's audio, where it is cut off."""
        self.source_name = device.port
        self._name, self._device, self._notice = name, device, notice
        self._limit_s = float("inf") if duration_s is None else duration_s
        self._time_s = 0.0
        self._open: dict[str, Event] = {}  # label -> its start, as passed on
        self._feed: Feed[Report] | None = None

    @property
    def default_events(self) -> EventSpec:
        return self._device.events

    @property
    def is_folding(self) -> bool:
        return self._device.is_folding

    @property
    def time_s(self) -> float:
        return min(self._time_s, self._limit_s)

    @property
    def line_state(self) -> str:
        return str(self._device.losses)

    def __enter__(self) -> DeviceHearing:
        self._device.__enter__()
        hello = self._device.hello
        assert hello is not None  # it was heard when the device was opened
        labels, rate_hz = self._device.labels, hello.sample_rate_hz
        self.stream = Stream(self._name, labels, rate_hz, live=True, has_audio=False)
        return self

    def __exit__(self, *_: object) -> None:
        if self._feed is None or self._feed.is_over:
            self._device.__exit__(None, None, None)

    def check(self, wanted: Wanted) -> list[str]:
        own, asked = self.default_events, wanted.events
        names = ("smoothing_s", "attack_s", "min_on_s", "min_off_s")
        stay = [name for name in names if getattr(own, name) != getattr(asked, name)]
        stay += ["gate_dbfs"] * (wanted.gate_dbfs is not None)
        return [f"{', '.join(stay)} cannot be set on a device: its own hold"] * bool(stay)

    def begin(self, wanted: Wanted) -> None:
        self._watched = frozenset(wanted.events.thresholds)
        self._device.start(
            wanted.events.thresholds, wanted.n_top, wanted.top_of_watched, wanted.related
        )

    def feed(self) -> Feed[Report]:
        self._feed = Feed(self._reports(), self._device.stop, _MAX_WAITING)
        return self._feed

    def _reports(self) -> Iterator[Report]:
        """What the device reports, item by item. Runs in the feed's thread."""
        for item in self._device.stream():
            if isinstance(item, Notice):
                self._notice(item.text)
            elif item.time_s <= self._limit_s:
                yield item
            if isinstance(item, Progress) and item.time_s >= self._limit_s:
                return

    def hear(self, piece: Report) -> Iterator[Block | HeardStep]:
        if isinstance(piece, Event):
            events = [piece] if piece.label in self._watched else []
            self._note(events)
            yield HeardStep(self.time_s, events)
            return
        self._time_s = max(self._time_s, piece.time_s)
        self._count()
        scores = piece.scores if isinstance(piece, StepScores) else None
        yield HeardStep(self.time_s, [], scores)

    def change(self, wanted: Wanted) -> list[Event]:
        thresholds = wanted.events.thresholds
        self._watched = frozenset(thresholds)
        self._device.change(thresholds, wanted.n_top, wanted.top_of_watched, wanted.related)
        return self._end([label for label in self._open if label not in thresholds])

    def finish(self) -> list[Event]:
        return self._end(list(self._open))

    def summary(self) -> str:
        device = self._device
        n_events = self.stream.stats.n_events
        text = f"{self.time_s:.1f} s of audio on the device, {n_events} events, {device.losses}"
        stats = device.device_stats
        if stats is None:
            return text
        return (
            f"{text}; on the device {lost(self.stream.stats.lost_s, 0)}, {stats.n_tx_drops} "
            f"frames unsent, {stats.n_rx_bad + stats.n_rx_version} commands damaged, "
            f"{stats.n_rx_overruns} bytes overrun"
        )

    def _note(self, events: list[Event]) -> None:
        for event in events:
            if event.kind == "start":
                self._open[event.label] = event
            else:
                self._open.pop(event.label, None)

    def _end(self, labels: list[str]) -> list[Event]:
        """Ends for events that the device left open; their true scores are not known."""
        starts = [self._open.pop(label) for label in labels]
        return [
            msgspec.structs.replace(start, kind="end", time_s=max(self.time_s, start.time_s))
            for start in starts
        ]

    def _count(self) -> None:
        stats, device = self.stream.stats, self._device
        stats.audio_s = self.time_s
        stats.heard_until(self.time_s)
        stats.n_restarts = device.losses.n_reboots + device.losses.n_reconnects
        if device.device_stats is not None:
            n_lost_samples = device.device_stats.n_lost_samples
            stats.lost_s = n_lost_samples / self.stream.sample_rate_hz
