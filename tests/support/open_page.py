"""The page of a run on a real port, and a browser's part of speaking with it."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edge_audio.bundle.spec import EventSpec, Threshold
from edge_audio.events.detector import Event
from edge_audio.history.destination import HistoryConfig, HistoryDestination
from edge_audio.page.config import PageConfig
from edge_audio.page.destination import PageDestination
from edge_audio.page.password import PasswordHash
from edge_audio.page.run import ShownRun, StreamSettings, TeachPlan
from edge_audio.sinks.base import Change, Destination, Sink
from edge_audio.sources.base import Block
from edge_audio.sources.stream import Stream, level_dbfs
from tests.support.peers import eventually, free_port

HOSTILE = "<img src=x onerror=alert(1)>"
LABELS = ("Dog", "Cat", "Bark", HOSTILE)
SPEC = EventSpec(
    thresholds={"Dog": Threshold(on=0.5, off=0.3, alarms_per_hour=0.1, recall=0.6)},
    sensitivities={
        "quiet": {"Dog": Threshold(on=0.8, off=0.5, alarms_per_hour=0.01, recall=0.4)},
        "eager": {"Dog": Threshold(on=0.3, off=0.2), "Cat": Threshold(on=0.4, off=0.3)},
    },
    off={"Bark": "rarely found"},
)
PASSWORD = "correct horse"
API = "/api/v1/"


class Answer:
    """status, headers (lower case) and body of a response."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.json["error"])


class Browser:
    """Keeps its cookie and its CSRF token."""

    def __init__(self, port: int, root: str = "") -> None:
        self.port, self.root = port, root
        self.cookie = self.token = ""

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """headers: with _ for -. path: below the API, or whole where it begins with /."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookie:
            given.setdefault("cookie", self.cookie)
        if method != "GET" and self.token:
            given.setdefault("x-csrf-token", self.token)
        raw = None if body is None else json.dumps(body).encode()
        if raw is not None:
            given.setdefault("content-type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            where = path if path.startswith("/") else f"{self.root}{API}{path}"
            connection.request(method, where, raw, given)
            answer = Answer(connection.getresponse())
        finally:
            connection.close()
        if cookie := answer.headers.get("set-cookie"):
            self.cookie = cookie.partition(";")[0]
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def take_token(self) -> None:
        self.token = self.get("status").json["csrf_token"]

    def log_in(self, password: str = PASSWORD) -> Answer:
        answer = self.ask("POST", "login", {"password": password})
        if answer.status == 200:
            self.token = answer.json["csrf_token"]
        return answer


class OpenPage:
    """A page with what belongs to it. sinks: of the page, one for each stream."""

    def __init__(self, page: PageDestination, port: int, streams: Sequence[Stream]) -> None:
        self.page, self.port, self.streams = page, port, streams
        self.sinks: list[Sink] = [page.open(stream) for stream in streams]
        self.browser = Browser(port)
        self.told: list[Sink] = []  # of other destinations

    @property
    def context(self) -> Any:
        return self.page._context  # noqa: SLF001 - to wait for

    def hear(self, i: int = 0, time_s: float = 0.08, level: float = 0.1) -> None:
        """A step of one stream, as the listener tells it."""
        stream = self.streams[i]
        stream.stats.heard_until(time_s)
        samples = np.full(1280, level, np.float32)
        stream.stats.level_dbfs = level_dbfs(samples)
        scores = np.linspace(0.9, 0.1, len(stream.labels)).astype(np.float32)
        for sink in (self.sinks[i], *self.told):
            sink.on_audio(Block(samples, time_s - 0.08))
            sink.on_scores(time_s, scores)

    def sound(self, label: str, start_s: float, end_s: float | None = None, i: int = 0) -> int:
        """An event, and its end where one is given; its id."""
        stream = self.streams[i]
        stream.stats.heard_until(start_s)
        number = stream.begin(label, start_s).id
        self._tell(Event("start", label, start_s, 0.5), i)
        if end_s is not None:
            stream.stats.heard_until(end_s)
            self._tell(Event("end", label, end_s, 0.9), i)
            del stream.sounding[label]
        return number

    def _tell(self, event: Event, i: int) -> None:
        for sink in (self.sinks[i], *self.told[i : i + 1]):
            sink.on_event(event)


def streams(*names: str) -> list[Stream]:
    return [Stream(name, LABELS, 16_000, live=True) for name in names]


@contextmanager
def open_page(
    *destinations: Destination[Any],
    names: Sequence[str] = ("kitchen",),
    edit: Callable[[Change], None] | None = None,
    teach: TeachPlan | None = None,
    **settings: Any,
) -> Iterator[OpenPage]:
    """A page at a free port. destinations: beside it. edit, teach: of the run."""
    heard, port = streams(*names), free_port()
    shown = [StreamSettings(stream, SPEC, SPEC, SPEC) for stream in heard]
    run = ShownRun("toy", lambda: shown, edit, teach)
    page = PageDestination(PageConfig(port=port, **settings), destinations, run)
    opened = OpenPage(page, port, heard)
    try:
        eventually(lambda: page._context.hub._loop)  # noqa: SLF001
        yield opened
    finally:
        page.close()


@contextmanager
def with_history(folder: Path, **settings: Any) -> Iterator[OpenPage]:
    """A page beside a history in a file."""
    history = HistoryDestination(HistoryConfig(path=str(folder / "sounds.db")))
    with open_page(history, **settings) as opened:
        opened.told = [history.open(stream) for stream in opened.streams]
        yield opened
    history.close()


def password_file(folder: Path, password: str = PASSWORD) -> str:
    """A file with a cheap hash: tests make many."""
    path = folder / "password"
    path.write_text(f"{PasswordHash.of(password, n=16)}\n")
    path.chmod(0o600)
    return str(path)


class Events:
    """Server-sent events, as they come."""

    def __init__(self, browser: Browser) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", browser.port, timeout=30)
        headers = {"cookie": browser.cookie} if browser.cookie else {}
        self._connection.request("GET", f"{browser.root}{API}live", headers=headers)
        self._response = self._connection.getresponse()
        self.status = self._response.status

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        kind = ""
        while line := self._response.readline():
            text = line.decode().rstrip("\n")
            if text.startswith("event: "):
                kind = text[7:]
            elif text.startswith("data: "):
                yield kind, json.loads(text[6:])

    def first(self, wanted: str) -> Any:
        """The data of the next of that kind."""
        return next(data for kind, data in self if kind == wanted)

    def close(self) -> None:
        self._connection.close()


def raw_connection(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.settimeout(30)
    return connection


def closed_after_s(connection: socket.socket) -> float:
    """How long it takes until the other side has closed."""
    began_s = time.monotonic()
    try:
        while connection.recv(4096):
            pass
    except ConnectionError:
        pass
    return time.monotonic() - began_s
