"""Other listeners in the network, as this one sees them: links with what they say of themselves.

The server asks, not the browser: pages of other origins stay unread, and nobody has to open them to
each other.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import time
from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from edge_audio.support.text import one_line

ASK_LIMIT_S = 4.0  # for a whole answer
KEPT_S = 15.0  # before they are asked again
_MAX_BYTES = 1 << 18
_CALL = "api/v1/status"


class OtherListener(msgspec.Struct):
    """address: of its page. state: locked where it asks for a password, away where it does not
    answer. n_streams, n_problems: as far as it says so. problem: why it is away."""

    address: str
    state: Literal["listening", "paused", "locked", "away"]
    n_streams: int | None = None
    n_problems: int | None = None
    problem: str = ""


class _Said(msgspec.Struct):
    """What is read of a status, of this version or another."""

    is_paused: bool
    streams: list[dict[str, object]]
    destinations: list[dict[str, object]]


class Others:
    """What others said when they were asked last."""

    def __init__(self) -> None:
        self._found: tuple[float, Sequence[str], list[OtherListener]] | None = None
        self._lock = asyncio.Lock()

    async def look(self, addresses: Sequence[str]) -> list[OtherListener]:
        """All at once, ASK_LIMIT_S at most; however many ask, each is asked once in KEPT_S."""
        async with self._lock:
            if self._found is not None:
                at_s, asked, found = self._found
                if asked == addresses and time.monotonic() - at_s < KEPT_S:
                    return found
            found = list(await asyncio.gather(*map(_look, addresses)))
            self._found = (time.monotonic(), addresses, found)
            return found


async def _look(address: str) -> OtherListener:
    try:
        status, body = await asyncio.wait_for(_answer(address), ASK_LIMIT_S)
    except asyncio.TimeoutError:
        return OtherListener(address, "away", problem="no answer")
    except ssl.SSLCertVerificationError as error:
        reason = one_line(error.verify_message, 100)
        return OtherListener(address, "away", problem=f"its certificate is not accepted: {reason}")
    except (OSError, ValueError) as error:
        return OtherListener(address, "away", problem=_reason(error))
    if status == 401:
        return OtherListener(address, "locked")
    try:
        said = msgspec.json.decode(body, type=_Said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return OtherListener(address, "away", problem=f"it answers with status {status}")
    n_problems = sum(bool(each.get("problem")) for each in (*said.streams, *said.destinations))
    state: Literal["paused", "listening"] = "paused" if said.is_paused else "listening"
    return OtherListener(address, state, len(said.streams), n_problems)


def _reason(error: OSError | ValueError) -> str:
    """In the words of the system, where there is a number: asyncio has others, with addresses."""
    number = getattr(error, "errno", None) or 0
    text = os.strerror(number) if number > 0 else getattr(error, "strerror", None)
    return one_line((text or "its answer is no HTTP").lower(), 100)


async def _answer(address: str) -> tuple[int, bytes]:
    """Status and body. Raises OSError, or ValueError for what is no HTTP."""
    parts = urlsplit(address)
    is_tls = parts.scheme == "https"
    tls = ssl.create_default_context() if is_tls else None
    port = parts.port or (443 if is_tls else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=tls)
    try:
        head = f"GET {parts.path}{_CALL} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n"
        writer.write(head.encode())
        await writer.drain()
        raw = bytearray()
        while len(raw) < _MAX_BYTES and (piece := await reader.read(_MAX_BYTES)):
            raw += piece
    finally:
        writer.close()
    match = re.match(rb"HTTP/1\.[01] (\d{3})\b", raw)
    if match is None:
        raise ValueError("this is no HTTP")
    return int(match[1]), bytes(raw).partition(b"\r\n\r\n")[2]
