"""A web server of one page, which may be opened beside the one that it is to replace."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from edge_audio.errors import UsageError
from edge_audio.support.address import resolved

_POLL_S = 0.1


class Server:
    """Answers with a WSGI application at one address, in threads of its own, until `close`."""

    def __init__(
        self, host: str, port: int, application: Any, beside: Server | None = None
    ) -> None:
        """beside: of this process; it may have the same port at another address, such as
        127.0.0.1 beside 0.0.0.0. Raises UsageError if the port cannot be had."""
        self.application = application
        try:
            family, address = resolved(host, port)
            shared = None if beside is None else beside._server.socket  # noqa: SLF001 - of its own kind
            self._server: _PageServer = _PageServer(family, address, shared)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            hint = "choose another port or host under [metrics]"
            where = f"port {port} of {host!r}"
            raise UsageError(f"cannot answer on {where}: {reason}; {hint}") from error
        self._server.set_app(application)
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(_POLL_S,), name="metrics", daemon=True)
        self._thread.start()

    def is_at(self, host: str, port: int) -> bool:
        """Whether that is another name of the same address."""
        with suppress(OSError, UnicodeError):
            return resolved(host, port) == (self._server.address_family, self._server.asked_for)
        return False

    def close(self) -> None:
        """Gives the port back."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _PageServer(ThreadingMixIn, WSGIServer):
    """asked_for: the address, as it was resolved."""

    daemon_threads = True

    def __init__(self, family: int, address: tuple[Any, ...], beside: socket.socket | None) -> None:
        self.address_family, self.asked_for = family, address
        self._may_share = beside is not None
        _share_port(beside, True)
        try:
            super().__init__(address, _QuietHandler)  # binds and listens
        finally:
            _share_port(beside, False)
        _share_port(self.socket, False)

    def server_bind(self) -> None:
        """Without looking up a name for the address, as the base class does: that can take long.
        Two sockets share a port only while one takes over from the other."""
        _share_port(self.socket, self._may_share)
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()


class _QuietHandler(WSGIRequestHandler):
    timeout = 10.0  # of a client that opens a connection and says nothing

    def log_message(self, *_: Any) -> None:
        """Writes no log of requests."""


def _share_port(one: socket.socket | None, may_share: bool) -> None:
    if one is not None and hasattr(socket, "SO_REUSEPORT"):  # Windows has none
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, may_share)
