"""A report as one HTML file that needs no other and no network.

The tree is built as elements, never as text, so that no name in a log can become markup; a
content security policy forbids everything but the page's own style and script.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

from edge_audio.report.axis import duration
from edge_audio.report.charts import counts_chart, levels_chart, patterns, timeline
from edge_audio.report.contents import MAX_LISTED_ROWS, Report, name
from edge_audio.report.summary import Row

STYLE = """
:root { color-scheme: light dark; --ground: #fbfaf7; --card: #ffffff; --ink: #1e2329;
  --soft: #5d6670; --line: #e3e0d8; --bar: #2a6fb0; --open: #b4560a; --level: #2f8f83;
  --gap: #b9b4a8; --alert: #a33a1f; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171b; --card: #1c2026; --ink: #e6e4df;
  --soft: #9aa3ad; --line: #30363e; --bar: #74aee6; --open: #f0a35b; --level: #5cc4b5;
  --gap: #59606a; --alert: #f08b6d; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 72rem; background: var(--ground);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 1.25rem; }
h2 { font-size: 1.1rem; margin: 2.25rem 0 .5rem; }
p, footer { color: var(--soft); font-size: .9rem; margin: .4rem 0; }
.figures { display: flex; flex-wrap: wrap; gap: .75rem; margin: 0; }
.figures div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem 1rem; min-width: 8rem; }
.figures dt { color: var(--soft); font-size: .8rem; }
.figures dd { margin: 0; font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.chart, .table { overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; padding: .5rem; }
svg { display: block; width: 100%; min-width: 44rem; height: auto; }
svg.patterns { position: absolute; width: 0; height: 0; min-width: 0; }
svg text { fill: var(--ink); font-size: 11.5px; }
svg .tick { fill: var(--soft); font-size: 11px; }
svg .group { font-weight: 600; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .lane { fill: var(--ink); fill-opacity: .035; }
svg .bar { fill: var(--bar); }
svg .open { fill: var(--open); }
svg .gap { fill: url(#hatch); }
svg .hatch { stroke: var(--gap); stroke-width: 2; }
svg .range { fill: var(--level); fill-opacity: .25; }
svg .mean { fill: none; stroke: var(--level); stroke-width: 1.4; }
svg .clip { fill: var(--ground); stroke: var(--ink); stroke-width: 1.3; }
.faint { opacity: .12; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: .3rem .7rem; border-bottom: 1px solid var(--line);
  vertical-align: middle; }
th { color: var(--soft); font-weight: 500; }
tbody tr:last-child td { border-bottom: 0; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr:target { outline: 2px solid var(--open); }
audio { height: 2rem; width: 16rem; vertical-align: middle; }
input { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--gap);
  border-radius: .4rem; padding: .3rem .6rem; margin-left: .4rem; }
.search { display: block; margin: 1.5rem 0 0; }
[hidden] { display: none; }
.gapped td:first-child { border-left: 3px solid var(--alert); }
@media print { audio, .search { display: none; } body { max-width: none; padding: 0; } }
"""
SCRIPT = """
const field = document.querySelector("input");
field.parentElement.hidden = false;
field.addEventListener("input", () => {
  const wanted = field.value.trim().toLowerCase();
  for (const part of document.querySelectorAll("[data-name]")) {
    const fits = part.dataset.name.toLowerCase().includes(wanted);
    if (part.tagName === "TR") part.hidden = !fits;
    else part.classList.toggle("faint", !fits);
  }
});
"""


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
    if any(row.spans.apart(0)[-1].state == "open" for row in report.drawn_rows):
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
