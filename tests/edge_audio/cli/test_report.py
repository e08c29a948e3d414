"""`edge-audio report`: what a log says is what the page and the picture show."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections.abc import Iterable
from datetime import datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import soundfile

from edge_audio.report.axis import Axis, duration
from edge_audio.report.bounds import Bounds, parse_bound
from edge_audio.report.contents import Report
from edge_audio.report.page import html_page
from edge_audio.report.series import Levels, Segment, Segments
from edge_audio.report.summary import Summary, summarise
from edge_audio.sinks.log_reader import LogRecord, SessionLog
from tests.support.command_line import error_line, run

NOON = datetime.fromisoformat("2026-03-02T12:00:00+01:00")
HOSTILE = '</script><img src=x onerror="alert(1)">&amp; $\\frac{1}{ \x1b[2J \u202e'


def record(time_s: float, kind: str, label: str = "", **fields: object) -> dict[str, Any]:
    at = (NOON + timedelta(seconds=time_s)).isoformat(timespec="milliseconds")
    event = {"label": label, "score": 0.5} if label else {}
    return {"time_s": time_s, "at": at, "stream": "hall", "kind": kind, **event, **fields}


def undated(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "at"}


def levels(start_s: int, end_s: int, step_s: int = 10, dbfs: float = -50.0) -> list[dict[str, Any]]:
    return [record(t, "level", level_dbfs=dbfs) for t in range(start_s, end_s, step_s)]


def write_log(path: Path, records: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in records))
    return path


def summary_of(records: Iterable[dict[str, Any]], *bounds: str | None) -> Summary:
    decoded = [LogRecord(**_decoded(each)) for each in records]
    return summarise(decoded, Bounds(*(parse_bound(x) if x else None for x in bounds)))


def _decoded(fields: dict[str, Any]) -> dict[str, Any]:
    at = fields.get("at")
    return {**fields, "at": datetime.fromisoformat(at)} if at else fields


def segments(summary: Summary, label: str, stream: str = "hall") -> list[Segment]:
    return summary.rows[stream, label].segments.apart(0.0)


class Page(HTMLParser):
    """What a browser would make of a page: its elements, and the text of each kind."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._inside = [""]
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "input"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._inside.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self._inside[-1], data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, tag: str) -> list[str]:
        return [data for inside, data in self.texts if inside == tag]


# What the log says


def test_starts_are_paired_with_ends_and_summed_up() -> None:
    summary = summary_of(
        [
            record(1.0, "start", "Dog"),
            record(2.0, "start", "Siren"),
            record(3.5, "end", "Dog", score=0.9),
            record(5.0, "end", "Siren"),
            record(8.0, "start", "Dog"),
            record(9.0, "end", "Dog"),
        ]
    )
    dog = summary.rows["hall", "Dog"]
    assert (dog.n_events, dog.sounding_s, dog.longest_s, dog.top_score) == (2, 3.5, 2.5, 0.9)
    assert [row.label for row in summary.ranked] == ["Dog", "Siren"]
    assert summary.n_events == 3
    assert summary.start_s == NOON.timestamp() + 1.0


def test_what_still_sounds_at_the_end_of_the_log_is_open() -> None:
    summary = summary_of([record(1.0, "start", "Dog"), *levels(0, 30)])
    (segment,) = segments(summary, "Dog")
    assert (segment.state, segment.end_s - segment.start_s) == ("open", 19.0)


def test_a_restart_cuts_what_sounded_and_leaves_a_gap() -> None:
    again = [
        {**each, "time_s": each["time_s"] - 500.0}
        for each in [*levels(500, 530), record(520, "start", "Dog"), record(525, "end", "Dog")]
    ]
    summary = summary_of([*levels(0, 110), record(95, "start", "Dog"), *again])
    cut, whole = segments(summary, "Dog")
    assert (cut.state, round(cut.sounding_s)) == ("cut", 5)
    assert (whole.state, round(whole.sounding_s)) == ("ended", 5)
    (gap,) = summary.interruptions
    assert gap.text == "listening began anew"
    assert (gap.end_s - gap.start_s, summary.n_gaps, summary.gap_s) == (400.0, 1, 400.0)
    assert summary.streams["hall"].heard_s == 125.0


