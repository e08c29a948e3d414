"""A report as one HTML file that needs no other and no network.

The tree is built as elements, never as text, so that no name in a log can become markup; a
content security policy forbids everything but the page's own style and script.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

from edge_audio.report.axis import duration
from edge_audio.report.charts import counts_chart, levels_chart, patterns, timeline
from edge_audio.report.contents import MAX_LISTED_ROWS, Report, name
from edge_audio.report.summary import Row


def _part(name: str) -> str:
    """A file of this folder. The newline keeps the first line apart from its tag."""
    return "\n" + (resources.files("edge_audio.report") / name).read_text(encoding="utf-8")


STYLE = _part("page.css")
SCRIPT = _part("page.js")


def html_page(report: Report, path: Path) -> str:
    """The page as it is to be written to `path`: clips are linked relative to it."""
    html = Element("html", lang="en")
    _head(html, report)
    body = SubElement(html, "body")
    body.append(patterns())
    main = SubElement(body, "main")
    add(main, "h1", report.title)
    _figures(main, report)
    if report.summary.rows:
        _search(main)
        _timeline(main, report)
    _charts(main, report)
    _totals(main, report)
    _interruptions(main, report)
    _clips(main, report, path)
    footer = SubElement(body, "footer")
    for remark in report.remarks:
        add(footer, "p", remark)
    if report.summary.rows:
        add(body, "script", SCRIPT)
    return "<!DOCTYPE html>\n" + tostring(html, encoding="unicode", method="html") + "\n"


def add(parent: Element, tag: str, text: str = "", **attributes: str) -> Element:
    """A new last child; `class_` is the attribute class, `data_name` is data-name."""
    names = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    child = SubElement(parent, tag, names)
    child.text = text
    return child


def _head(html: Element, report: Report) -> None:
    head = SubElement(html, "head")
    add(head, "meta", charset="utf-8")
    policy = (
        f"default-src 'none'; style-src {_hash(STYLE)}; script-src {_hash(SCRIPT)}; "
        "media-src 'self' file:"
    )
    add(head, "meta", http_equiv="Content-Security-Policy", content=policy)
    add(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    add(head, "title", f"{report.title} - edge-audio")
    add(head, "style", STYLE)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _figures(main: Element, report: Report) -> None:
    figures = add(main, "dl", class_="figures")
    for what, figure in report.figures:
        pair = SubElement(figures, "div")
        add(pair, "dt", what)
        add(pair, "dd", figure)


def _search(main: Element) -> None:
    label = add(main, "label", "Show only", class_="search", hidden="hidden")
    SubElement(label, "input", {"type": "search", "placeholder": "label or stream"})


def _timeline(main: Element, report: Report) -> None:
    add(main, "h2", "Timeline")
    add(main, "div", class_="chart").append(timeline(report))
    text = "A bar is paler where several events close together leave pauses between them."
    if any(row.segments.apart(0)[-1].state == "open" for row in report.drawn_rows):
        text += " An arrow marks what still sounded when the log ended."
    if report.summary.n_gaps:
        text += " Hatching: nobody listened."
    add(main, "p", f"{text} {report.hidden_rows}")


def _charts(main: Element, report: Report) -> None:
    if len(report.summary.per_bin(report.bin_width_s)) > 1:
        add(main, "h2", f"Events per {report.bin_name}")
        add(main, "div", class_="chart").append(counts_chart(report))
    loud = [stream for stream in report.summary.streams.values() if len(stream.levels) > 1]
    if loud:
        add(main, "h2", "Loudness")
        box = add(main, "div", class_="chart")
        for stream in loud:
            box.append(levels_chart(report, stream))


def _totals(main: Element, report: Report) -> None:
    if not report.summary.rows:
        return
    heads = ["Label", *_stream_head(report), "#Events", "#Sounded", "#Longest", "#Score"]
    add(main, "h2", "Totals")
    body = _table(main, "Totals of each label", [*heads, "First", "Last"])
    for row in report.summary.ranked[:MAX_LISTED_ROWS]:
        _total(body, report, row)
    n_more = len(report.summary.rows) - MAX_LISTED_ROWS
    if n_more > 0:
        add(main, "p", f"{n_more} rarer labels are left out.")


def _total(body: Element, report: Report, row: Row) -> None:
    names = [name(row.label), *([name(row.stream)] * report.is_of_several)]
    line = add(body, "tr", data_name=" ".join(names))
    numbers = [
        f"{row.n_events:,}",
        duration(row.sounding_s),
        duration(row.longest_s),
        f"{row.top_score:.2f}",
    ]
    times = [report.time_text(row.first_s), report.time_text(row.last_s)]
    _cells(line, names, numbers, times)


def _interruptions(main: Element, report: Report) -> None:
    summary = report.summary
    if not summary.interruptions:
        return
    add(main, "h2", "Gaps and notices")
    body = _table(main, "Gaps and notices", ["When", *_stream_head(report), "What"])
    for interruption in summary.interruptions:
        line = add(body, "tr", class_="gapped" if interruption.is_gap else "")
        streams = [name(interruption.stream)] * report.is_of_several
        when = report.interruption_text(interruption)
        _cells(line, [when, *streams, interruption.text])
    n_more = summary.n_interruptions - len(summary.interruptions)
    if n_more:
        add(main, "p", f"{n_more} earlier ones are left out.")


def _clips(main: Element, report: Report, path: Path) -> None:
    if not report.clips:
        return
    add(main, "h2", "Clips")
    heads = ["When", "Label", *_stream_head(report), "#Score", "#Length", "Sound"]
    body = _table(main, "Recorded clips", heads)
    for i, clip in enumerate(report.clips):
        names = [name(clip.label), *([name(clip.stream)] * report.is_of_several)]
        line = add(body, "tr", id=f"clip-{i}", data_name=" ".join(names))
        numbers = [f"{clip.score:.2f}", duration(clip.duration_s)]
        _cells(line, [report.time_text(clip.time_s), *names], numbers)
        sound = {"controls": "controls", "preload": "none", "src": clip.link(path)}
        SubElement(SubElement(line, "td"), "audio", sound)
    if report.n_clips > len(report.clips):
        add(main, "p", f"The newest {len(report.clips)} of {report.n_clips:,} clips.")


def _stream_head(report: Report) -> list[str]:
    return ["Stream"] if report.is_of_several else []


def _table(main: Element, caption: str, heads: Sequence[str]) -> Element:
    """Its body; heads of numbers begin with #."""
    table = SubElement(add(main, "div", class_="table"), "table", {"aria-label": caption})
    line = SubElement(SubElement(table, "thead"), "tr")
    for head in heads:
        kind = "n" if head.startswith("#") else ""
        add(line, "th", head.lstrip("#"), class_=kind, scope="col")
    return SubElement(table, "tbody")


def _cells(
    line: Element, texts: Sequence[str], numbers: Sequence[str] = (), more: Sequence[str] = ()
) -> None:
    for text in texts:
        add(line, "td", text)
    for number in numbers:
        add(line, "td", number, class_="n")
    for text in more:
        add(line, "td", text)
