"""The line to a device: frames in and out, and a count of those that were lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

from edge_audio.errors import SourceError
from edge_audio.serial.messages import Losses
from edge_audio.serial.port import open_port
from edge_audio.serial.protocol import (
    VERSION,
    Frame,
    FrameReader,
    Hello,
    Message,
    parse_message,
)


class Line:
    """A serial port that may be opened again and again. losses: over all of its openings."""

    def __init__(self, port: str, baud: int) -> None:
        """port: a path such as /dev/ttyACM0, COM3, or a URL of pyserial (socket://host:port)."""
        self.port, self.baud = port, baud
        self.losses = Losses()
        self._n_bad_before = 0  # of earlier openings

    def open(self) -> None:
        """Raises SourceError or UsageError."""
        self._port = open_port(self.port, self.baud)
        self._reader = FrameReader()
        self._n_bad_before = self.losses.n_bad
        self._latest: Frame | None = None  # to tell lost and repeated frames by its number
        self._heard_at_s = time.monotonic()

    def close(self) -> None:
        with suppress(OSError):  # it was unplugged
            self._port.close()

    @property
    def silent_s(self) -> float:
        """Seconds since the last message that could be understood."""
        return time.monotonic() - self._heard_at_s

    def messages(self) -> Iterator[Message | None]:
        """The messages that have come, waiting a moment for them if need be; None for one that is
        not understood. Raises OSError when the port is gone, SourceError for another version of the
        protocol."""
        data = self._port.read(max(1, self._port.in_waiting))
        frames = self._reader.push(data)
        self.losses.n_bad = self._n_bad_before + self._reader.n_bad
        for frame in frames:
            if frame.type >= 0x80:
                continue  # a line that sends back what we say
            self._check_version(frame)
            if frame == self._latest:
                self.losses.n_duplicates += 1
                continue
            message = parse_message(frame)
            is_boot = isinstance(message, Hello) and message.is_boot
            if self._latest is not None and not is_boot:
                self.losses.n_lost += (frame.sequence - self._latest.sequence - 1) % 256
            self._latest = frame
            self._heard_at_s = time.monotonic()
            yield message

    def send(self, frame: Frame) -> None:
        with suppress(OSError):  # reading finds out if the port is gone; a full line may drain
            self._port.write(frame.encoded())

    def no_answer(self) -> str:
        """Why commands are not acknowledged, as far as it can be told."""
        if self._latest is not None:
            return (
                f"the device on {self.port} sends but does not answer: check the wire to its "
                "receiver, and that its program calls ea_link_handle"
            )
        if self._reader.n_bad:
            return (
                f"what comes from {self.port} is not the protocol of edge-audio at {self.baud} "
                "baud: check the device's baud rate, and give it as serial:PORT@BAUD"
            )
        return (
            f"no answer from {self.port} at {self.baud} baud: check that the device runs a "
            "program with the edge-audio link, and its baud rate (serial:PORT@BAUD)"
        )

    def _check_version(self, frame: Frame) -> None:
        if frame.version != VERSION:
            raise SourceError(
                f"the device on {self.port} speaks version {frame.version} of the protocol, this "
                f"edge-audio version {VERSION}: update the older of the two"
            )
