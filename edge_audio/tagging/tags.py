"""What was heard in a recording, for programs, tables and notebooks."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_audio.errors import UsageError
from edge_audio.events.detector import Event
from edge_audio.sinks.base import TopLabels
from edge_audio.sinks.segments import Segment, SegmentSink

if TYPE_CHECKING:
    import pandas
    import pyarrow

_N_SHOWN = 3  # segments, in one line
_COLUMNS = ("start_s", "end_s", "label", "score")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Tags:
    """All that a model says of a recording.

    source: its path, or "samples". duration_s: of audio that was heard.
    labels: names of the scores, in their order.
    times_s: f64[n_steps], ends of the steps. scores: f32[n_steps, n_labels], probabilities.
    events: starts and ends, by time.
    embedding: f32[n_steps, embedding_dim], the last hidden layer; None unless it was asked for.
    error: why it was not read to its end, on one line; "" if it was.
    """

    source: str
    duration_s: float
    labels: tuple[str, ...]
    times_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    scores: NDArray[np.float32]
    events: tuple[Event, ...] = ()
    embedding: NDArray[np.float32] | None = None
    error: str = ""

    @property
    def segments(self) -> list[Segment]:
        """Each sound from its start to its end, by start."""
        sink = SegmentSink()
        for event in self.events:
            sink.on_event(event)
        return sink.segments

    @property
    def by_label(self) -> dict[str, NDArray[np.float32]]:
        """Label -> its scores f32[n_steps]: `tags.by_label["Dog"]`."""
        return dict(zip(self.labels, self.scores.T, strict=True))

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The k labels with the highest scores in any step, highest first."""
        highest = self.scores.max(axis=0, initial=0.0)
        return TopLabels(self.labels, k)(highest)

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each segment: start_s, end_s, label, score. Raises UsageError without
        pandas."""
        return _pandas().DataFrame(self._columns())

    def scores_to_pandas(self) -> pandas.DataFrame:
        """A row for each step, by its end in seconds, and a column for each label."""
        index = _pandas().Index(self.times_s, name="time_s")
        return _pandas().DataFrame(self.scores, index=index, columns=list(self.labels))

    def to_arrow(self) -> pyarrow.Table:
        """As `to_pandas`, a table of pyarrow. Raises UsageError without pyarrow."""
        try:
            import pyarrow
        except ImportError as error:
            raise UsageError("tables of pyarrow need it: pip install pyarrow") from error
        types = (pyarrow.float64(), pyarrow.float64(), pyarrow.string(), pyarrow.float64())
        schema = pyarrow.schema(list(zip(_COLUMNS, types, strict=True)))
        return pyarrow.table(self._columns(), schema=schema)

    def _columns(self) -> dict[str, list[Any]]:
        segments = self.segments  # put together from the events each time
        return {name: [getattr(x, name) for x in segments] for name in _COLUMNS}

    def __repr__(self) -> str:
        heard = f"{self.source}: {self.duration_s:.1f} s"
        if self.error:
            heard += f", cut short ({self.error})"
        return f"<Tags {heard}, {self._summary()}>"

    def _summary(self) -> str:
        segments = self.segments
        if not segments:
            label, score = next(iter(self.top(1)), ("", 0.0))
            return f"no events; highest: {label} {score:.2f}" if label else "no events"
        shown = [f"{x.label} {x.start_s:.1f}-{x.end_s:.1f} s" for x in segments[:_N_SHOWN]]
        n_more = len(segments) - len(shown)
        return "; ".join([*shown, f"{n_more} more"] if n_more else shown)

    def __str__(self) -> str:
        """A line for each segment, as `edge-audio tag` prints them."""
        rows = [
            f"{x.start_s:8.2f} to {x.end_s:8.2f} s  {x.score:.2f}  {x.label}" for x in self.segments
        ]
        return "\n".join(rows) or f"{self.source}: no events"

    def _repr_html_(self) -> str:
        """For notebooks: the segments on a time line, then the highest scores."""
        title = f"{escape(self.source)}, {self.duration_s:.1f} s"
        if self.error:
            title += f", cut short: {escape(self.error)}"
        rows = [self._html_row(segment) for segment in self.segments]
        best = ", ".join(f"{escape(label)} {score:.2f}" for label, score in self.top())
        head = "<tr><th>start</th><th>end</th><th>label</th><th>score</th><th></th></tr>"
        table = f"<table>{head}{''.join(rows)}</table>" if rows else "<p>no events</p>"
        return f"<p><b>{title}</b></p>{table}<p>highest scores: {best}</p>"

    def _html_row(self, segment: Segment) -> str:
        whole_s = max(self.duration_s, segment.end_s, 1e-9)
        left = 100.0 * segment.start_s / whole_s
        width = max(0.5, 100.0 * (segment.end_s - segment.start_s) / whole_s)
        bar = f"margin-left:{left:.1f}%;width:{width:.1f}%;height:0.7em;background:#4477aa"
        cells = (
            f"{segment.start_s:.2f} s",
            f"{segment.end_s:.2f} s",
            escape(segment.label),
            f"{segment.score:.2f}",
        )
        columns = "".join(f"<td>{cell}</td>" for cell in cells)
        place = f'<td style="width:20em"><div style="{bar}"></div></td>'
        return f"<tr>{columns}{place}</tr>"


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise UsageError("tables of pandas need it: pip install pandas") from error
    return pandas
