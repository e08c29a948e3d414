"""The listening loop: source -> tagger -> sink, until the source ends or somebody stops it."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import TypeVar

import msgspec

from edge_audio.blocks import Block, Source
from edge_audio.events import Event
from edge_audio.sinks import Sink
from edge_audio.streams import Stats
from edge_audio.tagger import Tagger

Item = TypeVar("Item")


class StopSignals:
    """Makes Ctrl-C and SIGTERM end an iteration between two items.

    While the next item is awaited (which may take forever on a pipe) a signal interrupts the
    wait; while one is processed it only takes note, so that no line of output is cut in half. A
    second signal interrupts anything.
    """

    def __init__(self) -> None:
        self._stopped = False
        self._waiting = False

    def __enter__(self) -> StopSignals:
        kinds = (signal.SIGINT, signal.SIGTERM)
        self._previous = {kind: signal.signal(kind, self._handle) for kind in kinds}
        return self

    def __exit__(self, *_: object) -> None:
        for kind, handler in self._previous.items():
            signal.signal(kind, handler)

    def until_stopped(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items up to the first signal."""
        iterator = iter(items)
        try:
            while not self._stopped:
                self._waiting = True
                item = next(iterator)
                self._waiting = False
                yield item
        except (StopIteration, KeyboardInterrupt):
            return
        finally:
            self._waiting = False

    def _handle(self, signal_number: int, frame: FrameType | None) -> None:
        if self._stopped or self._waiting:
            raise KeyboardInterrupt
        self._stopped = True


def first_seconds(
    blocks: Iterable[Block], sample_rate_hz: int, duration_s: float
) -> Iterator[Block]:
    """The blocks up to duration_s of audio, the last one cut to the sample."""
    n_left = round(duration_s * sample_rate_hz)
    for block in blocks:
        samples = block.samples[:n_left]
        yield Block(samples, block.time_s, block.n_dropped, block.overflowed)
        n_left -= len(samples)
        if n_left <= 0:
            return


def listen_to(
    blocks: Iterable[Block], source: Source, tagger: Tagger, sink: Sink, stats: Stats
) -> None:
    """Feeds blocks of the source through the tagger into the sink. Ends open events at the end,
    also where the source fails, so that every start has its end."""
    with StopSignals() as signals:
        try:
            for block in signals.until_stopped(blocks):
                stats.count(block, source)
                sink.on_audio(block)
                for time_s, scores, events in tagger.stream(block.samples):
                    emit(events, sink, stats)
                    sink.on_scores(time_s + stats.lost_s, scores)
        finally:
            emit(tagger.flush(), sink, stats)


def emit(events: Iterable[Event], sink: Sink, stats: Stats) -> None:
    """Passes events on, on the clock of the source: the tagger's lacks what the source lost."""
    for event in events:
        stats.n_events += event.kind == "start"
        sink.on_event(msgspec.structs.replace(event, time_s=event.time_s + stats.lost_s))
