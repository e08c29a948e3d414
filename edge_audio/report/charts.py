"""The charts of the HTML report, as SVG elements on one time axis.

Not drawn by matplotlib as picture.py is: a page needs no extra, its bars have hints and links to
clips, follow the search field, and take their colours from the page, by day and by night.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement

from edge_audio.report.contents import Report, name
from edge_audio.report.series import Segment, unbroken
from edge_audio.report.summary import Row, StreamReport

WIDTH, LEFT, RIGHT = 1100, 190, 14
PLOT = WIDTH - LEFT - RIGHT
ROW, BAR = 20, 11  # heights
HEAD = 22  # height of the line of times
MIN_BAR = 2.0  # px, so that a short sound in a long day is seen
MAX_LABEL_CHARS = 27
N_TICKS = 12
GROUND_DBFS = -90


class Canvas:
    """An SVG chart with a time axis on top."""

    def __init__(self, report: Report, height: float, title: str) -> None:
        self.report, self.height = report, height
        view = f"0 0 {WIDTH} {height:g}"
        self.root = Element("svg", {"viewBox": view, "role": "img", "aria-label": title})
        self._grid()

    def x(self, time_s: float) -> float:
        start_s, end_s = self.report.range_s
        return LEFT + PLOT * (time_s - start_s) / (end_s - start_s)

    def rect(
        self, x: float, y: float, width: float, height: float, kind: str, parent: Element | None
    ) -> Element:
        return SubElement(
            self.root if parent is None else parent,
            "rect",
            {"x": f"{x:.1f}", "y": f"{y:.1f}", "width": f"{width:.1f}"}
            | {"height": f"{height:.1f}", "class": kind},
        )

    def text(self, x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> Element:
        place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor, "class": kind}
        element = SubElement(self.root, "text", place)
        element.text = text
        return element

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str = "grid") -> None:
        ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
        places = {key: f"{value:.1f}" for key, value in ends.items()}
        SubElement(self.root, "line", places | {"class": kind})

    def gaps(self, stream: str, top: float, height: float) -> None:
        """Hatches the times at which nobody listened."""
        for gap in self.report.summary.interruptions:
            if gap.is_gap and gap.stream == stream:
                x = self.x(gap.start_s)
                width = max(MIN_BAR, self.x(gap.end_s) - x)
                rect = self.rect(x, top, width, height, "gap", None)
                when = self.report.interruption_text(gap)
                hint(rect, f"{gap.text}: {when}")

    def _grid(self) -> None:
        start_s, end_s = self.report.range_s
        for time_s, text in self.report.axis.ticks(start_s, end_s, N_TICKS):
            x = self.x(time_s)
            self.line(x, HEAD - 4, x, self.height)
            anchor = "end" if x > WIDTH - 40 else "middle"
            self.text(x, HEAD - 9, text, "tick", anchor)


def patterns() -> Element:
    """The hatching that all charts of a page refer to."""
    root = Element("svg", {"class": "patterns", "aria-hidden": "true"})
    place = {"id": "hatch", "width": "6", "height": "6", "patternUnits": "userSpaceOnUse"}
    pattern = SubElement(root, "pattern", place | {"patternTransform": "rotate(45)"})
    SubElement(pattern, "line", {"x1": "0", "y1": "0", "x2": "0", "y2": "6", "class": "hatch"})
    return root


def timeline(report: Report) -> Element:
    """A row of bars for each label."""
    rows = report.drawn_rows
    groups = len({row.stream for row in rows}) if report.is_of_several else 0
    canvas = Canvas(report, HEAD + ROW * (len(rows) + groups) + 6, "Events of each label over time")
    y, stream = float(HEAD), None
    for i, row in enumerate(rows):
        if report.is_of_several and row.stream != stream:
            canvas.text(4, y + 15, name(row.stream), "group")
            y += ROW
        if row.stream != stream:
            stream = row.stream
            n_rows = sum(other.stream == stream for other in rows)
            canvas.gaps(stream, y, n_rows * ROW)
        _row(canvas, row, y, is_shaded=i % 2 == 0)
        y += ROW
    return canvas.root


def _row(canvas: Canvas, row: Row, y: float, is_shaded: bool) -> None:
    full = name(row.label)
    group = SubElement(canvas.root, "g", {"data-name": f"{full} {name(row.stream)}"})
    if is_shaded:
        canvas.rect(0, y, WIDTH, ROW, "lane", group)
    short = full if len(full) <= MAX_LABEL_CHARS else f"{full[: MAX_LABEL_CHARS - 1]}…"
    label = SubElement(group, "text", {"x": f"{LEFT - 8}", "y": f"{y + 14:.1f}"})
    label.set("text-anchor", "end")
    label.text = short
    hint(label, f"{full}: {row.n_events:,} events")
    start_s, end_s = canvas.report.range_s
    for segment in row.segments.apart((end_s - start_s) / PLOT):
        _bar(canvas, group, segment, y + (ROW - BAR) / 2)
    _marks(canvas, group, row, y + ROW / 2)


def _bar(canvas: Canvas, group: Element, segment: Segment, y: float) -> None:
    x = canvas.x(segment.start_s)
    width = max(MIN_BAR, canvas.x(segment.end_s) - x)
    if segment.state == "open":
        points = [(x, y), (x + width, y), (x + width + 5, y + BAR / 2), (x + width, y + BAR)]
        corners = " ".join(f"{px:.1f},{py:.1f}" for px, py in [*points, (x, y + BAR)])
        bar = SubElement(group, "polygon", {"points": corners, "class": "open"})
    else:
        bar = canvas.rect(x, y, width, BAR, "bar", group)
        bar.set("rx", "1.5")
    bar.set("fill-opacity", f"{0.4 + 0.6 * segment.share:.2f}")
    hint(bar, canvas.report.segment_text(segment))


def _marks(canvas: Canvas, group: Element, row: Row, y: float) -> None:
    """A dot for each clip of the row, which leads to it."""
    for i, clip in enumerate(canvas.report.clips):
        if (clip.stream, clip.label) == (row.stream, row.label):
            x = canvas.x(clip.time_s)
            link = SubElement(group, "a", {"href": f"#clip-{i}"})
            place = {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": "3", "class": "clip"}
            hint(SubElement(link, "circle", place), "a clip: listen")


def counts_chart(report: Report, height: float = 130) -> Element:
    """How many events began in each hour (or what the bins are)."""
    canvas = Canvas(report, HEAD + height + 6, f"Events per {report.bin_name}")
    counts = report.summary.per_bin(report.bin_width_s)
    top = max(counts.values())
    base = HEAD + height
    for value in (0, top):
        canvas.line(LEFT, base - height * value / top, WIDTH - RIGHT, base - height * value / top)
        canvas.text(LEFT - 8, base - (height - 8) * value / top, f"{value:,}", "tick", "end")
    range_start_s, range_end_s = report.range_s
    for start_s, n in counts.items():
        x = canvas.x(max(start_s, range_start_s))
        end = canvas.x(min(start_s + report.bin_width_s, range_end_s))
        tall = height * n / top
        bar = canvas.rect(x + 0.5, base - tall, max(1.0, end - x - 1), tall, "bar", None)
        hint(bar, f"{n:,} events from {report.time_text(start_s)}")
    return canvas.root


def levels_chart(report: Report, stream: StreamReport, height: float = 110) -> Element:
    """The mean level of one stream, within the lowest and highest."""
    title = f"Level of {name(stream.name)} in dBFS" if stream.name else "Level in dBFS"
    canvas = Canvas(report, HEAD + height + 8, title)
    top = min(0, 10 * int(max(level.high_dbfs for level in stream.levels) // 10 + 1))
    ground = max(GROUND_DBFS, 10 * int(min(level.low_dbfs for level in stream.levels) // 10))
    ground = min(ground, top - 10)

    def y(dbfs: float) -> float:
        return HEAD + height * (top - max(ground, min(top, dbfs))) / (top - ground)

    step = 10 if top - ground <= 40 else 20
    for dbfs in range(top, ground - 1, -step):
        canvas.line(LEFT, y(dbfs), WIDTH - RIGHT, y(dbfs))
        canvas.text(LEFT - 8, y(dbfs) + 4, f"{dbfs} dBFS", "tick", "end")
    if report.is_of_several:
        canvas.text(4, HEAD + 14, name(stream.name), "group")
    canvas.gaps(stream.name, HEAD, height)
    for stretch in unbroken(list(stream.levels)):
        forth = [(canvas.x(level.start_s), y(level.high_dbfs)) for level in stretch]
        back = [(canvas.x(level.start_s), y(level.low_dbfs)) for level in reversed(stretch)]
        mean = [(canvas.x(level.start_s), y(level.mean_dbfs)) for level in stretch]
        for kind, tag, points in (("range", "polygon", forth + back), ("mean", "polyline", mean)):
            corners = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
            SubElement(canvas.root, tag, {"points": corners, "class": kind})
    return canvas.root


def hint(element: Element, text: str) -> None:
    """Text that is shown where the pointer rests, and that screen readers read aloud."""
    SubElement(element, "title").text = text