def test_silence_of_a_log_that_writes_levels_is_a_gap() -> None:
    summary = summary_of([*levels(0, 100), *levels(1000, 1100)])
    (gap,) = summary.interruptions
    assert (gap.is_gap, gap.end_s - gap.start_s) == (True, 910.0)
    assert summary.streams["hall"].heard_s == 180.0


def test_silence_of_a_log_without_levels_is_no_gap() -> None:
    events = [record(1, "start", "Dog"), record(2, "end", "Dog"), record(7200, "start", "Dog")]
    summary = summary_of(events)
    assert not summary.interruptions
    assert summary.streams["hall"].heard_s == 7199.0


@pytest.mark.parametrize(("jump_s", "text", "n_gaps"), [(3600, "forward", 1), (-3600, "back", 0)])
def test_a_changed_clock_is_told_and_ends_no_run(jump_s: int, text: str, n_gaps: int) -> None:
    after = levels(100, 200)
    for each in after:
        each["at"] = (NOON + timedelta(seconds=each["time_s"] + jump_s)).isoformat()
    summary = summary_of([*levels(0, 50), record(50, "start", "Dog"), *levels(50, 100), *after])
    (told,) = summary.interruptions
    assert text in told.text
    assert summary.n_gaps == n_gaps
    assert [segment.state for segment in segments(summary, "Dog")] == ["open"]
    assert summary.streams["hall"].heard_s == 180.0


def test_an_end_whose_start_was_lost_counts_and_has_no_length() -> None:
    summary = summary_of([record(0, "level", level_dbfs=-40), record(9.0, "end", "Dog")])
    (segment,) = segments(summary, "Dog")
    assert (segment.n_events, segment.sounding_s) == (1, 0.0)


def test_streams_are_kept_apart() -> None:
    summary = summary_of(
        [
            record(1, "start", "Dog", stream="hall"),
            record(2, "start", "Dog", stream="yard"),
            record(4, "end", "Dog", stream="yard"),
            record(9, "end", "Dog", stream="hall"),
        ]
    )
    assert [round(segments(summary, "Dog", s)[0].sounding_s) for s in ("hall", "yard")] == [8, 2]


def test_recordings_have_audio_time_and_their_runs_follow_each_other() -> None:
    dog = [record(20, "start", "Dog"), record(30, "end", "Dog")]
    run_1 = [*levels(0, 20), *dog, *levels(40, 100)]
    summary = summary_of(undated(each) for each in [*run_1, *run_1])
    assert not summary.axis.is_dated
    first, second = segments(summary, "Dog")
    assert (first.start_s, second.start_s) == (20.0, 110.0)
    assert summary.streams["hall"].heard_s == 180.0


def test_bounds_cut_events_and_gaps_and_are_local_without_a_zone() -> None:
    log = [record(-10, "start", "Dog"), record(30, "end", "Dog"), record(50, "start", "Cat")]
    log += [record(55, "end", "Cat"), record(100, "start", "Owl"), record(101, "end", "Owl")]
    for first, last in (
        ("2026-03-02T12:00:00", "2026-03-02T12:00:50"),
        ("2026-03-02T11:00:00+00:00", "2026-03-02T05:00:50-06:00"),
    ):
        summary = summary_of(log, first, last)
        assert [row.label for row in summary.ranked] == ["Dog"]
        assert summary.rows["hall", "Dog"].sounding_s == 30.0
        assert (summary.start_s, summary.end_s) == (NOON.timestamp(), NOON.timestamp() + 50)
    audio = summary_of([undated(each) for each in log[1:]], "0:40", None)
    assert sorted(row.label for row in audio.ranked) == ["Cat", "Owl"]


