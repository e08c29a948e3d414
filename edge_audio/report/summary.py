"""A log aggregated: labels, loudness and interruptions, in memory that does not grow with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from edge_audio.report.axis import Axis, duration
from edge_audio.report.bounds import Bounds
from edge_audio.report.series import Levels, Segment, Segments, State
from edge_audio.sinks.log_reader import LogRecord
from edge_audio.support.text import one_line

QUARTER_S = 900  # every offset from UTC in use is a multiple of it, so hours can be made of them
MAX_ROWS = 2000
MAX_STREAMS = 100
MAX_INTERRUPTIONS = 500
MAX_TEXT_CHARS = 200
GAP_S = 60.0  # without any record, where levels are written more often than that
LATE_S = 60.0  # an event may be written this long after it
CLOCK_JUMP_S = 10.0  # more than a busy machine is late


@dataclass
class Row:
    """One label of one stream."""

    stream: str
    label: str
    n_events: int = 0
    sounding_s: float = 0.0
    longest_s: float = 0.0
    top_score: float = 0.0
    first_s: float = float("inf")
    last_s: float = float("-inf")
    segments: Segments = field(default_factory=Segments)

    def add(self, segment: Segment) -> None:
        self.n_events += segment.n_events
        self.sounding_s += segment.sounding_s
        self.longest_s = max(self.longest_s, segment.sounding_s)
        self.top_score = max(self.top_score, segment.score)
        self.first_s = min(self.first_s, segment.start_s)
        self.last_s = max(self.last_s, segment.end_s)
        self.segments.add(segment)


@dataclass(frozen=True)
class Interruption:
    """Something that interrupted the listening. text: a line for people. is_gap: there is no audio
    from start_s to end_s."""

    start_s: float
    end_s: float
    stream: str
    text: str
    is_gap: bool = False


@dataclass
class StreamReport:
    """What the log says of one stream. heard_s: how long it was listened to."""

    name: str
    heard_s: float = 0.0
    levels: Levels = field(default_factory=Levels)


@dataclass
class Summary:
    """A log, aggregated.

    start_s, end_s: the first and last time within the bounds. quarters: events that began, by
        quarter of an hour. n_outside, n_undated, n_unlisted: records outside the bounds, without
        the time of day that others have, and of labels or streams beyond the most that are kept.
    """

    axis: Axis
    start_s: float = float("inf")
    end_s: float = float("-inf")
    streams: dict[str, StreamReport] = field(default_factory=dict)
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    quarters: dict[int, int] = field(default_factory=dict)
    interruptions: deque[Interruption] = field(
        default_factory=lambda: deque(maxlen=MAX_INTERRUPTIONS)
    )
    n_interruptions: int = 0
    n_gaps: int = 0
    gap_s: float = 0.0
    n_outside: int = 0
    n_undated: int = 0
    n_unlisted: int = 0

    @property
    def is_empty(self) -> bool:
        return self.start_s > self.end_s

    @property
    def n_events(self) -> int:
        return sum(row.n_events for row in self.rows.values())

    @property
    def ranked(self) -> list[Row]:
        """Labels by how often they began."""
        return sorted(self.rows.values(), key=lambda row: (-row.n_events, row.label, row.stream))

    def per_bin(self, width_s: int) -> dict[float, int]:
        """Start of a bin -> events that began in it, sorted."""
        counts: dict[float, int] = {}
        for quarter, n in sorted(self.quarters.items()):
            start_s = self.axis.bin_start(quarter * QUARTER_S, width_s)
            counts[start_s] = counts.get(start_s, 0) + n
        return counts


def summarise(records: Iterable[LogRecord], bounds: Bounds | None = None) -> Summary:
    """Reads a log once. The first record says whether times are of day or of audio. Raises
    UsageError for bounds of the other kind."""
    bounds = bounds or Bounds()
    reader: _Reader | None = None
    for record in records:
        if reader is None:
            bounds.check(record.at is not None)
            reader = _Reader(Axis(record.at is not None), bounds)
        reader.read(record)
    if reader is None:
        return Summary(Axis(is_dated=True))
    reader.finish()
    return reader.summary


class _Reader:
    """Puts records on the axis, and hands them to their streams."""

    def __init__(self, axis: Axis, bounds: Bounds) -> None:
        self.axis, self.bounds = axis, bounds
        self.summary = Summary(axis)
        self._streams: dict[str, _StreamReader] = {}

    def read(self, record: LogRecord) -> None:
        stream = self._reader_of(record.stream)
        if stream is None:
            self.summary.n_unlisted += 1
        elif not self.axis.is_dated:
            stream.read(record, stream.audio_time_s(record))
        elif record.at is None:
            self.summary.n_undated += 1
        else:
            offset = record.at.utcoffset()
            assert offset is not None
            time_s = record.at.timestamp()
            self.axis.note_offset(time_s, offset.total_seconds())
            stream.read(record, time_s)

    def finish(self) -> None:
        for stream in self._streams.values():
            stream.end_open("open")

    def _reader_of(self, name: str) -> _StreamReader | None:
        if name not in self._streams and len(self._streams) < MAX_STREAMS:
            self._streams[name] = _StreamReader(name, self)
        return self._streams.get(name)

    def clip(self, start_s: float, end_s: float) -> tuple[float, float] | None:
        """The part within the bounds, which becomes part of the summary's range."""
        within = self.bounds.clip(start_s, end_s, self.axis.offset_s(start_s))
        if within is not None:
            self.summary.start_s = min(self.summary.start_s, within[0])
            self.summary.end_s = max(self.summary.end_s, within[1])
        return within

    def add_segment(self, stream: str, label: str, segment: Segment) -> None:
        within = self.clip(segment.start_s, segment.end_s)
        row = self.summary.rows.get((stream, label))
        if within is None:
            self.summary.n_outside += 1
        elif row is None and len(self.summary.rows) >= MAX_ROWS:
            self.summary.n_unlisted += 1
        else:
            row = self.summary.rows.setdefault((stream, label), Row(stream, label))
            self.stream(stream)
            start_s, end_s = within
            row.add(Segment(start_s, end_s, end_s - start_s, segment.score, 1, segment.state))
            quarter = int(start_s // QUARTER_S)
            self.summary.quarters[quarter] = self.summary.quarters.get(quarter, 0) + 1

    def stream(self, name: str) -> StreamReport:
        if name not in self.summary.streams:
            self.summary.streams[name] = StreamReport(name)
        return self.summary.streams[name]

    def add_interruption(
        self, stream: str, start_s: float, end_s: float, text: str, is_gap: bool
    ) -> None:
        within = self.clip(start_s, end_s)
        if within is None:
            self.summary.n_outside += 1
            return
        line = one_line(text, MAX_TEXT_CHARS)
        self.summary.n_interruptions += 1
        self.summary.interruptions.append(Interruption(*within, stream, line, is_gap))
        if is_gap:
            self.summary.n_gaps += 1
            self.summary.gap_s += within[1] - within[0]


class _StreamReader:
    """Follows one stream: pairs starts with ends, and sees where listening broke off."""

    def __init__(self, name: str, reader: _Reader) -> None:
        self._name, self._reader = name, reader
        self._open: dict[str, tuple[float, float]] = {}  # label -> (start, score)
        self._last_s: float | None = None  # on the axis
        self._run: float | None = None
        self._audio_s = 0.0  # the latest, of the run
        self._step_s = 0.0  # likewise, of records that never come late
        self._level_s: float | None = None
        self._level_every_s = self._every_before_s = float("inf")
        self._ahead_s = 0.0  # of the axis, to audio time
        self._base_s = 0.0  # end of the run before, where audio time is the axis

    def audio_time_s(self, record: LogRecord) -> float:
        """The place of a time on an axis of audio, on which the recordings of one log follow each
        other."""
        if self._begins_run(record):
            self._base_s = self._last_s or 0.0
        return self._base_s + record.time_s

    def read(self, record: LogRecord, time_s: float) -> None:
        self._look_for_break(record, time_s)
        self._take(record, time_s)
        self._run = record.run
        self._audio_s = max(self._audio_s, record.time_s)
        if record.kind in ("level", "scores"):
            self._step_s = record.time_s

    def end_open(self, state: State) -> None:
        """Ends all that still sounds: the log says no more of it."""
        for label, (start_s, score) in self._open.items():
            end_s = max(start_s, self._last_s or start_s)
            self._add_segment(label, start_s, end_s, score, state)
        self._open.clear()

    def _take(self, record: LogRecord, time_s: float) -> None:
        if record.kind == "start":
            if (before := self._open.pop(record.label, None)) is not None:
                self._add_segment(record.label, before[0], time_s, before[1], "cut")
            self._open[record.label] = (time_s, record.score)
        elif record.kind == "end":
            start_s, score = self._open.pop(record.label, (time_s, 0.0))
            self._add_segment(record.label, start_s, time_s, max(score, record.score), "ended")
        elif record.kind == "notice":
            self._interrupt(time_s, time_s, record.text)
        elif record.kind == "level" and record.level_dbfs is not None:
            self._take_level(record.level_dbfs, record.time_s, time_s)

    def _take_level(self, dbfs: float, audio_s: float, time_s: float) -> None:
        if self._level_s is not None and audio_s > self._level_s:
            self._every_before_s = self._level_every_s
            self._level_every_s = min(self._level_every_s, audio_s - self._level_s)
        self._level_s = audio_s
        if self._reader.clip(time_s, time_s) is None:
            self._reader.summary.n_outside += 1
        else:
            self._reader.stream(self._name).levels.add(time_s, dbfs)

    # Where listening broke off

    def _begins_run(self, record: LogRecord) -> bool:
        if record.run != self._run:
            return True
        if record.kind in ("level", "scores"):
            return record.time_s < self._step_s
        return record.time_s < self._audio_s - LATE_S

    def _look_for_break(self, record: LogRecord, time_s: float) -> None:
        ahead_s = time_s - record.time_s
        jump_s, self._ahead_s = ahead_s - self._ahead_s, ahead_s
        last_s = self._last_s
        if last_s is None:
            self._last_s = time_s
        elif self._begins_run(record):
            self._begin_run(last_s, time_s)
        elif self._reader.axis.is_dated:
            self._go_on(last_s, time_s, jump_s)
        else:
            self._hear(last_s, time_s)

    def _begin_run(self, last_s: float, time_s: float) -> None:
        self.end_open("cut")
        knows_gap = self._level_s is not None and time_s > last_s
        start_s = last_s if knows_gap else time_s
        self._interrupt(start_s, time_s, "listening began anew", knows_gap)
        self._audio_s = self._step_s = 0.0
        self._level_s = None
        self._level_every_s = self._every_before_s  # the last one of a run comes sooner
        self._last_s = time_s

    def _go_on(self, last_s: float, time_s: float, jump_s: float) -> None:
        is_gap = time_s - last_s > max(GAP_S, 3 * self._level_every_s)
        if jump_s < -CLOCK_JUMP_S:
            self._interrupt(time_s, time_s, f"the clock was put back by {duration(-jump_s)}")
            self._last_s = time_s
        elif jump_s > CLOCK_JUMP_S:
            cause = "the clock was put forward, or the machine slept"
            self._interrupt(last_s, time_s, cause, is_gap=True)
            self._last_s = time_s
        elif is_gap:
            self._interrupt(last_s, time_s, "nothing came from the source", is_gap=True)
            self._last_s = time_s
        else:
            self._hear(last_s, time_s)

    def _hear(self, last_s: float, time_s: float) -> None:
        """Notes that somebody listened from last_s to time_s."""
        self._last_s = max(last_s, time_s)
        within = self._reader.clip(last_s, time_s)
        if within is not None:
            self._reader.stream(self._name).heard_s += within[1] - within[0]

    # What is kept

    def _add_segment(
        self, label: str, start_s: float, end_s: float, score: float, state: State
    ) -> None:
        segment = Segment(start_s, max(start_s, end_s), 0.0, score, 1, state)
        self._reader.add_segment(self._name, label, segment)

    def _interrupt(self, start_s: float, end_s: float, text: str, is_gap: bool = False) -> None:
        self._reader.add_interruption(self._name, start_s, end_s, text, is_gap)
