"""A stream of audio that is tagged here: a source and a tagger."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from edge_audio.bundle.spec import EventSpec
from edge_audio.bundle.store import Bundle
from edge_audio.events.detector import Event, LabelState
from edge_audio.listening.hearing import HeardStep, Wanted
from edge_audio.sources.base import Block, Source, first_seconds, paced
from edge_audio.sources.demo import DemoScene
from edge_audio.sources.interleave import Feed, feed_blocks
from edge_audio.sources.rest import Rest
from edge_audio.sources.stream import Stream
from edge_audio.tagging.tagger import Tagger

_MAX_GAPS = 10_000  # that are remembered, for events that began before them


class AudioHearing:
    """A source and a tagger as one `Hearing`. tagger: known once this has begun."""

    line_state = ""
    is_folding = False

    def __init__(
        self,
        name: str,
        source: Source,
        bundle: Bundle,
        open_tagger: Callable[[EventSpec, float | None], Tagger],
        realtime: bool = False,
        duration_s: float | None = None,
        rest: Rest | None = None,
    ) -> None:
        """name: of the stream. realtime: plays a source that is not live at the speed of sound.
        duration_s: cuts the stream off after so much audio. rest: of a microphone."""
        manifest = bundle.manifest
        self.source = source
        self.default_events = manifest.events
        self.playing = source.segment_at if isinstance(source, DemoScene) else None
        self._is_paced = realtime and not source.live
        live = source.live or realtime
        self.stream = Stream(name, manifest.labels, source.sample_rate_hz, live)
        self.stream.parents = bundle.parents
        self._open_tagger, self._duration_s = open_tagger, duration_s
        self._rest, self._is_looked_at = rest, False
        self._clock = SourceClock(source.sample_rate_hz)
        self._stopped = threading.Event()
        self._feed: Feed[Block] | None = None

    @property
    def source_name(self) -> str:
        return self.source.name

    @property
    def label_state(self) -> Callable[[str], LabelState]:
        return self.tagger.label_state

    @property
    def time_s(self) -> float:
        return self._clock(self.tagger.time_s)

    def __enter__(self) -> AudioHearing:
        self.source.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._feed is None or self._feed.is_over:  # else it is still being read
            self.source.__exit__(None, None, None)

    def check(self, wanted: Wanted) -> list[str]:
        return []

    def begin(self, wanted: Wanted) -> None:
        self.tagger = self._open_tagger(wanted.events, wanted.gate_dbfs)
        self._is_looked_at = wanted.n_top > 0

    def feed(self) -> Feed[Block]:
        source = self.source
        self._feed = feed_blocks(
            self._blocks(), source.sample_rate_hz, source.waits, self.stop, source.max_burst_s
        )
        return self._feed

    def stop(self) -> None:
        """Called by another thread: the feed ends soon."""
        self._stopped.set()
        self.source.stop()

    def _blocks(self) -> Iterable[Block]:
        blocks: Iterable[Block] = self.source.blocks()
        if self._is_paced:
            blocks = paced(blocks, self.source.sample_rate_hz, self._stopped.wait)
        if self._duration_s is not None:
            blocks = first_seconds(blocks, self.source.sample_rate_hz, self._duration_s)
        return blocks

    def hear(self, piece: Block) -> Iterator[Block | HeardStep]:
        self.stream.stats.count(piece, self.source)
        yield piece
        self._clock.begin_block(self.tagger.time_s, piece.time_s)
        for step in self.tagger.steps(piece.samples):
            yield HeardStep(self._clock(step.time_s), self._on_clock(step.events), step.scores)
        if self._rest is not None:
            self._rest.is_allowed = self.tagger.is_idle and not self._is_looked_at

    def change(self, wanted: Wanted) -> list[Event]:
        ended = self.tagger.change_events(wanted.events)
        self.tagger.gate_dbfs = wanted.gate_dbfs
        self._is_looked_at = wanted.n_top > 0
        return self._on_clock(ended)

    def finish(self) -> list[Event]:
        return self._on_clock(self.tagger.flush())

    def summary(self) -> str:
        return self.stream.stats.summary()

    def _on_clock(self, events: Sequence[Event]) -> list[Event]:
        """The events with times on the clock of the source: the tagger's clock lacks what the
        source lost."""
        return [msgspec.structs.replace(e, time_s=self._clock(e.time_s)) for e in events]


class SourceClock:
    """From the clock of a tagger, which counts the samples that it was given, to that of their
    source, which counts those that were lost as well."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate_hz = sample_rate_hz
        # Where each stretch without a gap begins on the tagger's clock, and how many samples had
        # been lost by then.
        self._starts_s = [0.0]
        self._n_lost_samples = [0]

    def begin_block(self, tagger_s: float, source_s: float) -> None:
        """Notes where a block that the tagger is about to get begins on both clocks, in seconds."""
        n_lost_samples = round((source_s - tagger_s) * self._rate_hz)
        if n_lost_samples == self._n_lost_samples[-1]:
            return
        if self._starts_s[-1] == tagger_s:
            self._starts_s.pop()
            self._n_lost_samples.pop()
        self._starts_s.append(tagger_s)
        self._n_lost_samples.append(n_lost_samples)
        if len(self._starts_s) > _MAX_GAPS:
            del self._starts_s[: _MAX_GAPS // 2], self._n_lost_samples[: _MAX_GAPS // 2]

    def __call__(self, tagger_s: float) -> float:
        """A time of the tagger on the clock of the source. A step or event that ends where a gap is
        belongs to the audio before it."""
        stretch = max(0, bisect_left(self._starts_s, tagger_s) - 1)
        n_lost_samples = self._n_lost_samples[stretch]
        return tagger_s + n_lost_samples / self._rate_hz if n_lost_samples else tagger_s
