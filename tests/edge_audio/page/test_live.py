"""What is heard reaches readers at once, and no reader holds up the thread that listens."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator

import numpy as np
import pytest

from edge_audio.page import hub
from edge_audio.page.config import PageConfig
from edge_audio.page.live import N_BANDS, Spectrum
from edge_audio.sinks.base import Destination
from tests.support.limits import peak_below
from tests.support.open_page import Browser, Events, OpenPage, open_page, raw_connection
from tests.support.peers import eventually


@pytest.fixture
def opened() -> Iterator[OpenPage]:
    with open_page() as page:
        yield page


def looking_on(opened: OpenPage, n: int) -> None:
    eventually(lambda: opened.context.hub.n_readers == n)


def test_a_reader_sees_frames_events_and_how_the_run_is(opened: OpenPage) -> None:
    events = Events(opened.browser)
    assert events.first("status")["csrf_token"] is None  # the same for all
    looking_on(opened, 1)
    opened.hear(time_s=0.08)
    frame = events.first("frame")
    assert (frame["stream"], frame["time_s"], frame["n_bands"]) == ("kitchen", 0.08, N_BANDS)
    assert frame["level_dbfs"] == pytest.approx(-20.0)
    assert frame["top"][0] == ["Dog", 0.9]
    assert len(base64.b64decode(frame["mel"])) == 2 * N_BANDS
    number = opened.sound("Dog", 1.0, 3.5)
    begun, ended = events.first("event"), events.first("event")
    assert (begun["kind"], begun["id"], begun["label"]) == ("start", number, "Dog")
    assert (ended["kind"], ended["id"], ended["duration_s"]) == ("end", number, 2.5)
    opened.page.on_run("eager", is_paused=True)
    told = events.first("status")
    assert (told["is_paused"], told["sensitivity"]) == (True, "eager")
    events.close()
    looking_on(opened, 0)


class Broken(Destination[PageConfig]):
    """Says what is wrong with it once only."""

    is_broken = False

    @property
    def name(self) -> str:
        return "broken"

    @property
    def problem(self) -> str:
        if self.is_broken:
            raise RuntimeError("nobody knows")
        return ""


def test_a_destination_that_cannot_be_asked_ends_nothing() -> None:
    broken = Broken()
    with open_page(broken) as opened:
        events = Events(opened.browser)
        assert events.first("status")["destinations"][0]["name"] == "broken"
        looking_on(opened, 1)
        broken.is_broken = True
        opened.page.on_run("quiet", is_paused=False)
        eventually(lambda: "nobody knows" in " ".join(opened.page.take_remarks()))
        assert opened.browser.get("status").status == 500
        broken.is_broken = False
        opened.page.on_run("eager", is_paused=False)
        assert events.first("status")["sensitivity"] == "eager"
        events.close()


def test_a_tone_is_in_its_band_of_the_spectrum() -> None:
    seconds = np.arange(16_000) / 16_000
    tone = (0.5 * np.sin(2 * np.pi * 1000.0 * seconds)).astype(np.float32)
    columns = np.frombuffer(Spectrum(16_000).columns(tone), np.uint8).reshape(-1, N_BANDS)
    assert len(columns) == 25
    mel = 2595.0 * np.log10(1.0 + 1000.0 / 700.0)
    low, high = (2595.0 * np.log10(1.0 + hz / 700.0) for hz in (50.0, 8000.0))
    band = (mel - low) / (high - low) * (N_BANDS + 1) - 1
    assert abs(int(columns.mean(axis=0).argmax()) - band) <= 1.5


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 192_000, 384_000])
def test_other_rates_have_a_spectrum_too(rate_hz: int) -> None:
    spectrum = Spectrum(rate_hz)
    columns = spectrum.columns(np.zeros(rate_hz, np.float32))
    assert len(columns) == spectrum.n_bands * int(1 / spectrum.column_s + 1e-9)


def test_frames_are_no_more_than_the_eye_sees(opened: OpenPage) -> None:
    events = Events(opened.browser)
    looking_on(opened, 1)
    for i in range(1, 500):  # faster than real time
        opened.hear(time_s=0.08 * i)
    opened.sound("Dog", 40.0)
    kinds = []
    for kind, _ in events:
        kinds.append(kind)
        if kind == "event":
            break
    assert kinds.count("frame") < 250
    events.close()


def test_a_slow_reader_loses_messages_and_is_told_how_many(opened: OpenPage) -> None:
    slow = raw_connection(opened.port)
    slow.sendall(b"GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    looking_on(opened, 1)
    (reader,) = opened.context.hub._readers  # noqa: SLF001
    message = hub.Message("event", b'"' + b"x" * 2000 + b'"')
    n_told = 20_000  # more than all buffers on the way hold
    for _ in range(n_told // 500):
        for _ in range(500):
            opened.context.hub.hand(lambda: opened.context.hub.tell(message))
        eventually(lambda: not opened.context.hub._calls)  # noqa: SLF001
    assert len(reader._waiting) <= hub.MAX_WAITING  # noqa: SLF001
    received = b""
    while b"event: lost" not in received:
        received = received[-20:] + slow.recv(1 << 20)
    slow.close()


def test_a_hundred_slow_readers_cost_bounded_memory_and_hold_up_nobody() -> None:
    """What they cost the listener says benchmarks/page_readers.py."""
    names = ("kitchen", "attic", "yard")
    with open_page(names=names) as opened:
        readers = [raw_connection(opened.port) for _ in range(100)]
        for reader in readers:
            reader.sendall(b"GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        looking_on(opened, 100)
        with peak_below(40e6):
            for i in range(1, 200):
                for stream in range(3):
                    opened.hear(stream, time_s=0.08 * i)
                time.sleep(0.004)
        for reader in readers:
            reader.close()
        looking_on(opened, 0)


def test_readers_beyond_the_most_are_asked_to_come_later(
    opened: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "MAX_READERS", 2)
    first = [Events(Browser(opened.port)) for _ in range(2)]
    looking_on(opened, 2)
    answer = opened.browser.get("live")
    assert (answer.status, answer.headers["retry-after"]) == (503, "60")
    first[0].close()
    looking_on(opened, 1)
    assert Events(opened.browser).status == 200


def test_nobody_waits_for_readers_at_the_end() -> None:
    with open_page() as opened:
        events = Events(opened.browser)
        looking_on(opened, 1)
        opened.page.close()  # though the reader still reads
        assert all(kind == "status" for kind, _ in events)  # and then nothing more
        opened.hear()  # what comes later goes nowhere
