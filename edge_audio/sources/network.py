"""Cameras and radio stations: RTSP and HTTP streams, decoded by an ffmpeg process."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import IO
from urllib.parse import SplitResult, urlsplit

from edge_audio.errors import SourceError, UsageError
from edge_audio.sources.base import Block, Timeline
from edge_audio.sources.pcm import pcm_blocks
from edge_audio.support.text import CONTROL, one_line

SCHEMES = ("rtsp", "rtsps", "http", "https")
# Nothing that reads files. The pipe is standard input, which holds what `_script` says and no more.
_PROTOCOLS = "pipe,rtsp,rtsps,rtp,srtp,udp,tcp,tls,http,https,crypto"
_POLL_S = 0.2  # how often one that waits for audio looks whether it was stopped
_STALL_LIMIT_S = 15.0
# What ffmpeg holds back until it knows the format (5.5 s of a WAV), and what servers of radio
# send of the time before (Icecast 64 KiB, 16 s at 32 kbit/s).
MAX_BURST_S = 20.0
_ANALYSIS_US = 1_000_000  # by the list demuxer, of what the demuxer in it has analysed before
_CLOSE_LIMIT_S = 2.0
_N_LAST_LINES = 3  # of what ffmpeg said, in the message to the user
_MAX_MESSAGE_BYTES = 4_096
_MAX_REASON_CHARS = 200


def is_network_url(text: str) -> bool:
    """Whether this is the address of a stream rather than a file's path."""
    return text.partition("://")[0].lower() in SCHEMES and "://" in text


def check_address(url: str) -> None:
    """Raises ValueError, which names the address without its password, for one that no server
    can have."""
    _split(url)


def without_password(url: str) -> str:
    """The address as it may be shown: user, password and query are left out. Raises ValueError
    for an address that no server can have."""
    parts = _split(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _split(url: str) -> SplitResult:
    scheme, _, rest = url.partition("://")
    shown = f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"
    if CONTROL.search(url):
        raise ValueError(f"the address {one_line(shown, _MAX_REASON_CHARS)} has control characters")
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname)
        _ = parts.port  # which is looked at only now
    except ValueError as error:
        raise ValueError(f"{shown} is no address of a stream: {error}") from None
    if not has_host:
        raise ValueError(f"{shown} is no address of a stream: it names no host")
    return parts


