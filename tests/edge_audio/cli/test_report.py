"""`edge-audio report`: what a log says is what the page and the picture show."""

from __future__ import annotations

import json
import os
import random
import re
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

import numpy as np
import pytest
import soundfile

from edge_audio.report.contents import Report
from edge_audio.report.page import html_page
from edge_audio.report.summary import summarise
from edge_audio.sinks.log_reader import SessionLog
from tests.support.browser import Visit, launched, started_playwright
from tests.support.command_line import error_line, run
from tests.support.logs import NOON, levels, record, undated, write_log

HOSTILE = '</script><img src=x onerror="alert(1)">&amp; $\\frac{1}{ \x1b[2J \u202e'


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
    soundfile.write(os.fsencode(sound), tone, 16_000, format="FLAC")
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


@pytest.mark.skipif(os.name == "nt", reason="names there are no bytes")
def test_clips_in_a_folder_whose_name_is_not_utf8_are_linked(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    sound = save_clip(folder, "120001-dog", "Dog", NOON + timedelta(seconds=1))
    log = write_log(tmp_path / "log.jsonl", [record(0, "start", "Dog"), record(9, "end", "Dog")])
    out = tmp_path / "report.html"
    run("report", log, "--clips", folder, "--out", out)
    (audio,) = Page(out.read_text()).all("audio")
    link = unquote_to_bytes(audio["src"] or "")
    assert (out.parent / os.fsdecode(link)).resolve() == sound.resolve()


def test_a_clip_is_named_by_its_strongest_event(tmp_path: Path) -> None:
    """A bark within a long hum, which began the clip."""
    events = [
        {"label": "Hum", "start_s": 0.0, "end_s": 0.5, "score": 0.4},
        {"label": "Bark", "start_s": 0.2, "end_s": 0.3, "score": 0.9},
    ]
    save_clip(tmp_path / "clips", "120001-hum", "Hum", NOON, score=0.4, events=events)
    log = write_log(tmp_path / "log.jsonl", [record(0, "start", "Hum"), record(9, "end", "Hum")])
    out = tmp_path / "report.html"
    run("report", log, "--clips", tmp_path / "clips", "--out", out)
    (row,) = [line for line in Page(out.read_text()).all("tr") if "id" in line]
    page = out.read_text()
    assert "Bark" in page[page.index("<audio") - 2000 :]
    assert row["id"]


def test_a_browser_shows_filters_and_plays_without_a_network(tmp_path: Path) -> None:
    log = hostile_log(tmp_path / "log.jsonl")
    out = tmp_path / "report.html"
    run("report", log, "--clips", hostile_clips(tmp_path), "--out", out)
    with started_playwright() as playwright, launched(playwright) as browser:
        visit = Visit(browser, out.as_uri())
        page = visit.page
        n_rows = page.locator("tbody tr:visible").count()
        page.get_by_label("Show only").fill("dog")
        n_dogs = page.locator("tbody tr[data-name]:visible").count()
        page.get_by_label("Show only").fill("")
        duration_s = page.evaluate(
            "() => new Promise(done => { const sound = document.querySelector('audio');"
            "sound.onloadedmetadata = () => done(sound.duration);"
            "sound.onerror = () => done(-1); sound.preload = 'auto'; sound.load(); })"
        )
    assert n_rows > n_dogs == 3
    assert duration_s == pytest.approx(0.5, abs=0.1)
    assert visit.complaints == []
    assert all(url.startswith("file:") for url in visit.requests)


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