def test_an_hour_that_clocks_show_twice_is_two_hours() -> None:
    zone = ZoneInfo("Europe/Berlin")
    start = datetime(2026, 10, 24, 22, 0, tzinfo=zone).timestamp()
    log = []
    for minute in range(0, 600, 5):
        at = datetime.fromtimestamp(start + 60 * minute, zone)
        log.append({"time_s": minute * 60.0, "at": at.isoformat(), "kind": "start", "label": "Dog"})
        log.append({**log[-1], "kind": "end"})
    summary = summary_of(log)
    assert list(summary.per_bin(3600).values()) == [12] * 10
    assert list(summary.per_bin(86_400).values()) == [24, 96]
    ticks = [text for _, text in summary.axis.ticks(summary.start_s, summary.end_s, 12)]
    assert ticks.count("02:00") == 2
    assert ticks[:3] == ["22:00", "23:00", "Sun 25 Oct"]
    assert not summary.interruptions


def test_ticks_are_few_and_at_round_times_for_every_range() -> None:
    axis = Axis(is_dated=True)
    axis.note_offset(0.0, 5.5 * 3600)
    for range_s in (1.5, 40.0, 3599.0, 9 * 3600.0, 86_400.0, 40 * 86_400.0, 9000 * 86_400.0):
        ticks = axis.ticks(1.7e9, 1.7e9 + range_s, 10)
        assert 1 <= len(ticks) <= 12
        assert all(1.7e9 <= time_s <= 1.7e9 + range_s for time_s, _ in ticks)
        if range_s > 12 * 3600:
            assert all(time_s % 3600 == 1800 for time_s, _ in ticks)  # full hours in India


def test_durations_carry_over() -> None:
    texts = [duration(s) for s in (0.04, 59.96, 3599.6, 86_400.0 * 2)]
    assert texts == ["0.0 s", "1 min 00 s", "1 h 00 min", "2 d 0 h"]


def test_many_events_are_joined_without_losing_count_time_or_extent() -> None:
    rng = random.Random(0)
    kept, starts_s = Segments(n_max=100), sorted(rng.uniform(0, 86_400) for _ in range(5000))
    for start_s in starts_s:
        kept.add(Segment(start_s, start_s + 2.0, 2.0, 0.5))
    joined = kept.apart(0.0)
    assert 10 < len(joined) <= 100
    assert sum(segment.n_events for segment in joined) == 5000
    assert sum(segment.sounding_s for segment in joined) == pytest.approx(10_000)
    assert joined[0].start_s == min(starts_s)
    assert joined[-1].end_s == max(starts_s) + 2.0
    assert all(a.end_s < b.start_s for a, b in pairwise(joined))


def test_levels_of_a_month_keep_their_extremes_and_their_mean() -> None:
    kept = Levels(n_max=200)
    for i in range(20_000):
        kept.add(i * 10.0, -5.0 if i == 777 else -60.0 + i % 2)
    assert len(kept) <= 200
    assert max(level.high_dbfs for level in kept) == -5.0
    assert min(level.low_dbfs for level in kept) == -60.0
    assert sum(level.n for level in kept) == 20_000


# What is drawn


def test_the_page_of_a_real_run_has_the_labels_that_were_heard(tmp_path: Path) -> None:
    options = ("--source", "demo", "--no-realtime", "--format", "jsonl", "--top", 1)
    log = tmp_path / "demo.jsonl"
    log.write_text(run("listen", *options, "--duration", 40).stdout)
    heard = {each.label for each in SessionLog([log]) if each.kind == "start"}
    done = run("report", log, "--out", tmp_path / "demo.html")
    assert "demo.html" in done.stdout
    assert done.stderr == ""
    page = Page((tmp_path / "demo.html").read_text())
    shown = {(row["data-name"] or "").strip() for row in page.all("tr") if "data-name" in row}
    assert heard
    assert shown == heard
    (heading,) = page.text("h1")
    assert re.fullmatch(r"39\.\d s of audio", heading)


