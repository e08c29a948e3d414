"""What the API answers about a run and its history, whatever it is asked."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_audio.page.routes import CALLS, STATIC
from edge_audio.sinks.clips.recorder import ClipsConfig, ClipsDestination
from tests.support.open_page import (
    HOSTILE,
    LABELS,
    Answer,
    Browser,
    OpenPage,
    open_page,
    with_history,
)
from tests.support.peers import eventually


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[OpenPage]:
    with with_history(tmp_path, names=("kitchen", HOSTILE)) as page:
        page.browser.take_token()
        yield page


def events_of(opened: OpenPage, **query: object) -> list[dict[str, object]]:
    text = "&".join(f"{name}={value}" for name, value in query.items())
    answer = opened.browser.get(f"events?{text}")
    assert answer.status == 200, answer.body
    return answer.json["events"]  # type: ignore[no-any-return]


def heard(opened: OpenPage, n: int) -> None:
    """So many sounds, of both streams, are in the history."""
    for i in range(n):
        opened.sound(LABELS[i % 4], 10.0 * i, 10.0 * i + 2.0, i=i % 2)
    eventually(lambda: len(events_of(opened, limit=1000)) == n)
    eventually(lambda: all(x["duration_s"] is not None for x in events_of(opened, limit=1000)))


# The run


def test_status_tells_of_streams_destinations_and_the_disk(opened: OpenPage) -> None:
    opened.hear(level=0.1)
    now = opened.browser.get("status").json
    assert (now["model"], now["is_paused"], now["sensitivity"]) == ("toy", False, "normal")
    assert [stream["name"] for stream in now["streams"]] == ["kitchen", HOSTILE]
    assert now["streams"][0]["problem"] == ""
    assert now["history"] == "file"
    assert now["disk"]["free_bytes"] > 0 < now["disk"]["history_bytes"]
    assert [each["problem"] for each in now["destinations"]] == [""]
    assert not now["needs_password"]
    assert len(now["csrf_token"]) > 30


def test_a_stream_that_is_silent_says_what_is_wrong(opened: OpenPage) -> None:
    opened.sinks[0].on_notice("the microphone is gone")
    opened.sinks[0]._heard_s -= 60.0  # type: ignore[attr-defined]  # noqa: SLF001
    opened.sinks[1]._heard_s -= 60.0  # type: ignore[attr-defined]  # noqa: SLF001
    problems = [stream["problem"] for stream in opened.browser.get("status").json["streams"]]
    assert problems[0] == "the microphone is gone"
    assert problems[1].startswith("nothing was heard for 6")


def test_labels_have_their_thresholds_and_what_these_bring(opened: OpenPage) -> None:
    labels = {each["label"]: each for each in opened.browser.get("labels").json}
    assert next(iter(labels)) == "Dog"  # what is on comes first
    dog = opened.browser.get("labels/dog").json
    assert labels["Dog"] == {name: value for name, value in dog.items() if name != "curve"}
    assert (dog["threshold"], dog["alarms_per_hour"], dog["recall"]) == (0.5, 0.1, 0.6)
    assert [point["threshold"] for point in dog["curve"]] == [0.3, 0.5, 0.8]
    assert "Animal" in dog["parents"]
    assert labels["Bark"]["reason"] == "rarely found where it sounds"
    assert labels["Cat"]["reason"] == "on at --sensitivity eager"
    assert (labels["Bark"]["is_on"], labels["Bark"]["threshold"]) == (False, None)
    assert opened.browser.get("labels/Unicorn").status == 404


# The history


def test_events_come_with_all_that_is_known_of_them(opened: OpenPage) -> None:
    heard(opened, 1)
    (event,) = events_of(opened)
    assert {**event, "id": 0, "at": "", "unix_s": 0} == {
        "id": 0,
        "at": "",
        "unix_s": 0,
        "stream": "kitchen",
        "label": "Dog",
        "score": 0.9,
        "duration_s": 2.0,
        "is_sounding": False,
        "has_clip": False,
        "feedback": None,
    }
    assert abs(float(str(event["unix_s"])) - time.time()) < 600


def test_events_are_found_page_by_page_by_label_stream_text_and_time(opened: OpenPage) -> None:
    heard(opened, 12)
    first = opened.browser.get("events?limit=8").json
    rest = opened.browser.get(f"events?limit=8&before_id={first['next_before_id']}").json
    ids = [event["id"] for event in (*first["events"], *rest["events"])]
    assert ids == sorted(ids, reverse=True)
    assert (len(ids), rest["next_before_id"]) == (12, None)
    assert len(events_of(opened, label="Dog")) == 3
    assert len(events_of(opened, stream="kitchen")) == 6
    assert len(events_of(opened, text="DOG")) == 3
    assert len(events_of(opened, from_unix_s=ids[4] / 1e6 - 0.000_001)) == 5
    assert events_of(opened, to_unix_s=0) == []


def test_timeline_days_and_table_tell_of_the_same_events(opened: OpenPage) -> None:
    heard(opened, 8)
    now_s = time.time()
    path = f"timeline?from_unix_s={now_s - 3600}&to_unix_s={now_s + 3600}&n_buckets=4"
    timeline = opened.browser.get(path).json
    assert {row["label"]: sum(row["counts"]) for row in timeline["labels"]} == dict.fromkeys(
        LABELS, 2
    )
    assert timeline["bucket_s"] == pytest.approx(1800.0)
    assert len(timeline["level_dbfs"]) == 4
    assert sum(day["n_events"] for day in opened.browser.get("days").json) == 8
    table = opened.browser.get("events.csv?label=Dog")
    assert table.headers["content-type"].startswith("text/csv")
    assert len(table.body.decode().splitlines()) == 3


def test_what_somebody_says_of_an_event_is_kept(opened: OpenPage) -> None:
    heard(opened, 1)
    number = events_of(opened)[0]["id"]
    path, browser = f"events/{number}/feedback", opened.browser
    for said in ({"verdict": "right"}, {"verdict": "other", "label": "Fox"}):
        assert browser.ask("PUT", path, said).status == 204
        assert events_of(opened)[0]["feedback"] == {"label": None, **said}
    assert [event["id"] for event in events_of(opened, text="fox")] == [number]
    assert browser.ask("PUT", path, {"verdict": None}).status == 204
    assert events_of(opened)[0]["feedback"] is None
    assert browser.ask("PUT", "events/1/feedback", {"verdict": "right"}).status == 404


def test_without_a_history_the_page_remembers_this_run() -> None:
    with open_page() as opened:
        number = opened.sound("Dog", 1.0, 2.0)
        eventually(lambda: [event["id"] for event in events_of(opened)] == [number])
        assert opened.browser.get("status").json["history"] == "memory"


def test_a_clip_is_played_in_parts_saved_and_gone(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    clips = ClipsDestination(ClipsConfig(folder=str(folder), record=True, post_s=0.0))
    with open_page(clips) as opened:
        opened.told = [clips.open(opened.streams[0])]
        opened.hear(time_s=0.08)
        number = opened.sound("Dog", 0.16, 0.4)
        for i in range(2, 60):
            opened.hear(time_s=0.08 * i)
        other = opened.sound("Cat", 10.0, 11.0)
        eventually(lambda: opened.browser.get(f"events/{number}/clip").status == 200)
        by_id = {event["id"]: event["has_clip"] for event in events_of(opened)}
        assert by_id == {number: True, other: False}
        whole = opened.browser.get(f"events/{number}/clip")
        assert whole.headers["content-type"] == "audio/flac"
        assert whole.headers["content-disposition"].startswith("inline")
        assert whole.body.startswith(b"fLaC")
        part = opened.browser.get(f"events/{number}/clip?download=1", range="bytes=4-9")
        assert (part.status, part.body) == (206, whole.body[4:10])
        assert part.headers["content-disposition"].startswith("attachment")
        (path,) = folder.rglob("*.flac")
        path.unlink()
        path.symlink_to("/etc/passwd")  # no link is followed
        assert opened.browser.get(f"events/{number}/clip").status == 404
        clips.close()


# What strangers send


def test_names_with_markup_come_back_as_data(opened: OpenPage) -> None:
    opened.sound(HOSTILE, 1.0, 2.0, i=1)
    eventually(lambda: events_of(opened))
    for path in ("events", "status", "labels", "events?text=%3Cimg"):
        answer = opened.browser.get(path)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert HOSTILE in json.dumps(answer.json)
    (event,) = events_of(opened, label=HOSTILE.replace(" ", "%20"))
    assert event["stream"] == event["label"] == HOSTILE


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/pyproject.toml",
        "/static/../routes.py",
        "/..\\routes.py",
        "/api/v1/events/..%2f..%2fetc%2fpasswd/clip",
        "/api/v1/events/../../../etc/passwd/clip",
        "/api/v1/events/1%00/clip",
        "/api/v1/events/-1/clip",
        f"/api/v1/events/{'9' * 400}/clip",
        "/api/v1/events/\u0661/clip".encode().decode("latin-1").replace("\u00d9\u00a1", "%D9%A1"),
        "/api/v1/labels/..%2f..%2fetc%2fpasswd",
        "/api/v2/status",
        "//etc/passwd",
    ],
)
def test_no_path_leads_out(opened: OpenPage, path: str) -> None:
    answer = opened.browser.get(path)
    assert answer.status == 404, answer.body
    assert b"root:" not in answer.body
    assert b"import" not in answer.body


@pytest.mark.parametrize(
    "path",
    [
        "events?limit=0",
        "events?limit=1001",
        "events?limit=x",
        "events?from_unix_s=nan",
        "events?to_unix_s=inf",
        "events?unknown=1",
        "events?label=a&label=b",
        f"events?text={'a' * 3000}",
        "events?before_id=-1",
        "timeline",
        "timeline?from_unix_s=2&to_unix_s=1",
        "timeline?from_unix_s=1&to_unix_s=2&n_buckets=2001",
        "events/1/clip?download=perhaps",
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_to_do(opened: OpenPage, path: str) -> None:
    answer = opened.browser.get(path)
    assert answer.status == 400
    assert answer.error


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "labels/Dog", {"threshold": 0}),
        ("PUT", "labels/Dog", {"threshold": 1.5}),
        ("PUT", "labels/Dog", {"threshold": "high"}),
        ("PUT", "labels/Dog", {}),
        ("PUT", "labels/Dog", {"is_on": 3}),
        ("PUT", "labels/Dog", {"model": "/etc/passwd"}),
        ("POST", "run", {}),
        ("POST", "run", {"sensitivity": "loud"}),
        ("POST", "run", []),
        ("PUT", "events/1/feedback", {"verdict": "perhaps"}),
        ("PUT", "events/1/feedback", {"verdict": "other"}),
        ("PUT", "events/1/feedback", {"verdict": "other", "label": "a\nb"}),
        ("PUT", "events/1/feedback", {"verdict": "other", "label": "a" * 201}),
    ],
)
def test_hostile_changes_are_refused(
    opened: OpenPage, method: str, path: str, body: object
) -> None:
    assert opened.browser.ask(method, path, body).status == 400
    assert opened.page.take_wishes() == []


def test_where_controls_are_off_nothing_is_changed() -> None:
    with open_page(controls=False) as opened:
        opened.browser.take_token()
        for method, path, body in (
            ("PUT", "labels/Dog", {"threshold": 0.5}),
            ("POST", "run", {"is_paused": True}),
        ):
            assert opened.browser.ask(method, path, body).status == 403
        assert not opened.browser.get("status").json["can_change"]


# The page itself


def checked_headers(answer: Answer) -> None:
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy  # nothing of others
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "server" not in answer.headers


def test_every_answer_has_the_headers_that_keep_others_out(opened: OpenPage) -> None:
    for path in ("/", "/api.js", "status", "absent", "/absent", "events?limit=0"):
        checked_headers(opened.browser.get(path))
    checked_headers(opened.browser.ask("PUT", "labels/Dog", {}, x_csrf_token="wrong"))
    checked_headers(opened.browser.get("status", host="evil.example"))


def test_pages_that_are_named_may_show_it_in_a_frame() -> None:
    with open_page(frames=("http://homeassistant.local:8123",)) as opened:
        headers = opened.browser.get("/").headers
        allowed = "frame-ancestors 'self' http://homeassistant.local:8123"
        assert allowed in headers["content-security-policy"]
        assert "x-frame-options" not in headers


def test_the_page_keeps_to_its_policy() -> None:
    """No script, style or handler within the pages, and nothing from elsewhere."""
    for path in STATIC.glob("*.html"):
        text = path.read_text("utf-8")
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text), path
    for path in STATIC.iterdir():
        text = path.read_text("utf-8").replace("http://www.w3.org/", "")
        assert not re.search(r"(?:src|href|url|import|fetch)\W{0,3}https?://", text), path


def test_below_a_path_the_page_works_whether_the_proxy_takes_it_away_or_not() -> None:
    with open_page(path="/sounds/") as opened:
        for root in ("", "/sounds"):
            browser = Browser(opened.port, root)
            assert browser.get("status").status == 200
            assert browser.get(f"{root}/").body == (STATIC / "index.html").read_bytes()
            assert browser.get(f"{root}/api.js").status == 200
        assert opened.browser.get("/sounds").headers["location"] == "/sounds/"
        assert opened.browser.get("/soundsapi/v1/status").status == 404


def test_the_description_has_every_call_with_its_types(opened: OpenPage) -> None:
    described = opened.browser.get("openapi.json").json
    called = {
        (method.upper(), path.removeprefix("/api/v1/"))
        for path, methods in described["paths"].items()
        for method in methods
    }
    assert called == {(call.method, call.path.replace(":path", "")) for call in CALLS}
    names = set(described["components"]["schemas"])
    assert {"Status", "EventPage", "LabelWish", "Timeline"} <= names
    references = re.findall(r"#/components/schemas/(\w+)", json.dumps(described))
    assert set(references) <= names
    query = described["paths"]["/api/v1/timeline"]["get"]["parameters"]
    assert {each["name"] for each in query if each["required"]} == {"from_unix_s", "to_unix_s"}
