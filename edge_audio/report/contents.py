"""What a report shows, whatever it is drawn with: figures, sentences, and the choice of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_audio.history.log import HistoryLog, open_log
from edge_audio.report.axis import DAY_S, Axis, duration, short_clock
from edge_audio.report.bounds import Bounds
from edge_audio.report.clips import Clip, find_clips
from edge_audio.report.series import Segment
from edge_audio.report.summary import QUARTER_S, Interruption, Row, Summary, summarise
from edge_audio.sinks.log_reader import SessionLog
from edge_audio.support.text import one_line

MAX_DRAWN_ROWS = 40
MAX_LISTED_ROWS = 300
MAX_NAME_SHOWN = 80


@dataclass(frozen=True)
class Report:
    """A log's summary with what belongs to it.

    n_clips: how many there are in all; `clips` has the newest. remarks: sentences on what could
        not be read or is not shown.
    """

    summary: Summary
    clips: Sequence[Clip] = ()
    n_clips: int = 0
    remarks: list[str] = field(default_factory=list)

    @property
    def axis(self) -> Axis:
        return self.summary.axis

    @property
    def range_s(self) -> tuple[float, float]:
        """The range of the time axis, never empty."""
        start_s, end_s = self.summary.start_s, self.summary.end_s
        return (0.0, 1.0) if self.summary.is_empty else (start_s, max(end_s, start_s + 1.0))

    @property
    def is_of_several(self) -> bool:
        """Whether streams have to be told apart."""
        return len(self.summary.streams) > 1

    @property
    def drawn_rows(self) -> list[Row]:
        """The most frequent labels, those of one stream together."""
        chosen = self.summary.ranked[:MAX_DRAWN_ROWS]
        order = sorted({row.stream for row in chosen})
        return sorted(chosen, key=lambda row: order.index(row.stream))

    @property
    def bin_width_s(self) -> int:
        """Of the counts of events: a quarter of an hour, an hour or a day."""
        start_s, end_s = self.range_s
        limits = {QUARTER_S: 6 * 3600, 3600: 4 * DAY_S}
        return next((w for w, limit_s in limits.items() if end_s - start_s <= limit_s), DAY_S)

    @property
    def bin_name(self) -> str:
        return {QUARTER_S: "quarter of an hour", 3600: "hour", DAY_S: "day"}[self.bin_width_s]

    @property
    def title(self) -> str:
        """The period that the report covers, in words."""
        if self.summary.is_empty:
            return "Nothing was heard"
        start_s, end_s = self.summary.start_s, self.summary.end_s
        if not self.axis.is_dated:
            return f"{duration(end_s - start_s)} of audio"
        start, end = self.axis.when(start_s), self.axis.when(end_s)
        first = f"{start:%A} {start.day} {start:%B} {start.year}, {start:%H:%M}"
        if start.date() == end.date():
            return f"{first} to {end:%H:%M}"
        return f"{first}, to {end:%A} {end.day} {end:%B} {end.year}, {end:%H:%M}"

    @property
    def figures(self) -> list[tuple[str, str]]:
        """(name, value) of the figures at the top of the report."""
        summary = self.summary
        heard_s = sum(stream.heard_s for stream in summary.streams.values())
        n_labels = len({row.label for row in summary.rows.values()})
        where = f" ({len(summary.streams)} streams)" * self.is_of_several
        found = [
            (f"listened{where}", duration(heard_s)),
            ("events", f"{summary.n_events:,}"),
            ("labels", str(n_labels)),
        ]
        counts = summary.per_bin(self.bin_width_s)
        if len(counts) > 1:
            busiest_s = max(counts, key=lambda start_s: counts[start_s])
            found.append((f"busiest {self.bin_name}", self._bin_text(busiest_s)))
        loudest = max(
            (level for stream in summary.streams.values() for level in stream.levels),
            key=lambda level: level.high_dbfs,
            default=None,
        )
        if loudest is not None:
            when = self.time_text(loudest.start_s)
            found.append((f"loudest, at {when}", f"{loudest.high_dbfs:.0f} dBFS"))
        if summary.n_gaps:
            gaps = "1 gap" if summary.n_gaps == 1 else f"{summary.n_gaps:,} gaps"
            found.append((f"not heard ({gaps})", duration(summary.gap_s)))
        if self.n_clips:
            found.append(("clips", f"{self.n_clips:,}"))
        return found

    def _bin_text(self, start_s: float) -> str:
        if not self.axis.is_dated:
            return f"from {short_clock(start_s)}"
        when = self.axis.when(start_s)
        is_day = self.bin_width_s == DAY_S
        return f"{when:%a} {when.day} {when:%b}" if is_day else f"{when:%H:%M}"

    @property
    def is_of_days(self) -> bool:
        """Whether times of the clock alone would not say when."""
        start_s, end_s = self.range_s
        return self.axis.is_dated and end_s - start_s > DAY_S

    def time_text(self, time_s: float) -> str:
        """A time as text, with its day if the report covers several."""
        return self.axis.text(time_s, self.is_of_days)

    def segment_text(self, segment: Segment) -> str:
        """One line on a bar."""
        times = f"{self.time_text(segment.start_s)} to {self.axis.text(segment.end_s)}"
        if segment.n_events > 1:
            text = f"{segment.n_events} events, {times}, {duration(segment.sounding_s)} in all"
        else:
            text = f"{times}, {duration(segment.sounding_s)}"
        ends = {"open": ", still sounding", "cut": ", end unknown", "ended": ""}
        return f"{text}, score {segment.score:.2f}{ends[segment.state]}"

    def interruption_text(self, interruption: Interruption) -> str:
        """The period of an interruption, in words."""
        start = self.time_text(interruption.start_s)
        length_s = interruption.end_s - interruption.start_s
        if length_s < 1.0:
            return start
        return f"{start} to {self.axis.text(interruption.end_s)} ({duration(length_s)})"

    @property
    def hidden_rows(self) -> str:
        """A sentence on labels that are not in the timeline; "" if all are."""
        n_hidden = len(self.summary.rows) - MAX_DRAWN_ROWS
        return f"{n_hidden} rarer labels are in the totals alone." if n_hidden > 0 else ""


def name(text: str) -> str:
    """A label or stream as it can be shown anywhere."""
    return one_line(text, MAX_NAME_SHOWN)


def read_report(paths: Sequence[Path], bounds: Bounds, clips: Path | None = None) -> Report:
    """Reads a log, and the folder of its clips. Raises UsageError, also for what is no log."""
    log = open_log(paths)
    summary = summarise(log, bounds)
    log.check()
    remarks = [*_remarks(log, summary)]
    if clips is None:
        return Report(summary, remarks=remarks)
    found, n_found = find_clips(clips, summary.axis.is_dated, bounds)
    return Report(summary, found, n_found, remarks)


def _remarks(log: SessionLog | HistoryLog, summary: Summary) -> list[str]:
    counted = {
        "lines are damaged and were passed over": log.n_bad,
        "records lie outside the time that was asked for": summary.n_outside,
        "records have no time of day, though others have": summary.n_undated,
        "events are of labels beyond the most that a report can hold": summary.n_unlisted,
    }
    found = [f"{n:,} {what}." for what, n in counted.items() if n]
    return [f"{log.n_records:,} records read.", *found, *log.problems]
