"""A device of the tests and the cable between it and a pty, which can be faulty."""

from __future__ import annotations

import os
import pty
import queue
import random
import select
import signal
import socket
import subprocess
import threading
import tty
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.support.serial_parts import WAIT_S


class Cable:
    """Between a device (any file descriptor) and a pty that `path` leads to, which stands for a
    serial port: can be unplugged, and `alter` may change what goes to the host."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.alter: Callable[[bytes], bytes] = bytes
        self.n_host_bytes = 0
        self._device: int | None = None
        self._host: int | None = None
        self._jobs: queue.Queue[Callable[[], None]] = queue.Queue()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def attach(self, device: int | None) -> None:
        """Connects another device, or none; the descriptor is the cable's from now on."""
        self._do(partial(self._set_device, device))

    def plug(self) -> None:
        self._do(self._open_host)

    def unplug(self) -> None:
        self._do(self._close_host)

    def close(self) -> None:
        self._is_closed = True
        self._thread.join(WAIT_S)
        self._close_host()
        self._set_device(None)

    def _do(self, job: Callable[[], None]) -> None:
        done = threading.Event()

        def work() -> None:
            job()
            done.set()

        self._jobs.put(work)
        assert done.wait(WAIT_S)

    def _set_device(self, device: int | None) -> None:
        if self._device is not None:
            os.close(self._device)
        self._device = device

    def _open_host(self) -> None:
        self._host, slave = pty.openpty()
        tty.setraw(slave)
        os.set_blocking(self._host, False)
        self._slave = slave  # open, so that the host's end may be closed and opened again
        link = self.path.with_suffix(".new")
        link.symlink_to(os.ttyname(slave))
        link.replace(self.path)

    def _close_host(self) -> None:
        if self._host is not None:
            self.path.unlink()
            os.close(self._slave)
            os.close(self._host)
            self._host = None

    def _run(self) -> None:
        while not self._is_closed:
            with suppress(queue.Empty):
                self._jobs.get_nowait()()
            ends = [end for end in (self._device, self._host) if end is not None]
            for end in select.select(ends, [], [], 0.02)[0]:
                self._pass_on(end)

    def _pass_on(self, end: int) -> None:
        try:
            data = os.read(end, 4096)
        except OSError:
            data = b""
        if not data:
            if end == self._device:
                self._set_device(None)
        elif end == self._host:
            if self._device is not None:
                with suppress(OSError):
                    os.write(self._device, data)
        else:
            self._write_to_host(self.alter(data))

    def _write_to_host(self, data: bytes) -> None:
        """Waits while a host that listens is slow; without one the bytes are lost."""
        while data and self._host is not None and not self._is_closed and self._jobs.empty():
            if select.select([], [self._host], [], 0.1)[1]:
                with suppress(OSError):
                    n_written = os.write(self._host, data)
                    self.n_host_bytes += n_written
                    data = data[n_written:]


class Device:
    """A running device of `build_device` on a cable."""

    def __init__(self, program: Path, recording: Path, cable: Cable, speed: int = 0) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = [str(program), str(recording), str(speed), str(theirs.fileno())]
            self._process = subprocess.Popen(arguments, pass_fds=[theirs.fileno()])
        cable.attach(ours.detach())

    def kill(self) -> None:
        """As when its power fails: amid a byte, if need be."""
        self._process.kill()
        self._process.wait(WAIT_S)

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)


def faults(rate: float, seed: int = 1) -> Callable[[bytes], bytes]:
    """Changes, drops and doubles bytes, each with a third of this probability."""
    rng = random.Random(seed)

    def alter(data: bytes) -> bytes:
        changed = bytearray()
        for byte in data:
            kind = rng.choice(("change", "drop", "double")) if rng.random() < rate else "keep"
            if kind == "change":
                changed.append(byte ^ 1 << rng.randrange(8))
            elif kind != "drop":
                changed += bytes([byte]) * (2 if kind == "double" else 1)
        return bytes(changed)

    return alter