def test_every_event_is_a_bar_that_says_what_it_was(tmp_path: Path) -> None:
    log = write_log(
        tmp_path / "log.jsonl",
        [
            record(0, "start", "Dog"),
            record(60, "end", "Dog", score=0.75),
            record(120, "start", "Siren"),
            *levels(0, 300),
        ],
    )
    run("report", log, "--out", tmp_path / "report.html")
    hints = Page((tmp_path / "report.html").read_text()).text("title")
    assert "12:00:00 to 12:01:00, 1 min 00 s, score 0.75" in hints
    assert "12:02:00 to 12:04:50, 2 min 50 s, score 0.50, still sounding" in hints


def test_damage_is_counted_on_the_page_and_on_stderr(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.jsonl", [record(0, "start", "Dog"), record(1, "end", "Dog")])
    with log.open("a") as file:
        file.write('{"time_s": 2, "ki\n{}\n')
    done = run("report", log, "--out", tmp_path / "report.html")
    assert "edge-audio: 2 lines are damaged" in done.stderr
    text = " ".join(Page((tmp_path / "report.html").read_text()).text("p"))
    assert "2 records read" in text
    assert "2 lines are damaged" in text


@pytest.mark.parametrize("suffix", [".html", ".png"])
def test_an_empty_log_gives_a_report_that_says_so(tmp_path: Path, suffix: str) -> None:
    log = write_log(tmp_path / "log.jsonl", [])
    out = tmp_path / f"report{suffix}"
    run("report", log, "--out", out)
    if suffix == ".html":
        assert Page(out.read_text()).text("h1") == ["Nothing was heard"]
    assert out.stat().st_size > 1000


def hostile_log(path: Path) -> Path:
    log = [record(0, "notice", text=HOSTILE * 50), *levels(0, 100), *levels(400, 500)]
    for stream in ("hall", HOSTILE, ""):
        log += [record(1, "start", HOSTILE, stream=stream)]
        log += [record(2, "end", HOSTILE, stream=stream), record(3, "start", "Dog", stream=stream)]
    return write_log(path, log)


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    log = hostile_log(tmp_path / "log.jsonl")
    run("report", log, "--out", tmp_path / "report.html", "--clips", hostile_clips(tmp_path))
    page = Page((tmp_path / "report.html").read_text())
    assert not page.all("img")
    assert len(page.all("script")) == 1
    assert not any(key.startswith("on") for _, attributes in page.elements for key in attributes)
    assert any("onerror" in text for text in page.text("td"))
    text = (tmp_path / "report.html").read_text()
    assert not any(char in text for char in "\x1b\u202e")
    urls = [a.get(key) for _, a in page.elements for key in ("src", "href") if key in a]
    assert urls
    assert not any("://" in (url or "") for url in urls)


def test_hostile_names_are_drawn_as_a_picture_too(tmp_path: Path) -> None:
    log = hostile_log(tmp_path / "log.jsonl")
    run("report", log, "--out", tmp_path / "report.png")
    image = (tmp_path / "report.png").read_bytes()
    assert image.startswith(b"\x89PNG")


def save_clip(folder: Path, name: str, label: str, at: datetime, **fields: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    sound = folder / f"{name}.flac"
    tone = 0.1 * np.sin(np.arange(8000) / 5.0)
    soundfile.write(sound, tone, 16_000)
    sidecar = {"time_s": 0.0, "at": at.isoformat(), "label": label, "score": 0.9, "stream": "hall"}
    sidecar |= {"start_s": 0.0, "end_s": 0.5, **fields}
    sound.with_suffix(".json").write_text(json.dumps(sidecar))
    return sound


def hostile_clips(tmp_path: Path) -> Path:
    folder = tmp_path / 'clips #1 "?'
    save_clip(folder / "hall" / "2026-03-02", "120001-x", HOSTILE, NOON + timedelta(seconds=1))
    (folder / "broken.json").write_text("{")
    os.mkfifo(folder / "pipe.json")
    (folder / "other.json").write_text('{"label": 3}')
    (folder / "gone.json").write_text('{"label": "Dog", "start_s": 0, "end_s": 1}')
    return folder


def test_clips_are_linked_relative_to_the_page(tmp_path: Path) -> None:
    sound = save_clip(
        tmp_path / "clips 1" / "hall" / "2026-03-02",
        "120001-dog",
        "Dog",
        NOON + timedelta(seconds=1),
    )
    save_clip(tmp_path / "clips 1" / "hall", "late", "Dog", NOON + timedelta(days=1))
    log = write_log(tmp_path / "log.jsonl", [record(0, "start", "Dog"), record(9, "end", "Dog")])
    out = tmp_path / "reports" / "today" / "report.html"
    out.parent.mkdir(parents=True)
    bounds = ("--to", "2026-03-03")
    run("report", log, "--clips", tmp_path / "clips 1", "--out", out, *bounds)
    page = Page(out.read_text())
    (audio,) = page.all("audio")
    assert (out.parent / unquote(audio["src"] or "")).resolve() == sound.resolve()
    assert audio["preload"] == "none"
    (mark,) = page.all("a")
    assert [row["id"] for row in page.all("tr") if "id" in row] == [(mark["href"] or "")[1:]]


def test_a_browser_shows_filters_and_plays_without_a_network(tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the browser extra")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs chromium: apt-get install chromium")
    log = hostile_log(tmp_path / "log.jsonl")
    out = tmp_path / "report.html"
    run("report", log, "--clips", hostile_clips(tmp_path), "--out", out)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        complaints: list[str] = []
        requests: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append("a dialog"))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(out.as_uri())
        n_rows = page.locator("tbody tr:visible").count()
        page.get_by_label("Show only").fill("dog")
        n_dogs = page.locator("tbody tr[data-name]:visible").count()
        page.get_by_label("Show only").fill("")
        duration_s = page.evaluate(
            "() => new Promise(done => { const sound = document.querySelector('audio');"
            "sound.onloadedmetadata = () => done(sound.duration);"
            "sound.onerror = () => done(-1); sound.preload = 'auto'; sound.load(); })"
        )
        browser.close()
    assert n_rows > n_dogs == 3
    assert duration_s == pytest.approx(0.5, abs=0.1)
    assert complaints == []
    assert all(url.startswith("file:") for url in requests)


def test_random_damage_never_stops_the_report(tmp_path: Path) -> None:
    rng = random.Random(1)
    whole = hostile_log(tmp_path / "log.jsonl").read_bytes()
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(rng.randrange(1, 60)):
            i = rng.randrange(len(damaged))
            damaged[i : i + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        (tmp_path / "log.jsonl").write_bytes(damaged)
        summary = summarise(SessionLog([tmp_path / "log.jsonl"]))
        Page(html_page(Report(summary), tmp_path / "report.html"))


# How it is asked for


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--out", "report.pdf"], "must end in .html or .png"),
        (["--from", "yesterday"], "'yesterday' is no time"),
        (["--from", "90"], "give a day and time"),
        (["--clips", "nowhere"], "is no folder"),
        (["--out", "nowhere/report.html"], "cannot write"),
    ],
)
def test_wrong_requests_are_refused_with_what_to_do(
    tmp_path: Path, options: list[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    log = write_log(tmp_path / "log.jsonl", [record(0, "start", "Dog")])
    done = run("report", log, *options, ok=False)
    assert reason in error_line(done, 1 if reason == "cannot write" else 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl"]


def test_bounds_of_a_recording_are_seconds(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.jsonl", [undated(record(0, "start", "Dog"))])
    out = tmp_path / "report.html"
    done = run("report", log, "--from", "2026-03-02", "--out", out, ok=False)
    assert "give seconds of audio" in error_line(done, 2)
