"""What a listening run needs and would not find: `edge-audio listen --check`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from edge_audio.errors import EdgeAudioError, UsageError
from edge_audio.listening.config import KEYWORDS, Config, SourceConfig
from edge_audio.listening.destinations import KINDS
from edge_audio.listening.opening import Opening
from edge_audio.serial.port import SERIAL_PREFIX, parse_port
from edge_audio.sources.network import is_network_url
from edge_audio.support.address import check_known

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}


class Problem(NamedTuple):
    """section: of the settings. text: one line for people."""

    section: str
    text: str


def problems_of(config: Config, opening: Opening) -> Iterator[Problem]:
    """All that is missing, one after the other. Nothing is opened, and nothing made."""
    yield from _tried("backend", opening.load_model)
    for source in config.source:
        yield from _tried("source", partial(_check_source, source, config.reconnect))
    bundle = opening.bundle
    labels = bundle.manifest.labels if bundle is not None else ()
    for kind, destination in KINDS.items():
        if (section := getattr(config, kind)) is not None:
            check = destination.check  # type: ignore[attr-defined]
            yield from _tried(kind, partial(check, section, labels))


def _tried(section: str, check: Callable[[], object]) -> Iterator[Problem]:
    try:
        check()
    except EdgeAudioError as error:
        yield Problem(section, str(error))
    except OSError as error:
        yield Problem(section, error.strerror or str(error))


def _check_source(source: SourceConfig, is_patient: bool) -> None:
    """Raises UsageError or OSError. What may come later, such as a microphone, is not asked for."""
    if source.url in KEYWORDS:
        return
    if source.is_device:
        port, _ = parse_port(source.url.removeprefix(SERIAL_PREFIX))
        if port.startswith("/") and not is_patient and not os.path.exists(port):
            raise UsageError(f"there is no serial port {port!r}: is the device plugged in?")
    elif is_network_url(source.url):
        parts = urlsplit(source.url)
        port_number = None
        with suppress(ValueError):
            port_number = parts.port
        check_known(parts.hostname or "", port_number or _PORTS.get(parts.scheme, 80))
    else:
        _check_file(Path(source.url))


def _check_file(path: Path) -> None:
    if not path.exists():
        raise UsageError(f"no such file: {path}")
    if path.is_dir():
        raise UsageError(f"{path} is a folder: listen hears files, and `edge-audio tag` folders")
    if not os.access(path, os.R_OK):
        raise UsageError(f"cannot read {path}: permission denied")
