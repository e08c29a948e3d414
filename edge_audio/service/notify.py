"""Tells systemd how a service is: ready, reloading, stopping, alive (the protocol of sd_notify)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

from edge_audio.support.text import one_line

BEATS_PER_WATCHDOG = 3  # two may get lost before systemd ends the service
MAX_STATUS_CHARS = 200


class Notifier:
    """Sends datagrams to the service manager; without an address it does nothing.

    It never waits and never fails: a manager that does not listen must not stop the listening.
    address: path of a unix socket, "@..." for an abstract one. watchdog_s: silence after which the
    manager ends the service; 0 = it does not watch.
    """

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self._address = address
        self._beat_s = watchdog_s / BEATS_PER_WATCHDOG
        self._last_beat_s = float("-inf")
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Notifier:
        """As systemd asks for in NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID."""
        address = environment.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return cls()
        is_for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog_usec = environment.get("WATCHDOG_USEC", "")
        is_watched = is_for_us and watchdog_usec.isascii() and watchdog_usec.isdigit()
        return cls(address, int(watchdog_usec) / 1e6 if is_watched else 0.0)

    def ready(self) -> None:
        """Started, or done with reloading."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={one_line(text, MAX_STATUS_CHARS)}")

    def reloading(self) -> None:
        """Settings are being read again; `ready` must follow."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """On the way to the end."""
        self._send("STOPPING=1")

    def watchdog(self) -> None:
        """Still alive. To be called at least every few seconds; sent no more often than needed."""
        now_s = time.monotonic()
        if self._beat_s and now_s - self._last_beat_s >= self._beat_s:
            self._last_beat_s = now_s
            self._send("WATCHDOG=1")

    def close(self) -> None:
        """Frees the socket; nothing is sent any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with suppress(OSError):
            self._socket.sendto(message.encode(errors="replace"), address)
