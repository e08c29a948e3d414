"""What tests of the network need: waiting, odd servers, certificates."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

DEADLINE_S = 60  # reached only by what never comes


def eventually(holds: Callable[[], Any]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def files_below(folder: Path, suffix: str) -> list[str]:
    """Names of files that end so, even while folders come and go, of which rglob raises."""
    return [name for *_, names in os.walk(folder) for name in names if name.endswith(suffix)]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def peer_of(serve: Callable[[socket.socket], object]) -> Iterator[int]:
    """The port of a server that lets `serve` have each connection in turn."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        with suppress(OSError):
            while True:
                with listener.accept()[0] as peer, suppress(OSError):
                    serve(peer)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(DEADLINE_S)


def all_that_it_holds(thing: object, depth: int = 4) -> str:
    """What a debugger or a log would show of an object of ours and of those that it has."""
    is_opaque = type(thing).__repr__ is object.__repr__  # else it says itself what it shows
    inner = vars(thing).values() if is_opaque and depth and hasattr(thing, "__dict__") else ()
    return " ".join([repr(thing), *(all_that_it_holds(one, depth - 1) for one in inner)])


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def make_certificates(folder: Path) -> Path:
    """Fills a folder with an authority (ca.pem), what it signed for 127.0.0.1 (server.pem,
    server.key), and an authority that signed nothing (other.pem)."""
    folder.mkdir()
    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    request, key = folder / "server.csr", folder / "server.key"
    use = ("-addext", "keyUsage = critical, keyCertSign")
    openssl(*new, "-x509", *use, "-subj", "/CN=Authority", "-keyout", ca_key, "-out", ca)
    other = (folder / "other.key", "-out", folder / "other.pem")
    openssl(*new, "-x509", "-subj", "/CN=Other", "-keyout", *other)
    openssl(*new, "-subj", "/CN=broker", "-keyout", key, "-out", request)
    names = folder / "names"
    # Python 3.13 wants to be told by which key a certificate was signed
    names.write_text("subjectAltName = IP:127.0.0.1\nauthorityKeyIdentifier = keyid\n")
    signed = ("-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-out", folder / "server.pem")
    openssl("x509", "-req", "-in", request, "-extfile", names, *signed)
    return folder