class NetworkStream:
    """The audio of an RTSP or HTTP stream, mixed down to mono at sample_rate_hz by ffmpeg.

    ffmpeg learns the address on its standard input, for its command line can be read by every
    user of this machine and the address may hold a password.
    """

    live = True
    waits = False
    max_burst_s = MAX_BURST_S
    n_restarts = 0

    def __init__(self, url: str, sample_rate_hz: int = 16_000, block_ms: float = 80.0) -> None:
        """Raises UsageError for what is no address of a stream."""
        if not is_network_url(url):
            raise UsageError(f"{url!r} is no address of a stream: use one of {', '.join(SCHEMES)}")
        try:
            self.name = without_password(url)
        except ValueError as error:
            raise UsageError(str(error)) from None
        self.sample_rate_hz = sample_rate_hz
        self._url = url
        self._n_block_bytes = 2 * max(1, round(sample_rate_hz * block_ms / 1000.0))
        self._messages: deque[str] = deque(maxlen=_N_LAST_LINES)  # of ffmpeg, its last
        self._message = b""  # its line that has not ended
        self._stopped = threading.Event()

    def __enter__(self) -> NetworkStream:
        """Starts ffmpeg. Raises SourceError where there is none."""
        program = shutil.which("ffmpeg")
        if program is None:
            raise SourceError("network streams need ffmpeg: apt install ffmpeg")
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                [program, *self._arguments()], stdin=pipe, stdout=pipe, stderr=pipe
            )
        except OSError as error:
            raise SourceError(f"cannot start {program}: {error.strerror}") from error
        stdin, self._audio, self._said = _pipes(self._process)
        with suppress(BrokenPipeError), stdin:  # it has ended already: `blocks` tells why
            stdin.write(self._script().encode())
        return self

    def _arguments(self) -> list[str]:
        return [
            *("-nostdin", "-hide_banner", "-loglevel", "error"),
            *("-protocol_whitelist", _PROTOCOLS),
            *("-analyzeduration", str(_ANALYSIS_US)),
            *("-f", "concat", "-safe", "0", "-i", "pipe:0"),
            *("-vn", "-sn", "-dn", "-ac", "1", "-ar", str(self.sample_rate_hz)),
            *("-f", "s16le", "-flush_packets", "1", "pipe:1"),
        ]

    def _script(self) -> str:
        """A list with one address, in the form that ffmpeg's concat demuxer reads."""
        quoted = self._url.replace("'", "'\\''")
        is_rtsp = self._url.lower().startswith("rtsp")
        option = "option rtsp_transport tcp\n" if is_rtsp else ""
        return f"ffconcat version 1.0\nfile '{quoted}'\n{option}"

    def __exit__(self, *_: object) -> None:
        self._end_process()
        self._audio.close()
        self._said.close()

    def stop(self) -> None:
        self._stopped.set()

    def blocks(self) -> Iterator[Block]:
        """Blocks until the sender ends the stream. Raises SourceError if it cannot be reached,
        breaks off or has sent nothing for 15 s."""
        timeline = Timeline(self.sample_rate_hz, self.sample_rate_hz)
        has_heard = False
        for block in pcm_blocks(iter(self._read, b""), timeline, "s16le"):
            has_heard = True
            yield block
        if not self._stopped.is_set() and (self._end_process(_CLOSE_LIMIT_S) or not has_heard):
            self._listen_to_messages()
            raise SourceError(f"cannot hear {self.name}: {self._reason()}")

    def _read(self) -> bytes:
        """The next bytes of audio; none at the end, or once this was stopped."""
        give_up_s = time.monotonic() + _STALL_LIMIT_S
        pipes = [self._audio, self._said]
        while not self._stopped.is_set():
            ready = select.select(pipes, [], [], _POLL_S)[0]
            if self._said in ready and not self._take_message():
                pipes.remove(self._said)
            if self._audio in ready:
                return os.read(self._audio.fileno(), self._n_block_bytes)
            if time.monotonic() > give_up_s:
                raise SourceError(f"{self.name} has sent no audio for {_STALL_LIMIT_S:.0f} s")
        return b""

    def _end_process(self, patience_s: float = 0.0) -> int | None:
        """The exit status of ffmpeg, if it ends by itself within patience_s; otherwise kills it."""
        for limit_s in (patience_s, _CLOSE_LIMIT_S):
            try:
                return self._process.wait(limit_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return None  # it hangs in the system, which ends it when it can

    def _listen_to_messages(self) -> None:
        """Reads what ffmpeg has written to standard error before it ended."""
        while select.select([self._said], [], [], 0.0)[0] and self._take_message():
            pass

    def _take_message(self) -> bool:
        """Keeps the last lines that ffmpeg writes to standard error. Returns whether more may
        come."""
        data = os.read(self._said.fileno(), _MAX_MESSAGE_BYTES)
        *lines, rest = (self._message + data).split(b"\n")
        self._message = rest[-_MAX_MESSAGE_BYTES:]
        self._messages += [line.decode(errors="replace") for line in lines if line.strip()]
        return bool(data)

    def _reason(self) -> str:
        """The last lines that ffmpeg wrote, without what must not be shown."""
        lines = [*self._messages, self._message.decode(errors="replace")]
        said = [re.sub(r"^\[\w+ @ 0x\w+\] |^pipe:0?: ", "", line.strip()) for line in lines]
        text = "; ".join(line for line in said if line) or "there is no audio in it"
        return one_line(self._without_secrets(text), _MAX_REASON_CHARS)

    def _without_secrets(self, text: str) -> str:
        text = text.replace(self._url, self.name)
        parts = urlsplit(self._url)
        secrets = (parts.netloc.rpartition("@")[0], parts.password or "", parts.query)
        for secret in filter(None, secrets):
            text = text.replace(secret, "...")
        return text


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    """Standard input, output and error of ffmpeg."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    return process.stdin, process.stdout, process.stderr
