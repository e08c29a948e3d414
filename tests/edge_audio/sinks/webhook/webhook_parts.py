"""What the tests of the webhook share: a web server that keeps what is posted, and events."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edge_audio.events.detector import Event
from edge_audio.sinks.webhook.destination import WebhookDestination
from edge_audio.sources.stream import Stream

MARKS = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")

Reply = tuple[int, dict[str, str]]  # status and headers
MakeDestination = Callable[..., WebhookDestination]


class WebServer:
    """Keeps what is posted, and answers with the given replies in turn, after them with 200."""

    def __init__(self, *replies: Reply, certificates: Path | None = None) -> None:
        self.posts: list[tuple[dict[str, str], dict[str, Any]]] = []  # headers and record
        self.arrived_s: list[float] = []
        left = list(replies)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler) -> None:  # noqa: N805
                body = handler.rfile.read(int(handler.headers["Content-Length"]))
                self.arrived_s.append(time.monotonic())
                self.posts.append((dict(handler.headers), json.loads(body)))
                status, headers = left.pop(0) if left else (200, {})
                handler.send_response(status)
                for header in headers.items():
                    handler.send_header(*header)
                handler.end_headers()

            def log_message(handler, *_: object) -> None:  # noqa: N805
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        scheme = "http"
        if certificates is not None:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}/hidden-path"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def times_s(self) -> list[float]:
        """Of the events, in the order of arrival."""
        return [record["time_s"] for _, record in list(self.posts)]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def tell(destination: WebhookDestination, n_events: int, first: int = 0) -> None:
    stream = Stream(name="kitchen", labels=("Siren",), sample_rate_hz=16_000, live=True)
    sink = destination.open(stream)
    for i in range(first, first + n_events):
        sink.on_event(Event(kind="start", label="Siren", time_s=float(i), score=0.75))


def letters(path: Path) -> list[float]:
    return [json.loads(line)["time_s"] for line in path.read_text().splitlines()]
