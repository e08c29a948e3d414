"""What was found in recordings, printed for people and for other programs."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from typing import Protocol, TextIO

from edge_audio.archive.job import FileTags
from edge_audio.archive.tables import EVENT_COLUMNS, event_row, file_record
from edge_audio.events.unwatched import heard_lines
from edge_audio.support.text import clock, json_line, printable


class Writer(Protocol):
    """Prints what was found in one file after the other, at once."""

    def write(self, tags: FileTags) -> None: ...


class TextWriter:
    """For reading: per file the top labels by highest score, then the events, then labels that are
    off and were heard."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, tags: FileTags) -> None:
        lines = [f"{tags.path}  ({tags.duration_s:.1f} s)"]
        if tags.top:
            lines.append("  highest score in any step:")
            lines += [f"    {score:.2f}  {label}" for label, score in tags.top]
        lines.append("  events:" if tags.segments else "  no events")
        lines += [
            f"    {clock(s.start_s):>9} - {clock(s.end_s):>9}  {s.label}  {s.score:.2f}"
            for s in tags.segments
        ]
        if tags.unwatched:
            lines.append("  heard, but no events:")
            lines += [f"    {line}" for line in heard_lines(tags.unwatched)]
        print("\n".join(map(printable, lines)), file=self._out, flush=True)


class JsonLinesWriter:
    """One object per file, see `file_record`: path, duration_s, top: [{label, score}], events:
    [{start_s, end_s, label, score}], and heard_off where labels that are off were heard."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, tags: FileTags) -> None:
        print(json_line(file_record(tags)), file=self._out, flush=True)


class CsvWriter:
    """A header, then one row per event."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._csv = out, csv.writer(out, lineterminator="\n")
        self._csv.writerow(EVENT_COLUMNS)

    def write(self, tags: FileTags) -> None:
        self._csv.writerows(event_row(tags.path, s) for s in tags.segments)
        self._out.flush()


class AudacityWriter:
    """Audacity's label track (File > Import > Labels): start, end, text between tabs."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, tags: FileTags) -> None:
        for s in tags.segments:
            label = printable(s.label)  # a line end or tab in it would forge other labels
            print(f"{s.start_s:.3f}\t{s.end_s:.3f}\t{label}", file=self._out, flush=True)


WRITERS: Mapping[str, Callable[[TextIO], Writer]] = {
    "text": TextWriter,
    "jsonl": JsonLinesWriter,
    "csv": CsvWriter,
    "audacity": AudacityWriter,
}
