"""The page as a destination: it hears what the run hears, and says what its readers wish."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from edge_audio.bundle.spec import Sensitivity
from edge_audio.errors import UsageError
from edge_audio.page.config import PageConfig
from edge_audio.page.password import PasswordHash
from edge_audio.page.run import ShownRun
from edge_audio.sinks.base import Destination, Sink, Wish
from edge_audio.sources.stream import Stream
from edge_audio.support.address import check_own

_PLACE = ("host", "port", "cert_file", "key_file")  # settings that only another server can have


class PageDestination(Destination[PageConfig]):
    """A web page at http://HOST:PORT/, served by a thread of its own: listening hands over what it
    has, and never waits."""

    def __init__(
        self,
        config: PageConfig,
        destinations: Iterable[Destination[Any]] = (),
        run: ShownRun | None = None,
    ) -> None:
        """destinations: of the run, among them its history and clips. Raises UsageError if the
        port cannot be had, or the password, certificate or libraries are missing."""
        require_libraries()
        from edge_audio.page.context import Context
        from edge_audio.page.routes import application
        from edge_audio.page.server import PageServer

        self._config = config
        password, self._tls = config.read_password(), _tls_of(config)
        bound = _bound(config)
        self._context = Context(config, password, destinations, run or ShownRun())
        app = application(self._context)
        self._server = PageServer(app, self._context.hub, self._context.beat, bound, self._tls)

    @staticmethod
    def check(config: PageConfig, labels: Sequence[str]) -> None:
        """The port itself may be in use, by a run of these settings."""
        require_libraries()
        config.read_password()
        _tls_of(config)
        check_own(config.host)

    @property
    def name(self) -> str:
        return f"page {self._config.host}:{self._config.port}"

    def open(self, stream: Stream) -> Sink:
        from edge_audio.page.page_sink import PageSink

        return PageSink(stream, self._context)

    def start(self) -> None:
        """Says where it is."""
        self._context.remarks.append(f"open {self._config.address}")

    def on_run(self, sensitivity: Sensitivity, is_paused: bool) -> None:
        self._context.tell_run(sensitivity, is_paused)

    def take_wishes(self) -> list[Wish]:
        wishes = self._context.wishes
        return [wishes.popleft() for _ in range(len(wishes))]

    def take_remarks(self) -> list[str]:
        return self._context.take_remarks()

    def reconfigure(self, config: PageConfig, undo: ExitStack) -> Callable[[], None] | None:
        """Sessions go on where the password stays; another address is another server."""
        if any(getattr(config, name) != getattr(self._config, name) for name in _PLACE):
            return None
        return partial(self._use, config, config.read_password(), _tls_of(config))

    def refresh(self, undo: ExitStack) -> Callable[[], None] | None:
        """Another password may be in the same file, and a certificate may have been renewed."""
        return self.reconfigure(self._config, undo)

    def _use(
        self, config: PageConfig, password: PasswordHash | None, tls: ssl.SSLContext | None
    ) -> None:
        self._config = config
        self._context.use(config, password)
        if self._tls is not None and tls is not None:
            assert config.cert_file is not None
            self._tls.load_cert_chain(config.cert_file, config.key_file)  # as was just tried

    def close(self) -> None:
        self._server.close()
        self._context.close()


def require_libraries() -> None:
    """Raises UsageError where they are not installed."""
    try:
        import starlette
        import tomlkit
        import uvicorn
    except ImportError as error:
        hint = "pip install 'edge-audio[page]'"
        raise UsageError(f"the page needs {error.name}: {hint}") from error
    _ = starlette, tomlkit, uvicorn


def _tls_of(config: PageConfig) -> ssl.SSLContext | None:
    """None where there are no certificates. Raises UsageError."""
    if config.cert_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Without this a key that has a password would be asked for on the terminal
        context.load_cert_chain(config.cert_file, config.key_file, password=lambda: b"")
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        files = f"{config.cert_file} and {config.key_file}"
        raise UsageError(f"cannot use the certificate in {files}: {reason}") from error
    return context


def _bound(config: PageConfig) -> socket.socket:
    """Raises UsageError."""
    from edge_audio.page.server import bound_socket

    try:
        return bound_socket(config.host, config.port)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        hint = "choose another port or host under [page]"
        where = f"port {config.port} of {config.host!r}"
        raise UsageError(f"cannot answer on {where}: {reason}; {hint}") from error
