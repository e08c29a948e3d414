"""What the tests of notifications share: servers that keep what they are told, and events."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from edge_audio.events.detector import Event
from edge_audio.sinks.base import Sink
from edge_audio.sinks.notify.destination import NotifyDestination
from edge_audio.sources.stream import Stream

LABELS = ("Dog", "Cat", "Siren")
MakeNotify = Callable[..., NotifyDestination]


class MessageServer:
    """Keeps what json:// and ntfy:// send, and answers with the given statuses in turn, after them
    with 200. delay_s: before an answer."""

    def __init__(self, *statuses: int, delay_s: float = 0.0) -> None:
        self.bodies: list[bytes] = []
        self.heads: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.begun = 0
        left = list(statuses)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler) -> None:  # noqa: N805
                self.begun += 1
                body = handler.rfile.read(int(handler.headers["Content-Length"]))
                time.sleep(delay_s)
                status = left.pop(0) if left else 200
                with suppress(OSError):
                    handler.send_response(status)
                    if 300 <= status < 400:
                        handler.send_header("Location", "/elsewhere")
                    handler.send_header("Content-Length", "2")
                    handler.end_headers()
                    handler.wfile.write(b"{}")
                self.paths.append(handler.path)
                self.heads.append(dict(handler.headers))
                self.bodies.append(body)

            do_PUT = do_POST  # noqa: N815

            def log_message(handler, *_: object) -> None:  # noqa: N805
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}/hidden-path"

    @property
    def told(self) -> list[tuple[str, str]]:
        """(title, text) of all that came, in order."""
        found: list[dict[str, Any]] = [json.loads(body) for body in list(self.bodies)]
        return [(each["title"], each["message"]) for each in found]

    @property
    def titles(self) -> list[str]:
        return [title for title, _ in self.told]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Room:
    """A stream that is told of sounds."""

    def __init__(self, destination: NotifyDestination, name: str = "kitchen") -> None:
        self.stream = Stream(name, LABELS, 16_000, live=True)
        self.sink: Sink = destination.open(self.stream)

    def start(self, label: str, time_s: float = 1.0, score: float = 0.5) -> int:
        self.stream.stats.heard_until(time_s)
        number = self.stream.begin(label, time_s).id
        self.sink.on_event(Event("start", label, time_s, score))
        return number

    def end(self, label: str, time_s: float = 2.0, score: float = 0.9) -> None:
        self.sink.on_event(Event("end", label, time_s, score))
        del self.stream.sounding[label]

    def sound(self, label: str, score: float = 0.5) -> None:
        self.start(label, score=score)
        self.end(label, score=max(0.9, score))
