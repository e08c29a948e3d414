"""The web server of the page, in a thread and a loop of its own, patient with nobody for long."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import uvicorn
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

from edge_audio.page.hub import Hub
from edge_audio.page.requests import MAX_HEAD_BYTES
from edge_audio.support.address import resolved

MAX_CONNECTIONS = 600
HEADER_S = 10.0  # within which the head of a request has to come
STALL_S = 60.0  # that somebody may take nothing of what is sent
_WRITE_BUFFER_BYTES = 32_768
_CLOSE_S = 3.0

Beat = Callable[[], Coroutine[Any, Any, None]]


class PatientProtocol(H11Protocol):
    """Ends connections of those who send the head of a request too slowly, or take nothing of the
    answer, and those beyond MAX_CONNECTIONS."""

    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._forget_head()
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        self._forget_stall()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer = self.loop.call_later(STALL_S, self.transport.abort)

    def resume_writing(self) -> None:
        self._forget_stall()
        super().resume_writing()

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEADER_S, self.transport.abort)

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _forget_stall(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


class _Server(uvicorn.Server):
    """Ends handshakes of TLS that take too long, too."""

    def __init__(self, config: Config, hub: Hub, beat: Beat) -> None:
        super().__init__(config)
        self._hub, self._begin_beat = hub, beat

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop, config = asyncio.get_running_loop(), self.config
        await self.lifespan.startup()

        def protocol() -> asyncio.Protocol:
            return PatientProtocol(config, self.server_state, self.lifespan.state, loop)

        self.servers = []
        for each in sockets or ():
            server = await loop.create_server(
                protocol,
                sock=each,
                ssl=config.ssl,
                backlog=config.backlog,
                ssl_handshake_timeout=HEADER_S if config.ssl else None,
            )
            self.servers.append(server)
        self._hub.use(loop)
        self._beat = loop.create_task(self._begin_beat())
        self.started = True


class PageServer:
    """Answers on a socket that is bound, until `close`."""

    def __init__(
        self, app: Any, hub: Hub, beat: Beat, bound: socket.socket, tls: ssl.SSLContext | None
    ) -> None:
        """beat: what goes on beside the answers. tls: None = HTTP."""
        for name in ("uvicorn.error", "uvicorn.access"):
            logger = logging.getLogger(name)
            logger.propagate = False
            logger.setLevel(logging.CRITICAL + 1)  # any stranger could fill a log
        config = Config(
            app,
            lifespan="off",
            ws="none",
            http=PatientProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            forwarded_allow_ips="127.0.0.1,::1",
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=1,
        )
        config.load()
        config.ssl = tls
        self._hub = hub
        self._server = _Server(config, hub, beat)
        arguments = (self._server, bound)
        self._thread = threading.Thread(target=_serve, args=arguments, name="page", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Gives the port back, within seconds."""
        self._hub.close()
        self._server.should_exit = True
        self._thread.join(_CLOSE_S)


def bound_socket(host: str, port: int) -> socket.socket:
    """Raises OSError or UnicodeError."""
    family, address = resolved(host, port)
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(128)
        bound.setblocking(False)
    except BaseException:
        bound.close()
        raise
    return bound


def _serve(server: _Server, bound: socket.socket) -> None:
    asyncio.run(server.serve([bound]))
