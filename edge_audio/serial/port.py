"""Serial ports by way of pyserial (the extra `serial`): their names, and what their errors mean."""

from __future__ import annotations

import errno
import os
from types import ModuleType
from typing import Any

from edge_audio.errors import SourceError, UsageError

SERIAL_PREFIX = "serial:"  # of a source that is a port
DEFAULT_BAUD = 115_200
_READ_S = 0.1  # longest wait for bytes


def _serial() -> ModuleType:
    """The serial module, loaded when first needed."""
    try:
        import serial
    except ImportError as error:
        raise SourceError(
            "serial ports need the pyserial package: pip install 'edge-audio[serial]'"
        ) from error
    module: ModuleType = serial
    return module


def open_port(port: str, baud: int) -> Any:
    """An open serial.Serial whose waits are short. Raises SourceError or UsageError."""
    serial = _serial()
    try:
        return serial.serial_for_url(port, baud, timeout=_READ_S, write_timeout=1.0, exclusive=True)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"serial port {port} at {baud} baud: {error}") from error
    except OSError as error:
        raise SourceError(f"cannot open {port}: {reason_of(error)}{_hint(error)}") from error


def reason_of(error: OSError) -> str:
    """The reason of an error of pyserial, without its brackets and repetitions."""
    return os.strerror(error.errno).lower() if error.errno else str(error)


def _hint(error: OSError) -> str:
    if error.errno == errno.EACCES:
        return "; your user must be in the group that owns it: sudo usermod -aG dialout $USER"
    if error.errno == errno.ENOENT:
        from serial.tools.list_ports import comports

        found = ", ".join(sorted(info.device for info in comports()))
        return f"; ports here: {found or 'none, is the device plugged in?'}"
    return ""


def parse_port(text: str) -> tuple[str, int]:
    """'/dev/ttyACM0@921600' -> its path and baud rate; without @BAUD DEFAULT_BAUD. Raises
    UsageError."""
    port, at, baud = text.rpartition("@")
    if not at or not (baud.isascii() and baud.isdecimal()):
        port, baud = text, str(DEFAULT_BAUD)
    if not port or int(baud) == 0:
        raise UsageError("--source serial:PORT[@BAUD], for example serial:/dev/ttyACM0@115200")
    return port, int(baud)
